"""What a suite would execute: which runs and why, and for about how long. The dry run's lines."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterator
from typing import Any

from mlops_lib import data, machine, provenance, tables
from mlops_lib.runner import kernels, pace
from mlops_lib.runner.slot import Slot, Status

REASONS: dict[Status, str] = {
    "missing": "not run yet",
    "failed": "failed the last time",
    "damaged": "its record can't be read",
    "stale": "its code has changed since",
    "done": "recorded",
}

MIN_SECONDS = 60  # shorter suites are done before it pays to measure how long they take


def forecast(slots: list[Slot], jobs: int) -> str | None:
    """Return a line: about how long runs take on this machine, `jobs` at a time; None if unknown.

    The times of recorded runs, which other machines may have made, are scaled by how fast a
    ResNet-18 trains here for a second.
    """
    seconds = sum(estimates(slots).values()) / jobs
    device = "cuda" if machine.cuda_is_present() else "cpu"
    recorded = [
        made.results["images_per_second"]
        for made in tables.records().values()
        if pace.is_like_it(made) and made.environment["device"] == device
    ]
    if seconds < MIN_SECONDS or not recorded or not kernels.can_fork():
        return None
    here, there = pace.images_per_second(jobs), statistics.median(recorded)
    return (
        f"about {duration_text(seconds * there / here)} on this machine "
        f"(ResNet-18: {here:,.0f} images/s here, {there:,.0f} in the recorded runs)"
    )


def drift(slots: list[Slot]) -> Iterator[str]:
    """Yield a line for each way in which recorded runs are not of today's software."""
    ran = [made.environment for slot in slots if (made := slot.read())]
    others = Counter(
        f"{name} {version}"
        for environment in ran
        for name, version in provenance.other_versions(environment).items()
    )
    if others:
        listed = ", ".join(f"{name} ({count} runs)" for name, count in sorted(others.items()))
        yield f"other versions than the lock: {listed}"
    if changed := sum(map(provenance.library_has_changed, ran)):
        yield f"the library has changed since {changed} runs: --stale-library repeats them"


def lines(
    slots: list[Slot], statuses: list[Status], pending: frozenset[Status], jobs: int
) -> Iterator[str]:
    """Yield a line for each run of a suite: whether it will be executed, for how long, and why.

    How long `jobs` runs at a time take together is not known: the total is of one at a time.
    """
    waiting = [slot for slot, status in zip(slots, statuses, strict=True) if status in pending]
    seconds = estimates(waiting) if waiting else {}
    yield f"{'':8} {'about':8} run"
    for slot, status in zip(slots, statuses, strict=True):
        runs = status in pending
        about = duration_text(seconds.get(slot)) if runs else ""
        verb = "runs" if runs else "skipped"
        yield f"{verb:8} {about:8} {slot.run.template:4} {slot.label} ({REASONS[status]})"
    total = sum(seconds.values())
    unknown = len(waiting) - len(seconds)
    yield (
        f"{len(waiting)} to run"
        + (f", about {duration_text(total)}" if seconds else "")
        + (" one at a time" if seconds and jobs > 1 else "")
        + (f", and {unknown} of unknown length" if unknown else "")
    )


def estimates(slots: list[Slot]) -> dict[Slot, float]:
    """Estimate the seconds of runs from recorded runs of the same kind; others are left out.

    Same kind: the same template, model or kernel, and device. The time of a training grows with
    epochs and images, that of an SVM search with candidates and the square of the images.
    """
    rates: dict[tuple, list[float]] = {}
    for made in tables.records().values():
        rate = made.duration_seconds / _work(made.parameters)
        kind = _kind(made.template, made.parameters, made.environment["device"])
        rates.setdefault(kind, []).append(rate)
    asked = {slot: slot.run.parameters.model_dump() for slot in slots}
    gpu = machine.cuda_is_present()
    kinds = {}
    for slot, parameters in asked.items():
        wanted = parameters.get("device", "cpu")
        device = ("cuda" if gpu else "cpu") if wanted == "auto" else wanted
        kinds[slot] = _kind(slot.run.template, parameters, device)
    return {
        slot: statistics.median(rates[kinds[slot]]) * _work(asked[slot])
        for slot in slots
        if kinds[slot] in rates
    }


def _kind(template: str, parameters: dict[str, Any], device: str) -> tuple:
    model = parameters.get("model") or parameters["kernel"]
    dataset = parameters["dataset"]
    is_full_size = data.TRAINING_IMAGES.get(dataset) == tables.ALL_IMAGES
    other = None if is_full_size else dataset  # with another number of images
    return template, model, parameters.get("input_size"), device, other


def _work(parameters: dict[str, Any]) -> float:
    images = parameters["train_size"] or tables.ALL_IMAGES
    if "epochs" in parameters:
        return parameters["epochs"] * images
    degrees = len(parameters["degree"]) if parameters["kernel"] == "poly" else 1
    return len(parameters["C"]) * degrees * len(parameters["gamma"]) * images**2


def duration_text(seconds: float | None) -> str:
    """Write a duration briefly: 40 s, 3 min, 2.5 h; ? if it is not known."""
    if seconds is None:
        return "?"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"

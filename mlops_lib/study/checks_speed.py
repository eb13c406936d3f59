"""How claims on time and operations are checked: on SVMs beside ResNets, and on Q2."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from mlops_lib import tables
from mlops_lib.study.checks import FAILS, HOLDS, MIXED, UNKNOWN, Check, Evidence
from mlops_lib.study.pairs import gpu_ratios
from mlops_lib.study.protocol import NOT_STATED, PUBLISHED_EPOCHS
from mlops_lib.study.selection import complete
from mlops_lib.study.sources import Source

MIN_FACTOR = 2  # times: what "much" and "substantially" ask for at least
TOLERANCE = 0.1  # of a claimed factor: what a measured one may lie outside of it


def svm_time(source: Source) -> Evidence:
    """Check that, on a dataset, the slowest SVM fits in half the time of the fastest ResNet.

    Times are compared within one computer, by its processor's name. The reports state times of
    ResNets with Q2 alone; ours are those of Q1(a), of all epochs.
    """
    resnets, svms = complete(source.timed), complete(source.q1b)
    times = {
        "svms": _by_computer(svms, "seconds"),
        "searches": _by_computer(svms, "search_seconds"),
        "resnets": _by_computer(resnets, "train_seconds")
        if "train_seconds" in resnets
        else _by_computer(source.q2, "seconds"),
    }
    compared = pd.DataFrame(times).dropna(subset=["svms", "resnets"])
    verdicts, says = set(), []
    gpus = resnets[resnets["device"] == "cuda"] if "device_name" in resnets else resnets[:0]
    on = f" on {', '.join(gpus['device_name'].unique())}" if len(gpus) else ""
    for (dataset, _), svms, searches, resnets in compared.itertuples():
        searched = f", whole searches {_range(searches)} s" if isinstance(searches, list) else ""
        says.append(
            f"{tables.title(dataset)}: the best SVMs took {_range(svms)} s to fit "
            f"(n={len(svms)}{searched}), ResNets {_range(resnets)} s to train{on} "
            f"(n={len(resnets)})"
        )
        if MIN_FACTOR * max(svms) <= min(resnets):
            verdicts.add(HOLDS)
        else:
            verdicts.add(FAILS if np.median(svms) > np.median(resnets) else MIXED)
    if not verdicts:
        return Evidence(UNKNOWN, "no fitting time beside a training time")
    says += [
        f"{tables.title(dataset)}: no times that can be compared"
        for dataset in PUBLISHED_EPOCHS
        if dataset not in compared.index.get_level_values("dataset")
    ]
    return Evidence(verdicts.pop() if len(verdicts) == 1 else MIXED, "; ".join(says))


def _by_computer(results: pd.DataFrame, seconds: str) -> pd.Series:
    """Return the known values of a column as lists, by dataset and processor of the computer."""
    if seconds not in results:
        results = results.assign(**{seconds: math.nan})
    known = results[results[seconds].notna()]
    computer = known["cpu"].fillna(NOT_STATED) if "cpu" in known else NOT_STATED
    return known.assign(cpu=computer).groupby(["dataset", "cpu"])[seconds].agg(list)


def _range(values: Sequence[float]) -> str:
    low, high = f"{min(values):,.0f}", f"{max(values):,.0f}"
    return low if low == high else f"{low} to {high}"


def gpu_between(low: float, high: float) -> Check:
    """Check that a GPU trains `low` to `high` times faster than a CPU, whatever the model."""

    def check(source: Source) -> Evidence:
        timed = gpu_ratios(source.q2)
        if timed["model"].nunique() < 2:
            return Evidence(UNKNOWN, "not both models timed on both devices")
        inside = timed["ratio"].between((1 - TOLERANCE) * low, (1 + TOLERANCE) * high)
        verdict = HOLDS if inside.all() else MIXED if inside.any() else FAILS
        shown = "; ".join(
            f"{tables.title(model)} at {size:g}x{size:g} {_listed(rows, 'ratio', '.1f')}"
            for (size, model), rows in timed.groupby(["input_size", "model"])
        )
        return Evidence(verdict, f"GPU over CPU, times as fast: {shown}{_between(timed)}")

    return check


def _listed(rows: pd.DataFrame, value: str, form: str) -> str:
    """List the values of a column, each with its optimizer where that is stated."""
    return ", ".join(
        f"{number:{form}}" + (f" ({tables.title(optimizer)})" if optimizer != NOT_STATED else "")
        for optimizer, number in zip(rows["optimizer"], rows[value], strict=True)
    )


def _between(ratios: pd.DataFrame) -> str:
    """Return the devices of `pairs.gpu_ratios`, in brackets."""
    named = [devices for devices in ratios["devices"].unique() if devices]
    return f" ({'; '.join(named)})" if named else ""


def larger_gain_more(source: Source) -> Evidence:
    """Check that ResNet-50 gains more from a GPU than ResNet-18."""
    ratios = gpu_ratios(source.q2)
    wide = ratios.pivot_table("ratio", ["optimizer", "input_size"], "model").reindex(
        columns=["resnet18", "resnet50"]
    )
    wide = wide.dropna()
    gains = wide["resnet50"] - wide["resnet18"]
    if gains.empty:
        return Evidence(UNKNOWN, "not both models timed on both devices")
    verdict = HOLDS if (gains > 0).all() else FAILS if (gains <= 0).all() else MIXED
    shown = "; ".join(
        f"at {size:g}x{size:g} ResNet-50 {_listed(rows, 'resnet50', '.1f')}, "
        f"ResNet-18 {_listed(rows, 'resnet18', '.1f')}"
        for size, rows in wide.reset_index().groupby("input_size")
    )
    says = f"GPU over CPU, times as fast: {shown}"
    return Evidence(verdict, f"{says} (too few for a test)")


def _image(q2: pd.DataFrame) -> list[str]:
    """Return the columns that say of what images operations were counted."""
    return [name for name in ("input_size", "in_channels") if name in q2]


def flops_by_architecture(source: Source) -> Evidence:
    """Check that counts are equal wherever model and image size are."""
    if source.q2.empty:
        return Evidence(UNKNOWN, "nothing counted")
    counts = source.q2.groupby(["model", *_image(source.q2)])
    if counts["device"].nunique().max() < 2:
        return Evidence(UNKNOWN, "counted on one device only")
    same = bool((counts["gflops"].nunique() == 1).all())
    return Evidence(HOLDS if same else FAILS, f"equal on both devices: {'yes' if same else 'no'}")


def deeper_costs_more(source: Source) -> Evidence:
    """Check that ResNet-50 takes at least twice ResNet-18's operations, at the same image size."""
    if source.q2.empty:
        return Evidence(UNKNOWN, "nothing counted")
    wide = source.q2.pivot_table("gflops", _image(source.q2), "model").reindex(
        columns=["resnet18", "resnet50"]
    )
    ratios = (wide["resnet50"] / wide["resnet18"]).dropna()
    if ratios.empty:
        return Evidence(UNKNOWN, "only one model counted")
    verdict = HOLDS if (ratios >= MIN_FACTOR).all() else FAILS
    shown = ", ".join(f"{ratio:.1f}" for ratio in ratios)
    return Evidence(verdict, f"ResNet-50 takes {shown} times ResNet-18's multiply-adds")


def gpu_about(claimed: float) -> Check:
    """Check a headline: the largest gain from a GPU, to a tenth of the claimed value."""

    def check(source: Source) -> Evidence:
        timed = gpu_ratios(source.q2)
        if timed.empty:
            return Evidence(UNKNOWN, "GPU over CPU: not run")
        largest = timed["ratio"].max()
        verdict = HOLDS if abs(largest / claimed - 1) <= TOLERANCE else FAILS
        says = f"GPU {largest:.1f} times as fast (claimed {claimed:g}){_between(timed)}"
        return Evidence(verdict, says)

    return check

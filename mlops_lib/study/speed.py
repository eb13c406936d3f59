"""The latest committed benchmarks of each kind of machine, as `make bench` wrote them."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pandas as pd

from mlops_lib import machine as this_machine
from mlops_lib.paths import BOOK
from mlops_lib.study.table_cells import NOTHING

BENCHMARKS = BOOK / "benchmarks.json"
BOOK_NEW, BOOK_CHANGED = "the book from nothing (s)", "the book, one record changed (s)"
# The trainings whose speed is compared between machines.
TRAINED = {
    "template": "q1a", "model": "resnet18", "input_size": 28, "batch_size": 16, "alone": True,
}  # fmt: skip


# Benchmarks that say how many times as fast a part is as plain PyTorch or scikit-learn.
GAINS = {
    "cpu": r"ResNet.* 28x28,.* times the plain loop",
    "cuda": r"CUDA, ResNet.* times the plain loop",
    "svm": r"SVM fit.* times scikit-learn",
}


def read(path: Path = BENCHMARKS) -> dict[str, dict[str, Any]]:
    """Return the figures of each machine, by their names; nothing where there is no file."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def benchmarks(path: Path = BENCHMARKS) -> pd.DataFrame:
    """Return a row for each figure and machine, beside what is wanted."""
    measured = read(path)
    names = dict.fromkeys(name for figures in measured.values() for name in figures)
    rows = [
        {
            "figure": name,
            "machine": machine,
            "measured": f"{figure['median']:.2f}",
            "range": f"{figure['low']:.2f} to {figure['high']:.2f}",
            "n": figure["n"],
            "commit": _short_commit(figure.get("commit") or ""),
            "wanted": wanted(figure),
            "": "short" if is_short(figure) else "",
        }
        for name in names
        for machine, figures in measured.items()
        if (figure := figures.get(name))
    ]
    columns = None if rows else ["figure", "machine", "measured"]
    return pd.DataFrame(rows, columns=columns).set_index(["figure", "machine"])


def gains(path: Path = BENCHMARKS) -> dict[str, str]:
    """Return the range over machines of the benchmarks of each of `GAINS` that was measured."""
    measured = [item for figures in read(path).values() for item in figures.items()]
    found = {
        of: [figure["median"] for name, figure in measured if re.match(pattern, name)]
        for of, pattern in GAINS.items()
    }
    ends = {
        of: (f"{min(of_all):.1f}", f"{max(of_all):.1f}") for of, of_all in found.items() if of_all
    }
    return {of: " to ".join(dict.fromkeys(texts)) for of, texts in ends.items()}


def _short_commit(commit: str) -> str:
    """Cut a commit to what tells it apart; `+` behind it: with changes that it does not have."""
    return commit[:7] + "+" * commit.endswith("+")


def wanted(figure: dict[str, Any]) -> str:
    """Return what is wanted of a figure of the benchmark."""
    bound = "most" if "most" in figure else "least"
    return f"at {bound} {figure[bound]:g}"


def is_short(figure: dict[str, Any]) -> bool:
    """Return whether a figure of the benchmark falls short of what is wanted of it."""
    low, high = figure.get("least", -math.inf), figure.get("most", math.inf)
    return not low <= figure["median"] <= high or figure.get("points_apart", 0) > 0.01


def machine() -> str:
    """Return the name of this machine."""
    import torch

    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{len(this_machine.cores())} cores of {_this_cpu()}{gpu}"


def book_seconds(is_built: bool, path: Path = BENCHMARKS) -> tuple[float, str] | None:
    """Return how long the recorded runs' book took to build, at most, and on which machine.

    On a machine like this one if it was measured there, otherwise on the slowest; None without a
    benchmark. `is_built`: only what has changed is built.
    """
    name = BOOK_CHANGED if is_built else BOOK_NEW
    found = [
        (figures[name]["median"], where) for where, figures in read(path).items() if name in figures
    ]
    here = f"{len(this_machine.cores())} cores of {_this_cpu()}"
    return max([one for one in found if one[1].startswith(here)] or found, default=None)


def _this_cpu() -> str:
    return _with_instructions(this_machine.cpu_name(), this_machine.instructions())


def _with_instructions(name: str, instructions: Any) -> str:
    """Return a processor's name, and its instructions where they are known: makers reuse names."""
    return f"{name} ({instructions})" if isinstance(instructions, str) and instructions else name


def machines(runs: pd.DataFrame, path: Path = BENCHMARKS) -> pd.DataFrame:
    """Return a row for each device of the runs and the benchmarks: what was measured there.

    Columns: runs of each suite, the precision that `amp=auto` chose for each image size, images/s
    of ResNet-18 in Q1(a) at 28x28 and batch 16 (undisturbed runs), and the number of benchmarks
    with their commits.
    """
    groups = dict(list(runs.groupby(runs.apply(_device, axis=1)))) if len(runs) else {}
    figures = {_benchmarked(name): list(found.values()) for name, found in read(path).items()}
    rows = {
        name: _measured(groups.get(name, runs[:0]), figures.get(name, []))
        for name in sorted({*groups, *figures})
    }
    table = pd.DataFrame.from_dict(rows, orient="index")
    return table.rename_axis("device")


def _device(run: pd.Series) -> str:
    """Return the device of a run, a processor with its instructions where the record has them."""
    if run["device"] != "cpu":
        return run["device_name"]
    return _with_instructions(run["device_name"], run.get("instructions"))


def _benchmarked(machine: str) -> str:
    """Return the device of a benchmark: the GPU of the machine, otherwise its processor."""
    return machine.partition(" of ")[2].rpartition(", ")[2]


def _measured(runs: pd.DataFrame, figures: list[dict[str, Any]]) -> dict[str, str]:
    """Return the cells of a device's row."""
    trained = runs.reindex(columns=["suite", *TRAINED, "amp", "amp_dtype", "images_per_second"])
    alike = (trained[list(TRAINED)] == list(TRAINED.values())).all(axis=1)
    rate = trained["images_per_second"][alike]
    chosen = trained[trained["amp"] == "auto"].dropna(subset="amp_dtype")
    suites = trained["suite"].value_counts()
    commits = sorted({_short_commit(one["commit"]) for one in figures if one.get("commit")})
    return {
        "runs": "; ".join(f"{suite}: {count}" for suite, count in suites.items()),
        "precision": "; ".join(
            f"{size:.0f}×{size:.0f}: {' or '.join(sorted(set(found)))}"
            for size, found in chosen.groupby("input_size")["amp_dtype"]
        ),
        "ResNet-18, images/s": f"{rate.median():,.0f} (n={len(rate)})" if len(rate) else NOTHING,
        "benchmarks": " at ".join(filter(None, [str(len(figures) or ""), ", ".join(commits)])),
    }

"""The latest committed benchmarks of each kind of machine, as `make bench` wrote them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd

from mlops_lib import machine as this_machine
from mlops_lib.paths import BOOK

BENCHMARKS = BOOK / "benchmarks.json"


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
    return f"{len(this_machine.cores())} cores of {this_machine.cpu_name()}{gpu}"

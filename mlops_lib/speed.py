"""The latest committed benchmark, as `make bench` wrote it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd

from mlops_lib.record import BOOK

BENCHMARKS = BOOK / "benchmarks.json"


def benchmarks(path: Path = BENCHMARKS) -> pd.DataFrame:
    """Return the latest committed benchmark: a row for each figure, beside what is wanted."""
    rows = []
    for name, figure in json.loads(path.read_text(encoding="utf-8"))["figures"].items():
        rows.append(
            {
                "figure": name,
                "measured": f"{figure['median']:.2f}",
                "range": f"{figure['low']:.2f} to {figure['high']:.2f}",
                "n": figure["n"],
                "commit": _short_commit(figure.get("commit") or ""),
                "wanted": wanted(figure),
                "": "short" if is_short(figure) else "",
            }
        )
    return pd.DataFrame(rows).set_index("figure")


def _short_commit(commit: str) -> str:
    """Cut a commit to what tells it apart; `+` behind it: with changes that it does not have."""
    return commit[:7] + "+" * commit.endswith("+")


def wanted(figure: dict[str, Any]) -> str:
    """Say what is wanted of a figure of the benchmark."""
    bound = "most" if "most" in figure else "least"
    return f"at {bound} {figure[bound]:g}"


def is_short(figure: dict[str, Any]) -> bool:
    """Say whether a figure of the benchmark falls short of what is wanted of it."""
    low, high = figure.get("least", -math.inf), figure.get("most", math.inf)
    return not low <= figure["median"] <= high or figure.get("points_apart", 0) > 0.01


def machine(path: Path = BENCHMARKS) -> str:
    """Say on what the latest benchmark was measured."""
    machine = json.loads(path.read_text(encoding="utf-8"))["machine"]
    return f"{machine['cores']} cores of {machine['cpu']}, torch {machine['torch']}"

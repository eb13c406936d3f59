"""The page Q1(b), SVMs: its table and what was found."""

from __future__ import annotations

from typing import Any

import pandas as pd
from IPython.display import Markdown

from mlops_lib import tables
from mlops_lib.study import selection
from mlops_lib.study.protocol import KERNELS, NOT_RUN, PUBLISHED_EPOCHS, published
from mlops_lib.study.selection import select
from mlops_lib.study.table_cells import (
    NOTHING,
    accuracy_cell,
    best_text,
    reports_best,
    seconds_text,
    two_level,
)


def table(runs: pd.DataFrame) -> pd.DataFrame:
    """Lay out Q1(b): accuracy in per cent, fitting time in seconds, what the best candidate is."""
    reports = published("q1b")
    chosen = select(selection.choose(runs), template="q1b", in_tables=True)
    rows = []
    for (dataset, kernel), _ in reports.groupby(["dataset", "kernel"], sort=False):
        row: dict[Any, str] = {"Dataset": tables.title(dataset), "Kernel": tables.title(kernel)}
        for report in "AB":
            told = select(reports, dataset=dataset, kernel=kernel, report=report).iloc[0]
            row[f"Report {report}", "accuracy"] = f"{told['accuracy_pct']:.2f}"
            row[f"Report {report}", "fit (s)"] = f"{told['train_time_ms'] / 1000:.1f}"
            row[f"Report {report}", "best"] = _candidate(told)
        here = select(chosen, dataset=dataset, kernel=kernel)
        row["Measured here", "accuracy"] = accuracy_cell(here)
        run = None if here.empty else here.iloc[0].to_dict()
        row["Measured here", "fit (s)"] = seconds_text(run) if run else NOTHING
        row["Measured here", "best"] = _candidate(run, "best_") if run else NOTHING
        rows.append(row)
    return two_level(rows, ["Dataset", "Kernel"])


def _candidate(row: Any, prefix: str = "") -> str:
    """Return `C 10; degree 3; gamma scale`: what is stated of an SVM's candidate."""
    values = {name: row.get(prefix + name) for name in ("C", "degree", "gamma")}
    return "; ".join(
        f"{name} {tables.value_text(value)}" for name, value in values.items() if pd.notna(value)
    )


def finding(runs: pd.DataFrame) -> Markdown:
    """Return in a sentence or two what Q1(b) found so far."""
    lines, chosen = [], _in_verdicts(runs)
    for dataset in PUBLISHED_EPOCHS:
        here = select(chosen, dataset=dataset)
        lines.append(
            f"- **{tables.title(dataset)}**, best: {_best(here)}. {reports_best('q1b', dataset)}"
            + "".join(map(_edge, here.to_dict("records")))
        )
    return Markdown("\n".join(lines))


def _edge(run: dict[str, Any]) -> str:
    """Return where a search chose the smallest or the largest number that it tried."""
    found = []
    for name in ("C", "degree", "gamma"):
        tried = {value for value in run[name] if not isinstance(value, str)}
        for word, edge in (("smallest", min), ("largest", max)):
            if len(tried) > 1 and run.get(f"best_{name}") == edge(tried):
                found.append(f"{name} {edge(tried):g} is the {word}")
    if not found:
        return ""
    return (
        f" With the {tables.title(run['kernel'])} kernel, the best {' and '.join(found)} of those "
        "tried: a wider search may do better."
    )


def _in_verdicts(runs: pd.DataFrame) -> pd.DataFrame:
    return select(selection.choose(runs), template="q1b", in_verdicts=True)


def best(runs: pd.DataFrame, dataset: str) -> str:
    """Return the best SVM of a dataset, and which kernels were not run."""
    return _best(select(_in_verdicts(runs), dataset=dataset))


def _best(searches: pd.DataFrame) -> str:
    """Return the best of a dataset's searches, and which kernels were not run."""
    if searches.empty:
        return NOT_RUN
    missing = [
        f"{tables.title(kernel)} kernel: {NOT_RUN}"
        for kernel in KERNELS
        if select(searches, kernel=kernel).empty
    ]
    return "; ".join([best_text(searches), *missing])

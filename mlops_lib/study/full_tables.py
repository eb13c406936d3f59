"""The reports' tables of Q1(a), Q1(b) and Q2 as they lay them out, beside what was measured."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from mlops_lib import stats, tables
from mlops_lib.study import selection
from mlops_lib.study.protocol import (
    MODELS,
    NOT_RUN,
    NOT_STATED,
    PROTOCOL,
    PUBLISHED_EPOCHS,
    Q1A_KEYS,
    Q2_DATASET,
    Q2_IMAGES,
    published,
)
from mlops_lib.study.selection import extent, fullest, select
from mlops_lib.study.table_cells import (
    NOTHING,
    accuracy_cell,
    rate_text,
    seconds_text,
    timed_text,
    two_level,
)
from mlops_lib.study.words import signed

MEASURED = "measured here"
SPEEDS = ("epochs", "time (s)", "images/s", "GFLOPs", "share of peak")


def q1a(runs: pd.DataFrame, spread: pd.DataFrame) -> pd.DataFrame:
    """Lay out Q1(a), in per cent; `spread` is what `noise.pooled` returns."""
    reports = published("q1a")
    chosen = select(selection.choose(runs), template="q1a", in_tables=True)
    rows = []
    for values, _ in reports.groupby(Q1A_KEYS, sort=False):
        configuration = dict(zip(Q1A_KEYS, values, strict=True))
        row: dict[Any, Any] = {
            "Dataset": tables.title(values[0]),
            "Batch": values[1],
            "Optimizer": tables.title(values[2]),
            "Rate": rate_text(values[3]),
        }
        for model in MODELS:
            told = select(reports, model=model, **configuration).set_index("report")["accuracy_pct"]
            here = select(chosen, model=model, **configuration)
            reach = _reach(spread, (values[0], model), len(here))
            for report in "AB":
                row[tables.title(model), report] = told_text(told[report], here, values[0], reach)
            row[tables.title(model), MEASURED] = accuracy_cell(here, PUBLISHED_EPOCHS[values[0]])
        rows.append(row)
    return two_level(rows, ["Dataset", "Batch", "Optimizer", "Rate"])


def _reach(spread: pd.DataFrame, kind: tuple[str, str], trainings: int) -> float:
    """Return how far noise puts one training from the mean of others of its setting, in points."""
    if kind not in spread.index or not trainings:
        return math.inf
    known = spread.loc[kind]
    return stats.t_reach(known["df"]) * known["std"] * math.sqrt(1 + 1 / trainings)


def told_text(told: float, here: pd.DataFrame, dataset: str, reach: float) -> str:
    """Return `98.00 (+0.42*)`: a published accuracy and what it has over the measured one.

    The star: more than `reach`. Without a run of all published epochs and images, the published
    accuracy alone.
    """
    if here.empty or extent(here.iloc[0], PUBLISHED_EPOCHS[dataset]):
        return f"{told:.2f}"
    over = told - 100 * here["test_accuracy"].mean()
    return f"{told:.2f} ({signed(over)}{'*' if abs(over) > reach else ''})"


def q1b(runs: pd.DataFrame) -> pd.DataFrame:
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


def q2(runs: pd.DataFrame) -> pd.DataFrame:
    """Lay out Q2: accuracy (per cent), training time (s) and multiply-adds (G) of every row."""
    rows: list[dict[Any, str]] = []
    for told in published("q2").to_dict("records"):
        images = Q2_IMAGES[told["report"]]
        size = images["input_size"]
        wanted = {"device": told["device"], "model": told["model"]} | images | PROTOCOL
        if told["report"] == "A":
            wanted |= {name: told[name] for name in ("batch_size", "optimizer", "lr")}
        here = fullest(select(runs, template="q2", dataset=Q2_DATASET, **wanted))
        needs = ": needs a GPU" if told["device"] == "cuda" else ""
        optimizer = told["optimizer"]
        rows.append(
            {
                "Report": told["report"],
                "Device": tables.title(told["device"]),
                "Model": tables.title(told["model"]),
                "Optimizer": NOT_STATED if pd.isna(optimizer) else tables.title(optimizer),
                "Image": f"{size}×{size}",
                ("Published", "accuracy"): f"{told['accuracy_pct']:.2f}",
                ("Published", "time (s)"): f"{told['train_time_ms'] / 1000:,.0f}",
                ("Published", "GFLOPs"): f"{told['gflops']:g}",
                ("Measured here", "accuracy"): accuracy_cell(here)
                if len(here)
                else NOT_RUN + needs,
                **_measured_speed(here),
            }
        )
    return two_level(rows, ["Report", "Device", "Model", "Optimizer", "Image"])


def _measured_speed(here: pd.DataFrame) -> dict[tuple[str, str], str]:
    if here.empty:
        texts = dict.fromkeys(SPEEDS, NOTHING)
    else:
        run = here.iloc[0].to_dict()
        share = run.get("peak_share")
        values = (
            f"{run['epochs_done']:.0f}",
            timed_text(run, f"{run['train_seconds']:,.0f}"),
            timed_text(run, f"{run['images_per_second']:,.0f}"),
            f"{run['flops'] / 1e9:.3f}",
            timed_text(run, f"{100 * share:.1f} %") if pd.notna(share) else NOTHING,
        )
        texts = dict(zip(SPEEDS, values, strict=True))
    return {("Measured here", column): text for column, text in texts.items()}

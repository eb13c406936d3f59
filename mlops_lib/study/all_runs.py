"""The page of all runs: one tidy table of results, the index of the runs, and its filters."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from mlops_lib import provenance, tables
from mlops_lib.study.protocol import (
    CONFIGURATION,
    NOT_RUN,
    PUBLISHED_EPOCHS,
    Q2_DATASET,
    Q2_IMAGES,
    published,
)
from mlops_lib.study.selection import extent, select
from mlops_lib.study.table_cells import link, seconds_text

QUESTIONS = {"q1a": "Q1(a)", "q1b": "Q1(b)", "q2": "Q2"}
COLUMNS = [
    "question", "source", "dataset", "network", "setting", "accuracy_pct", "low", "high",
    "seconds", "seed", "device", "in_full", "run", "page",
]  # fmt: skip


def results(runs: pd.DataFrame) -> pd.DataFrame:
    """Return one row a result, of the reports and of our runs, as COLUMNS.

    Accuracy and its 95 % interval are in per cent. `in_full`: on all images and epochs of the
    protocol. `page` is that of the run; rows of a report have none.
    """
    rows = [_of_report(told) for question in QUESTIONS for told in _told(question)]
    return pd.DataFrame(rows + list(map(_of_run, runs.to_dict("records"))), columns=COLUMNS)


@cache
def _told(question: str) -> list[dict[str, Any]]:
    """Return a report's rows of a question, with what its table leaves to its title."""
    told = published(question).assign(template=question)
    if question == "q2":
        images = pd.DataFrame(told["report"].map(Q2_IMAGES).tolist())
        told = told.assign(dataset=Q2_DATASET, **images)
    return told.to_dict("records")


def _of_report(told: dict[str, Any]) -> dict[str, Any]:
    return _of_any(told) | {
        "source": f"Report {told['report']}",
        "accuracy_pct": told["accuracy_pct"],
        "seconds": told.get("train_time_ms", np.nan) / 1000,
        "in_full": told["template"] != "q2",
    }


def _of_run(run: dict[str, Any]) -> dict[str, Any]:
    accuracy, low, high = tables.accuracy_interval(run)
    epochs = PUBLISHED_EPOCHS.get(run["dataset"]) if run["template"] == "q1a" else None
    return _of_any(run) | {
        "source": f"Our runs, {tables.title(run['device'])}",
        "accuracy_pct": accuracy,
        "low": low,
        "high": high,
        "seconds": run["seconds"],
        "seed": run["seed"],
        "in_full": run["template"] != "q2" and not extent(run, epochs),
        "run": ", ".join(filter(None, [run["title"], tables.non_default_text(run)])),
        "page": run["page"],
    }


def _of_any(row: dict[str, Any]) -> dict[str, Any]:
    """Return what a result is of: question, dataset, network and setting, device if it has one."""
    kernel, optimizer = row.get("kernel"), row.get("optimizer")
    if row["template"] == "q1b":
        network, setting = f"SVM, {tables.title(kernel)} kernel", "best of its search"
    else:
        stated = isinstance(optimizer, str)
        rate = f"{tables.title(optimizer)} {tables.value_text(row['lr'])}" if stated else ""
        network = tables.title(row["model"])
        setting = f"{rate}, batch {row['batch_size']:g}" if stated else "not stated"
    return {
        "question": QUESTIONS[row["template"]],
        "dataset": tables.title(row["dataset"]),
        "network": network,
        "setting": setting,
        "device": tables.title(row["device"]) if isinstance(row.get("device"), str) else "",
    }


def reported(run: dict[str, Any]) -> dict[str, float]:
    """Return the accuracy, in per cent, that each report states for a run's configuration."""
    names = [*CONFIGURATION, "kernel", "device", "input_size", "in_channels"]
    return {
        told["report"]: told["accuracy_pct"]
        for told in _told(run["template"])
        if all(pd.isna(told[name]) or told[name] == run[name] for name in names if name in told)
    }


def filters(found: pd.DataFrame) -> dict[str, list[str]]:
    """Return the words by which the rows of `table` are chosen: those that our `results` have."""
    ours = found[found["page"].notna()]
    names = {"Question": "question", "Dataset": "dataset", "Network": "network", "Device": "device"}
    return {label: sorted(ours[name].unique()) for label, name in names.items()}


def table(runs: pd.DataFrame, template: str | None = None) -> pd.DataFrame:
    """Return one row a run: what was run, on how much, accuracy, time, and the run's page."""
    columns = [
        "Run", "Question", "Accuracy (%)", "Training (s)", "Other settings", "Training images",
        "Device", "Suite",
    ]  # fmt: skip
    rows = []
    for run in (select(runs, template=template) if template else runs).to_dict("records"):
        values = [
            link(run, run["title"]),
            QUESTIONS[run["template"]],
            tables.accuracy_text(run),
            seconds_text(run),
            ", ".join(filter(None, [tables.non_default_text(run), run["divergence"]])),
            f"{run['train_images']:,.0f}",
            f"{tables.title(run['device'])}: {run['device_name']}",
            run["suite"],
        ]
        rows.append(dict(zip(columns, values, strict=True)))
    return pd.DataFrame(rows or [dict.fromkeys(columns, NOT_RUN)])


def software(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the versions of the packages that results may depend on: a row for each combination.

    The last column names those that are not the locked ones.
    """
    names = [name for name in provenance.PACKAGES if name in runs]
    if not names:
        return pd.DataFrame()
    stated = runs[["device", *names]].fillna("not stated")
    counted = stated.groupby(["device", *names], sort=False).size().rename("Runs").reset_index()
    others = [
        ", ".join(provenance.other_versions(row)) for row in counted[names].to_dict("records")
    ]
    titled = counted.assign(
        **{"Other than locked": others}, device=counted["device"].map(tables.title)
    )
    return titled.rename(columns={"device": "Device"}).set_index("Device")

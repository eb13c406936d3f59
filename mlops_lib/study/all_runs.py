"""The page of all runs, and the tables of runs at the end of each question's page."""

from __future__ import annotations

import pandas as pd

from mlops_lib import tables
from mlops_lib.study.protocol import NOT_RUN
from mlops_lib.study.selection import select
from mlops_lib.study.table_cells import link, seconds_text


def table(runs: pd.DataFrame, template: str | None = None) -> pd.DataFrame:
    """Return one row a run: what was run, on how much, accuracy, time, and the run's page."""
    columns = [
        "Run", "Suite", "Training images", "Accuracy (%)", "Training (s)", "Other settings",
        "Device",
    ]  # fmt: skip
    rows = []
    for run in (select(runs, template=template) if template else runs).to_dict("records"):
        values = [
            link(run, run["title"]),
            run["suite"],
            f"{run['train_images']:,.0f}",
            tables.accuracy_text(run),
            seconds_text(run),
            ", ".join(filter(None, [tables.non_default_text(run), run["divergence"]])),
            run["device_name"],
        ]
        rows.append(dict(zip(columns, values, strict=True)))
    return pd.DataFrame(rows or [dict.fromkeys(columns, NOT_RUN)])

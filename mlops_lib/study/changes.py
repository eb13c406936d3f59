"""What else changes a result: trainings that differ in one parameter alone."""

from __future__ import annotations

import pandas as pd

from mlops_lib import tables
from mlops_lib.params import Q1a
from mlops_lib.study.protocol import MACHINE, NOT_RUN, NOT_STATED
from mlops_lib.study.selection import select
from mlops_lib.study.table_cells import accuracy_cell, timed_text

CHANGES = ("input_size", "amp", "input_pipeline", "pin_memory")  # one at a time, by `ablations`


def one_change(runs: pd.DataFrame) -> pd.DataFrame:
    """Return, side by side, the runs of Q1(a) on one machine that differ in one of `CHANGES` alone.

    With each goes the precision that it computed in, which follows from several parameters.
    """
    here = select(runs, template="q1a").fillna({"amp_dtype": NOT_STATED})
    columns = ["Configuration", "Changed", "Precision", "Accuracy (%)", "Images/s"]
    names = [name for name in (*Q1a.model_fields, *MACHINE) if name in here]
    rows = []
    for name in CHANGES if len(here) else ():
        others = [other for other in names if other != name]
        for _, alike in here.groupby(others, dropna=False, sort=False):
            values = alike.drop_duplicates(name).sort_values(name)
            for run in values.to_dict("records") if len(values) > 1 else ():
                rows.append([
                    f"{run['title']}, epochs {run['epochs']:.0f}",
                    f"{name}; {tables.value_text(run[name])}",
                    run.get("amp_dtype", NOT_STATED),
                    accuracy_cell(pd.DataFrame([run])),
                    timed_text(run, f"{run['images_per_second']:,.0f}"),
                ])  # fmt: skip
    return pd.DataFrame(rows or [[NOT_RUN] * len(columns)], columns=columns)

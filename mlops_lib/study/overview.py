"""The book's first page: its figures and the claims that our runs judge."""

from __future__ import annotations

import pandas as pd

from mlops_lib.study import claims
from mlops_lib.study.checks import UNKNOWN
from mlops_lib.study.protocol import NOT_RUN, SOURCES


def figures_in_text(runs: pd.DataFrame) -> dict[str, str]:
    """Return the overview's figures as text, by name; what has no run says so."""
    found = {"runs": str(len(runs))}
    names = runs["device_name"].unique() if len(runs) else []
    found["machines"] = ", ".join(names) or NOT_RUN
    return found


def judged_here(judged: pd.DataFrame) -> pd.DataFrame:
    """Lay out the claims that our runs can judge, with what they show in a line."""
    ours = judged[(judged["source"] == SOURCES[2]) & (judged["verdict"] != UNKNOWN)]
    table = claims.summary(judged).loc[lambda rows: rows.index.isin(ours["id"])]
    table["What our runs show"] = ours.set_index("id")["brief"]
    return table[["Claim", SOURCES[2], "What our runs show", *SOURCES[:2]]]

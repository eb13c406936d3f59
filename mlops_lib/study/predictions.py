"""Does a published value lie where one more training by our protocol would fall?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from mlops_lib import stats
from mlops_lib.study import noise, selection, sources
from mlops_lib.study.protocol import CONFIGURATION
from mlops_lib.study.sources import Source

OURS_ELSEWHERE = "our runs on the other device"


def table(runs: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each value of Q1(a) that our runs predict.

    Columns: source, CONFIGURATION, accuracy_pct, mean (of our trainings), low, high (95 %
    prediction interval: mean ± t s sqrt(1 + 1/S)), and where (below, inside, above). Beside the
    reports stand our own trainings on other devices, which the interval should hold.
    """
    predicted = _predicted(selection.complete(sources.ours(runs).q1a), noise.pooled(runs))
    found = [_printed(sources.report(letter)) for letter in "AB"] + [_elsewhere(runs)]
    told = pd.concat([some for some in found if len(some)], ignore_index=True)
    both = told.merge(predicted, on=CONFIGURATION)
    above, below = both["accuracy_pct"] > both["high"], both["accuracy_pct"] < both["low"]
    return both.assign(where=np.select([above, below], ["above", "below"], "inside"))


def _predicted(ours: pd.DataFrame, spread: pd.DataFrame) -> pd.DataFrame:
    if ours.empty:
        return pd.DataFrame(columns=[*CONFIGURATION, "mean", "low", "high"])
    cells = noise.cells(ours, "accuracy_pct", spread)
    one_more = cells["variance"] * (cells["trainings"] + 1)  # s² (1 + 1/S)
    reach = [stats.t_reach(df) for df in cells["df"]] * np.sqrt(one_more)
    mean = cells["value"].to_numpy()
    return ours[CONFIGURATION].assign(
        mean=mean, low=mean - reach.to_numpy(), high=np.minimum(mean + reach.to_numpy(), 100)
    )


def _printed(source: Source) -> pd.DataFrame:
    return source.grid[[*CONFIGURATION, "accuracy_pct"]].assign(source=source.name)


def _elsewhere(runs: pd.DataFrame) -> pd.DataFrame:
    """Return our complete trainings on devices that verdicts do not rest on."""
    trainings = noise.complete_trainings(runs)
    if trainings.empty:
        return trainings
    others = trainings[trainings["device"] != selection.main_device(runs)]
    return others[[*CONFIGURATION, "accuracy_pct"]].assign(source=OURS_ELSEWHERE)


def facts(table: pd.DataFrame) -> dict[str, Any]:
    """Return how many values of each source lie inside, above and below, as `counts`; else {}."""
    if table.empty:
        return {}
    counts = {
        source: {name: int((rows["where"] == name).sum()) for name in ("inside", "above", "below")}
        | {"of": len(rows)}
        for source, rows in table.groupby("source", sort=False)
    }
    return {"counts": counts}

"""Are two ways of training equivalent? Two one-sided tests against a margin (Schuirmann, 1987)."""

from __future__ import annotations

from typing import Any

import pandas as pd

from mlops_lib import stats
from mlops_lib.params import Q1a
from mlops_lib.study import effects, noise, selection, sources
from mlops_lib.study.effects import Effect
from mlops_lib.study.protocol import CONFIGURATION

MARGIN = 0.2  # points: set before the runs were compared
COMPARED: dict[str, tuple[str, Any, Any]] = {  # column, first, second
    "GPU and CPU": ("device", "cuda", "cpu"),
    "mixed precision and float32": ("amp", "on", "off"),
    "resident images and DataLoader": ("input_pipeline", "resident", "dataloader"),
}


def tested(runs: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each comparison.

    Columns: compared, n (pairs), mean, low, high (90 % interval, points), p (of both tests, the
    larger), equivalent (bool).

    Pairs are trainings of Q1(a) that differ in nothing else. Short ones have the noise of a first
    epoch, which is larger.
    """
    trainings = sources.measured(selection.select(runs, template="q1a"))
    rows = []
    for name, (column, first, second) in COMPARED.items():
        effect = _effect(runs, trainings, column, first, second)
        if effect:
            rows.append([name, effect.n, effect.mean, *_one_sided(effect)])
    table = pd.DataFrame(rows, columns=["compared", "n", "mean", "low", "high", "p"])
    return table.assign(equivalent=table["p"] < stats.LEVEL)


def _effect(
    runs: pd.DataFrame, trainings: pd.DataFrame, column: str, first: Any, second: Any
) -> Effect | None:
    if trainings.empty:
        return None
    here = trainings[trainings[column].isin([first, second])].reset_index(drop=True)
    # A device decides on the precision; `pin_memory` changes no result.
    free = {column, "pin_memory"} | ({"amp"} if column == "device" else set())
    keys = [*(name for name in Q1a.model_fields if name not in free), "train_images"]
    stated = selection.stated(here, keys).assign(row=here.index, side=here[column])
    sides = [stated[stated["side"] == value].drop_duplicates(keys) for value in (first, second)]
    pairs = sides[0].merge(sides[1], on=keys, suffixes=("_first", "_second"))
    pairs = pairs.rename(columns={"row_first": "first", "row_second": "second"})
    if pairs.empty:
        return None
    full = len(selection.complete(here.loc[pairs["first"]])) == len(pairs)
    measure = "accuracy_pct" if full else "first_epoch_pct"
    cells = noise.cells(here, measure, noise.pooled(runs, measure))
    cells["value"] = here["accuracy_pct"].to_numpy()
    return effects.of(pairs[[*CONFIGURATION, "first", "second"]], cells)


def _one_sided(effect: Effect) -> tuple[float, float, float]:
    """Return the ends of the 90 % interval and the larger p of the two one-sided tests."""
    from scipy.stats import t

    reach = t.ppf(1 - stats.LEVEL, effect.df) * effect.error
    p = t.sf((MARGIN - abs(effect.mean)) / effect.error, effect.df)
    return effect.mean - reach, effect.mean + reach, float(p)

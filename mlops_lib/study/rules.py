"""The page of rules: what verdicts rest on, their words, the noise, equivalence."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd

from mlops_lib import tables
from mlops_lib.study import noise, selection, sources
from mlops_lib.study.equivalence import MARGIN
from mlops_lib.study.protocol import published_configurations
from mlops_lib.study.verdicts import MEANINGS
from mlops_lib.study.words import signed

SEEDS = (1, 2, 3, 10)


def basis(runs: pd.DataFrame) -> dict[str, Any]:
    """Return what verdicts on trainings rest on: trained, published, devices, seeds; timed_on.

    Empty without a training in full.
    """
    source = sources.ours(runs)
    complete, timed = selection.complete(source.q1a), selection.complete(source.timed)
    if complete.empty:
        return {}
    known = timed[timed["train_seconds"].notna()]
    return {
        "trained": len(complete),
        "published": len(published_configurations()),
        "devices": _each(complete["device_names"]),
        "seeds": sorted(complete["by_seed"].iloc[0]),
        "timed_on": _each(known["device_names"]),
    }


def _each(names: pd.Series) -> list[str]:
    return list(dict.fromkeys(itertools.chain.from_iterable(names)))


def words() -> pd.DataFrame:
    """Return what each verdict means."""
    return pd.DataFrame(MEANINGS.items(), columns=["Verdict", "Means"]).set_index("Verdict")


def noise_table(spread: pd.DataFrame) -> pd.DataFrame:
    """Lay out `noise.pooled`, with the least significant difference by the number of seeds."""
    least = {
        f"{seeds} seed{'' if seeds == 1 else 's'}": noise.least_difference(spread, seeds)
        for seeds in SEEDS
    }
    shown = spread.assign(**least).reset_index()
    names = [", ".join(map(tables.title, kind)) for kind in shown[noise.KIND].to_numpy()]
    points = shown[["std", *least]].map("{:.2f}".format)
    return pd.DataFrame(
        {"Trainings of": names, "Standard deviation": points["std"], "Settings": shown["settings"],
         "Degrees of freedom": shown["df"], **{name: points[name] for name in least}}
    ).set_index("Trainings of")  # fmt: skip


def equivalence_table(tested: pd.DataFrame) -> pd.DataFrame:
    """Lay out `equivalence.tested`."""
    return pd.DataFrame(
        {
            "Compared": tested["compared"],
            "Pairs": tested["n"],
            "Mean difference (points)": tested["mean"].map(signed),
            "90 % interval": [
                f"{signed(low)} to {signed(high)}"
                for low, high in zip(tested["low"], tested["high"], strict=True)
            ],
            "Equivalent": np.select(
                [tested["equivalent"], (tested["low"] > MARGIN) | (tested["high"] < -MARGIN)],
                ["yes", "no"],
                "undecided",
            ),
        }
    ).set_index("Compared")

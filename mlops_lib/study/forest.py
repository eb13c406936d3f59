"""The forest plot: the effect by each source, of every claim that compares accuracies."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns

from mlops_lib.plots import PALETTE, Picture, picture, styled
from mlops_lib.study.protocol import SOURCES
from mlops_lib.study.verdict_file import Finding, VerdictFile
from mlops_lib.study.words import signed

REACH = 4.5  # points: effects beyond are arrows at the edge, with their values
PAGE: dict[str, Any] = {"facecolor": "white", "edgecolor": "none", "pad": 1}  # behind text
MARKERS = dict(zip(SOURCES, ("o", "D", "s"), strict=True))


def effects(file: VerdictFile) -> pd.DataFrame:
    """Return a row for each comparison of accuracies and source.

    Columns: id, claim, source, effect, low, high (95 % interval). Effects are in
    points, above 0 on the claimed side.
    """
    rows = [
        [claim.id, claim.short, source, part.effect, part.low, part.high]
        for claim in file.claims
        for source, found in claim.sources.items()
        for part in found.parts or [found]
        if _compares_accuracies(part)
    ]
    return pd.DataFrame(rows, columns=["id", "claim", "source", "effect", "low", "high"])


def _compares_accuracies(part: Finding) -> bool:
    return part.unit == "points" and part.what.endswith("test accuracy")


@styled()
def plot(table: pd.DataFrame) -> Picture:
    """Show `effects`: a row a claim, a mark a source."""
    rows = table[["id", "claim"]].drop_duplicates().reset_index(drop=True)
    figure, axis = plt.subplots(figsize=(4.6, 1.1 + 0.72 * len(rows)))
    colours = dict(
        zip(SOURCES, [*sns.color_palette(PALETTE)[:2], axis.title.get_color()], strict=True)
    )
    for number, source in enumerate(SOURCES):
        here = table[table["source"] == source].set_index("id").reindex(rows["id"])
        y = rows.index + 0.2 * number
        inside = here["effect"].abs().to_numpy() < REACH
        axis.hlines(
            y[inside], here["low"][inside], here["high"][inside], color=colours[source], linewidth=2
        )
        axis.plot(
            here["effect"][inside], y[inside], MARKERS[source], color=colours[source], label=source
        )
        for place, effect in zip(y[~inside], here["effect"][~inside], strict=True):
            if pd.notna(effect):
                edge = REACH if effect > 0 else -REACH
                arrow = f"{signed(effect)} →" if effect > 0 else f"← {signed(effect)}"
                axis.text(
                    edge, place, arrow, ha="right" if effect > 0 else "left", va="center",
                    color=colours[source], fontsize="small",
                )  # fmt: skip
    axis.axvline(0, color=".5", linewidth=1)
    for row in rows.itertuples():  # above its marks: beside them there is no room on a phone
        axis.text(-REACH + 0.1, row.Index - 0.32, f"{row.id}  {row.claim}", va="center", bbox=PAGE)
    axis.set(
        xlim=(-REACH, REACH), ylim=(len(rows) - 0.4, -0.6), yticks=[],
        xlabel="points of test accuracy; right of 0: as claimed",
    )  # fmt: skip
    axis.grid(visible=False, axis="y")
    figure.legend(loc="outside upper center", ncols=3)
    return picture(figure, _alt(table))


def _alt(table: pd.DataFrame) -> str:
    parts = [
        f"{name}: " + ", ".join(f"{row.source} {signed(row.effect)}" for row in rows.itertuples())
        for name, rows in table.groupby("id", sort=False)
    ]
    return f"Mean differences in points, by claim and source. {'; '.join(parts)}"

"""Would the same verdict come out? With one repetition alone, or other choices of analysis.

Each choice costs no run: which seeds and device, which epoch of a training, which noise.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.patches import Patch

from mlops_lib.plots import Picture, picture, styled
from mlops_lib.study import claims, noise, repetitions, selection, sources
from mlops_lib.study.checks import Spreads
from mlops_lib.study.once import once
from mlops_lib.study.protocol import SOURCES, TEST_IMAGES, published_configurations
from mlops_lib.study.sources import Source
from mlops_lib.study.verdicts import CONTRADICTED, HOLDS, JUDGED, Evidence

Choice = tuple[str, Source, Spreads]
AS_JUDGED = "as judged here"
ON_TRAININGS = ("ahead", "best_setting", "over_svms", "best_is")  # checks of accuracies of ResNets
LETTERS = {
    "holds": "✔",
    "contradicted": "✘",
    "does not hold": "✗",
    "depends": "◐",
    "undecided": "?",
}
COLOURS = ["#7fc97f", "#f08a7d", "#f7b6a6", "#f2d16b", "#c9d6ea"]  # of JUDGED, on which black reads
MIN_PLAUSIBLE_PCT = 60.0  # of an accuracy in a table: below, its training failed


@once
def multiverse(runs: pd.DataFrame) -> pd.DataFrame:
    """Judge the claims on trainings under every choice of analysis.

    Columns: id, choice, source, verdict, sign (of the mean difference: 1 ahead, -1 behind),
    repetition (bool: the choice is one device and seed, of those that all of Q1(a) was run with).
    """
    chosen, spread = selection.choose(runs), claims.spreads(runs)
    ours = sources.ours(runs)
    again = list(_repetitions(runs, ours, spread))
    choices = [
        *_of_our_runs(runs, chosen, ours, spread),
        ("Report B without its failed training", _plausible(sources.report("B")), spread),
    ]
    found = [
        _judged(again if len(again) > 1 else []).assign(repetition=True),
        _as_judged(runs).assign(repetition=False),
        _judged(choices).assign(repetition=False),
    ]
    return pd.concat([table for table in found if len(table)] or found, ignore_index=True)


def by_repetition(judged: pd.DataFrame) -> pd.DataFrame:
    """Return how steady each claim is: a row of `multiverse` for each time all of Q1(a) was run.

    Columns: id, same (how often the mean difference has the sign that all runs together have), of.
    """
    signs = judged[judged["choice"] == AS_JUDGED].set_index("id")["sign"]
    again = judged[judged["repetition"] & (judged["sign"] != 0)]
    same = again["sign"] == again["id"].map(signs)
    return pd.DataFrame({"same": same.groupby(again["id"]).sum(), "of": again.groupby("id").size()})


def _as_judged(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the verdicts of this book, on our runs and on the reports' tables."""
    by_id = {claim.id: claim for claim in claims.claims()}
    return _rows(
        (
            by_id[row.id],
            AS_JUDGED if row.source == SOURCES[2] else row.source,
            row.source,
            row.evidence,
        )
        for row in claims.judge(runs).itertuples()
    )


def _judged(choices: list[Choice]) -> pd.DataFrame:
    return _rows(
        (claim, name, source.name, claims.check(claim, source, spread))
        for name, source, spread in choices
        for claim in filter(_rests_on_trainings, claims.claims())
    )


def _rows(found: Iterable[tuple[claims.Claim, str, str, Evidence]]) -> pd.DataFrame:
    """Return a row for each verdict on a claim about trainings that says something."""
    rows = [
        [claim.id, choice, source, evidence.verdict, _sign(evidence)]
        for claim, choice, source, evidence in found
        if evidence.verdict in JUDGED and _rests_on_trainings(claim)
    ]
    return pd.DataFrame(rows, columns=["id", "choice", "source", "verdict", "sign"])


def _rests_on_trainings(claim: claims.Claim) -> bool:
    return any(part.check in ON_TRAININGS for part in claim.checks) and claim.kind == "learning"


def _sign(evidence: Evidence) -> int:
    """Return which side is ahead on average, of the first part on pairs; 0 if there is none."""
    for part in evidence.parts or (evidence,):
        if part.effect:
            return int(np.sign(part.effect.mean))
    return 0


def _repetitions(runs: pd.DataFrame, ours: Source, spread: Spreads) -> Iterator[Choice]:
    """Yield our runs with the trainings of one device and seed alone, where all are there."""
    published = len(published_configurations())
    for name, table in repetitions.trainings(runs).items():
        if name not in repetitions.REPORTS and len(table) == published:
            yield name, replace(ours, q1a=table), spread


def _of_our_runs(
    runs: pd.DataFrame, chosen: pd.DataFrame, ours: Source, spread: Spreads
) -> Iterator[Choice]:
    """Yield our runs with another choice of seeds, of the epoch, and of the noise."""
    if ours.q1a.empty:
        return
    here = selection.select(runs, device=selection.main_device(runs))
    every = sources.averaged(selection.by_configuration(here))
    yield "all seeds of each setting", replace(ours, q1a=every), spread
    if "last_test_accuracy" in runs:
        last, last_chosen = (
            table.assign(test_accuracy=table["last_test_accuracy"].fillna(table["test_accuracy"]))
            for table in (runs, chosen)
        )
        yield "the last epoch, not the best", sources.of_chosen(last_chosen), claims.spreads(last)
    yield "test images as the only noise", ours, _images_alone(ours, spread)


def _images_alone(ours: Source, spread: Spreads) -> Spreads:
    """Return the noise of accuracies that the draw of the test images alone makes."""
    share = ours.q1a.groupby(noise.KIND)["accuracy_pct"].mean() / 100
    std = 100 * np.sqrt(share * (1 - share) / TEST_IMAGES)
    return spread | {"accuracy_pct": pd.DataFrame({"std": std, "df": TEST_IMAGES, "settings": 0})}


def _plausible(source: Source) -> Source:
    """Leave out the trainings that failed."""
    return replace(source, q1a=source.q1a[source.q1a["accuracy_pct"] >= MIN_PLAUSIBLE_PCT])


def facts(judged: pd.DataFrame) -> dict[str, Any]:
    """Return what a page says of `multiverse`: of our runs, how many claims keep their verdict.

    claims, choices (numbers), steady (claims of one word), turning (ids of the others), opposed
    (ids that hold under one choice and are contradicted under another). Empty without our runs.
    """
    ours = judged[judged["source"] == sources.SOURCES[2]]
    if ours.empty:
        return {}
    words = ours.groupby("id", sort=False)["verdict"].agg(set)
    return {
        "claims": len(words),
        "choices": ours["choice"].nunique(),
        "steady": int((words.map(len) == 1).sum()),
        "turning": words.index[words.map(len) > 1].tolist(),
        "opposed": words.index[words.map({HOLDS, CONTRADICTED}.issubset)].tolist(),
    }


@styled()
def plot(judged: pd.DataFrame) -> Picture:
    """Show `multiverse`: a row a claim, a column a choice, the verdict as colour and letter."""
    choices = sorted(judged["choice"].unique(), key=lambda name: name != AS_JUDGED)
    wide = judged.pivot(index="id", columns="choice", values="verdict")
    wide = wide.reindex(index=judged["id"].unique(), columns=choices)
    codes = wide.map(lambda word: JUDGED.index(word) if word in JUDGED else np.nan)
    figure, axis = plt.subplots(figsize=(1.2 + 0.5 * len(choices), 1.4 + 0.34 * len(wide)))
    sns.heatmap(
        codes, ax=axis, cmap=COLOURS, vmin=-0.5, vmax=len(JUDGED) - 0.5, cbar=False, linewidths=2,
        annot=wide.map(lambda word: LETTERS.get(word, "")), fmt="",
        annot_kws={"color": "black", "fontsize": "small"},
    )  # fmt: skip
    axis.set(xlabel="", ylabel="")
    axis.tick_params(axis="y", rotation=0)
    plt.setp(axis.get_xticklabels(), rotation=60, ha="right", rotation_mode="anchor")
    axis.grid(visible=False)
    key = [
        Patch(color=colour, label=f"{LETTERS[word]} {word}")
        for word, colour in zip(JUDGED, COLOURS, strict=True)
    ]
    figure.legend(handles=key, loc="outside upper center", ncols=3)
    parts = [
        f"{name}: {', '.join(f'{choice} {word}' for choice, word in row.dropna().items())}"
        for name, row in wide.iterrows()
    ]
    return picture(figure, f"The verdict on each claim by choice of analysis. {'; '.join(parts)}")

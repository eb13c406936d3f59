"""Would the same verdict come out? With one repetition alone, or other choices of analysis.

Each choice costs no run: which seeds and device, which epoch of a training, which noise.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd

from mlops_lib.study import claims, noise, selection, sources
from mlops_lib.study.checks import Spreads
from mlops_lib.study.once import once
from mlops_lib.study.protocol import TEST_IMAGES, published_configurations
from mlops_lib.study.sources import Source
from mlops_lib.study.verdicts import JUDGED, Evidence

Choice = tuple[str, Source, Spreads]
AS_JUDGED = "as judged here"
ON_TRAININGS = ("ahead", "best_setting", "over_svms", "best_is")  # checks of accuracies of ResNets
MIN_PLAUSIBLE_PCT = 60.0  # of an accuracy in a table: below, its training failed


@once
def multiverse(runs: pd.DataFrame) -> pd.DataFrame:
    """Judge the claims on trainings under every choice of analysis.

    Columns: id, choice, source, verdict, sign (of the mean difference: 1 ahead, -1 behind),
    repetition (bool: the choice is one device and seed, of those that all of Q1(a) was run with).
    """
    chosen, spread = selection.choose(runs), claims.spreads(runs)
    ours = sources.of_chosen(chosen)
    again = list(_repetitions(runs, ours, spread))
    choices = [(AS_JUDGED, ours, spread), *_of_our_runs(runs, chosen, ours, spread)]
    choices += [(report.name, report, spread) for report in map(sources.report, "AB")]
    choices += [("Report B without its failed training", _plausible(sources.report("B")), spread)]
    found = [
        _judged(again if len(again) > 1 else []).assign(repetition=True),
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


def _judged(choices: list[Choice]) -> pd.DataFrame:
    rows = []
    for name, source, spread in choices:
        for claim in filter(_rests_on_trainings, claims.claims()):
            evidence = claims.check(claim, source, spread)
            if evidence.verdict in JUDGED:
                rows.append([claim.id, name, source.name, evidence.verdict, _sign(evidence)])
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
    for name, trainings in selection.repetitions(runs).items():
        table = selection.complete(sources.configurations(trainings))
        if len(table) == published:
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

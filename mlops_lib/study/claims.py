"""Each published claim → a verdict, with its evidence.

A claim is checked in the same way on three sources: report A's tables, report B's, and the runs
of this study. `CLAIMS` lists them; a new claim is one more entry there. Those of the reports
begin with the report's letter.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from functools import lru_cache

import pandas as pd

from mlops_lib import stats
from mlops_lib.study import selection, sources
from mlops_lib.study.checks import (
    UNKNOWN,
    Check,
    Evidence,
    ahead,
    best_is,
    every_part,
    fastest_start,
    over_svms,
    rbf_over_poly,
)
from mlops_lib.study.checks_speed import (
    deeper_costs_more,
    flops_by_architecture,
    gpu_about,
    gpu_between,
    larger_gain_more,
    svm_time,
)
from mlops_lib.study.once import once
from mlops_lib.study.protocol import SOURCES


@dataclass(frozen=True)
class Claim:
    """A statement of a report, and how to check it."""

    id: str
    text: str
    check: Check


CLAIMS = (
    Claim(
        "A1",
        "Adam is consistently more accurate than SGD",
        ahead("optimizer", "adam", "sgd", every=True),
    ),
    Claim(
        "A2",
        "Learning rate 1e-4 is more stable and generalises better than 1e-3",
        every_part(
            ahead("lr", 1e-4, 1e-3),
            ahead(
                "lr", 1e-4, 1e-3, measure="val_accuracy_drop_pct", lower=True, unit="points less"
            ),
        ),
    ),
    Claim(
        "A3",
        "ResNet-50 is slightly more accurate than ResNet-18, at a higher cost",
        every_part(ahead("model", "resnet50", "resnet18"), deeper_costs_more),
    ),
    Claim(
        "A4",
        "Accuracy on MNIST is significantly higher than on FashionMNIST",
        ahead("dataset", "mnist", "fashion_mnist", free=["epochs"]),
    ),
    Claim(
        "A5",
        "The RBF kernel is slightly better than the polynomial one, on both datasets",
        rbf_over_poly,
    ),
    Claim("A6", "ResNets are significantly more accurate than SVMs", over_svms),
    Claim("A7", "SVMs train much faster than ResNets", svm_time),
    Claim("A8", "A GPU trains 7 to 8 times faster than a CPU, for every model", gpu_between(7, 8)),
    Claim(
        "A9", "FLOPs depend on the architecture alone, not on the hardware", flops_by_architecture
    ),
    Claim(
        "A10", "ResNet-50 needs substantially more computation than ResNet-18", deeper_costs_more
    ),
    Claim(
        "A11",
        "Best MNIST 99.4 %, best FashionMNIST 92.6 %, GPU 8 times faster",
        every_part(best_is("mnist", 99.4), best_is("fashion_mnist", 92.6), gpu_about(8)),
    ),
    Claim("B1", "SGD at 1e-3 is best for quick convergence", fastest_start),
    Claim(
        "B2",
        "Adam is more stable at 1e-4 than at 1e-3",
        ahead(
            "lr",
            1e-4,
            1e-3,
            where={"optimizer": "adam"},
            measure="val_accuracy_drop_pct",
            lower=True,
            unit="points less",
        ),
    ),
    Claim(
        "B3",
        "Batch size 16 is consistently more accurate than 32",
        ahead("batch_size", 16, 32, every=True),
    ),
    Claim(
        "B4",
        "Larger batches train faster",
        ahead(
            "batch_size",
            32,
            16,
            measure="epoch_seconds",
            lower=True,
            unit="s less an epoch",
        ),
    ),
    Claim("B5", "A GPU trains 18 to 30 times faster", gpu_between(18, 30)),
    Claim("B6", "Larger models gain more from a GPU", larger_gain_more),
    Claim(
        "B7",
        "Best MNIST 99.20 % (ResNet-18, batch 16, SGD 1e-3), best FashionMNIST 92.60 % "
        "(ResNet-50, batch 16, Adam 1e-4), best SVM on MNIST 97.61 % (polynomial, C=10), "
        "GPU 30 times faster",
        every_part(
            best_is("mnist", 99.20, model="resnet18", batch_size=16, optimizer="sgd", lr=1e-3),
            best_is(
                "fashion_mnist", 92.60, model="resnet50", batch_size=16, optimizer="adam", lr=1e-4
            ),
            best_is("mnist", 97.61, svm=True, kernel="poly", C=10),
            gpu_about(30),
        ),
    ),
)


@once
def judge(runs: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each claim and source: id, claim, source, verdict, says, brief, p_holm.

    p_holm has the p values of a claim's tests over the grid, adjusted (Holm) over all tests of a
    source.
    """
    rows = []
    every = _of_report("A"), _of_report("B"), _checked(sources.ours(runs))
    for source, found in zip(SOURCES, every, strict=True):
        adjusted = iter(stats.holm([p for evidence in found for p in evidence.p]))
        for claim, evidence in zip(CLAIMS, found, strict=True):
            rows.append(
                {
                    "id": claim.id,
                    "claim": claim.text,
                    "source": source,
                    "verdict": evidence.verdict,
                    "says": evidence.says,
                    "brief": evidence.in_brief,
                    "p_holm": tuple(itertools.islice(adjusted, len(evidence.p))),
                }
            )
    return pd.DataFrame(rows)


@lru_cache
def _of_report(letter: str) -> list[Evidence]:
    """Check all claims on a report's tables, which don't change."""
    return _checked(sources.report(letter))


def _checked(source: sources.Source) -> list[Evidence]:
    return [claim.check(source) for claim in CLAIMS]


@once
def by_repetition(runs: pd.DataFrame) -> pd.DataFrame:
    """Judge the claims about the accuracies of Q1(a) by each time that all of it was run.

    Returns a row for each such claim: its id, its text and the verdict by each device and seed.
    None where it was run less than twice. Claims about times are left out.
    """
    found, published = {}, len(sources.report("A").q1a)
    for name, trainings in selection.repetitions(runs).items():
        if len(trainings) < published:
            continue
        source = sources.ours(pd.concat([trainings, runs[runs["template"] != "q1a"]]))
        if len(selection.complete(source.q1a)) == published:
            found[name] = _checked(replace(source, timed=source.timed[:0]))
    rows = []
    for claim, *here in zip(CLAIMS, *found.values(), strict=True):
        verdicts = [evidence.verdict for evidence in here]
        if len({evidence.says for evidence in here}) > 1 and set(verdicts) != {UNKNOWN}:
            rows.append([claim.id, claim.text, *verdicts])
    return pd.DataFrame(rows, columns=["Id", "Claim", *found]).set_index("Id")


def changing(repeated: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `by_repetition` whose verdict is not the same each time."""
    return repeated[repeated.iloc[:, 1:].nunique(axis=1) > 1]


def by_runs_and_own_tables(judged: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the reports' claims as our runs judge them, and as the tables of their reports do."""
    judged = judged[judged["id"].str[0].isin(["A", "B"])]
    own = judged["source"] == "Report " + judged["id"].str[0]
    return judged[judged["source"] == SOURCES[2]], judged[own]


def summary(judged: pd.DataFrame) -> pd.DataFrame:
    """Lay out the verdicts: a row for each claim, a column for each source."""
    wide = judged.pivot(index=["id", "claim"], columns="source", values="verdict")
    wide = wide.reindex(columns=list(SOURCES)).reset_index("claim").rename_axis(index="Id")
    order = [claim.id for claim in CLAIMS]
    return wide.rename(columns={"claim": "Claim"}).rename_axis(columns=None).loc[order]

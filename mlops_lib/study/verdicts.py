"""The words of a verdict, the rules that choose them, and the evidence it comes with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from statistics import NormalDist
from typing import Any, Literal

import numpy as np

from mlops_lib.stats import LEVEL
from mlops_lib.study.effects import Effect

Verdict = Literal[
    "holds", "contradicted", "does not hold", "depends", "undecided", "by construction",
    "not transferable", "not shown", "not run",
]  # fmt: skip
HOLDS: Verdict = "holds"
CONTRADICTED: Verdict = "contradicted"
FAILS: Verdict = "does not hold"
DEPENDS: Verdict = "depends"
UNDECIDED: Verdict = "undecided"
BY_CONSTRUCTION: Verdict = "by construction"
NOT_TRANSFERABLE: Verdict = "not transferable"
NOT_SHOWN: Verdict = "not shown"  # by a report's tables
NOT_RUN: Verdict = "not run"  # by us, or too little of it

MEANINGS: dict[Verdict, str] = {
    HOLDS: "the mean difference is significantly on the claimed side, and no more pairs differ "
    "significantly against it than for it; if the claim says “consistently”, the first is ahead in "
    "every pair",
    CONTRADICTED: "the opposite is significant in the same sense; a claimed best value differs "
    "significantly",
    FAILS: "the claim is about every case (“consistently”, “both datasets”), and at least one is "
    "significantly against it; a claimed best result is right in its value or its setting alone",
    DEPENDS: "neither of these: the difference is significantly larger under one setting than "
    "under another, and the claim holds under one alone",
    UNDECIDED: "the runs allow both",
    BY_CONSTRUCTION: "true by the way the number is computed, so no run can contradict it",
    NOT_TRANSFERABLE: "a factor between two machines, which other machines need not share",
    NOT_SHOWN: "the report's tables do not hold what the claim is about",
    NOT_RUN: "fewer than half of the pairs have been run here",
}
JUDGED = (HOLDS, CONTRADICTED, FAILS, DEPENDS, UNDECIDED)
SILENT = (NOT_SHOWN, NOT_RUN)
POWER = 0.8  # with which the further seeds would settle what is undecided
MIN_SHARE = 0.5  # of the published pairs, that a verdict takes


@dataclass(frozen=True)
class Evidence:
    """What a source says of a claim, or of a part of it: a verdict and the numbers behind it."""

    verdict: Verdict
    check: str  # which one
    what: str = ""  # is compared
    effect: Effect | None = None  # of checks on pairs
    unit: str = ""  # of the effect: points, or times (then the effect is of logarithms)
    further_seeds: int | None = None  # that would settle what is undecided
    values: dict[str, Any] = field(default_factory=dict)  # of other checks
    rows: tuple[str, ...] = ()  # it rests on: pages of runs, or lines of published tables
    parts: tuple[Evidence, ...] = ()


def better(effect: Effect) -> Verdict:
    """Judge that the first is better on average."""
    if _splits_the_claim(effect):
        return DEPENDS
    if effect.sign > 0 and effect.significant_losses <= effect.significant_wins:
        return HOLDS
    if _opposite(effect):
        return CONTRADICTED
    return UNDECIDED


def consistently(effect: Effect) -> Verdict:
    """Judge that the first is better in every pair."""
    if _opposite(effect):
        return CONTRADICTED
    if effect.significant_losses:
        return FAILS
    if _splits_the_claim(effect):
        return DEPENDS
    return HOLDS if effect.sign > 0 and effect.wins == effect.n else UNDECIDED


def _opposite(effect: Effect) -> bool:
    return effect.sign < 0 and effect.significant_wins <= effect.significant_losses


def _splits_the_claim(effect: Effect) -> bool:
    """Return whether the claim holds in one subgroup and not in the other."""
    return any(subgroup.sign > 0 for subgroup in effect.depends_on)


def further_seeds(effect: Effect, every: bool) -> int | None:
    """Return how many more trainings of each setting would settle an undecided claim.

    That is: make the difference seen so far significant with a probability of `POWER`, of a claim
    on every pair the largest one against it. None if there is no such difference.
    """
    normal = NormalDist()
    if every:
        difference, error, level = min(effect.worst, 0), effect.worst_error, LEVEL / effect.n
    else:
        difference, error, level = effect.mean, effect.error, LEVEL
    reach = normal.inv_cdf(1 - level / 2) + normal.inv_cdf(POWER)
    if not difference or math.isnan(error):
        return None
    trainings = effect.trainings * (reach * error / difference) ** 2
    return max(1, math.ceil(trainings) - effect.trainings)


def on_pairs(evidence: Evidence, every: bool, wanted: int, unknown: Verdict) -> Evidence:
    """Judge a claim on pairs, `wanted` of which are published; without enough it is `unknown`."""
    effect = evidence.effect
    if effect is None or effect.n < MIN_SHARE * wanted:
        return replace(evidence, verdict=unknown)
    verdict = consistently(effect) if every else better(effect)
    if verdict == HOLDS and every and effect.n < wanted:
        verdict = unknown
    seeds = further_seeds(effect, every) if verdict == UNDECIDED and unknown == NOT_RUN else None
    return replace(evidence, verdict=verdict, further_seeds=seeds)


def all_parts(parts: Sequence[Evidence]) -> Evidence:
    """Judge a claim of several parts joined by “and”: the part that does worst decides.

    Parts about other machines do not count, as long as there are others.
    """
    if len(parts) == 1:
        return parts[0]
    words = {part.verdict for part in parts}
    order = (
        CONTRADICTED, FAILS, NOT_SHOWN, NOT_RUN, DEPENDS, UNDECIDED, HOLDS, BY_CONSTRUCTION,
        NOT_TRANSFERABLE,
    )  # fmt: skip
    verdict = next(word for word in order if word in words)
    rows = tuple(dict.fromkeys(row for part in parts for row in part.rows))
    return Evidence(verdict, "all_parts", rows=rows, parts=tuple(parts))


def scaled_effect(evidence: Evidence) -> tuple[float, float, float] | None:
    """Return the mean effect and its 95 % interval in the evidence's unit, or None."""
    if evidence.effect is None:
        return None
    values = evidence.effect.mean, evidence.effect.low, evidence.effect.high
    mean, low, high = np.exp(values) if evidence.unit == "times" else values
    return float(mean), float(low), float(high)

"""The rules by hand, against a second implementation, and on tables drawn at random."""

import dataclasses

import numpy as np
import pytest
from scipy.stats import t
from simulated import BETTER, CONSISTENT, DF, GRID, KINDS, STD, drawn, spread, table, words

from mlops_lib.study import verdicts as rules
from mlops_lib.study.effects import Effect, Subgroup
from mlops_lib.study.verdicts import Evidence

EFFECT = Effect(
    n=16, wins=16, losses=0, significant_wins=3, significant_losses=0, mean=0.5, low=0.3, high=0.7,
    error=0.1, df=20, p=0.001, worst=0.1, worst_error=0.2, trainings=2,
)  # fmt: skip
SPLIT = (Subgroup("lr", 1e-4, 1.0, 1), Subgroup("lr", 1e-3, 0.0, 0))


def effect(**changes):
    return dataclasses.replace(EFFECT, **changes)


@pytest.mark.parametrize(
    ("changes", "better", "consistently"),
    [
        ({}, "holds", "holds"),
        ({"p": 0.2}, "undecided", "undecided"),
        ({"wins": 15, "losses": 1}, "holds", "undecided"),
        ({"wins": 15, "losses": 1, "significant_losses": 1}, "holds", "does not hold"),
        ({"significant_losses": 4}, "undecided", "does not hold"),
        ({"mean": -0.5}, "undecided", "undecided"),  # more pairs are significantly ahead
        ({"mean": -0.5, "significant_losses": 3}, "contradicted", "contradicted"),
        ({"depends_on": SPLIT}, "depends", "depends"),
        ({"depends_on": SPLIT, "significant_losses": 1}, "depends", "does not hold"),
        ({"depends_on": SPLIT[1:]}, "holds", "holds"),  # no subgroup in which it holds alone
    ],
)
def test_words_by_hand(changes, better, consistently):
    assert rules.better(effect(**changes)) == better
    assert rules.consistently(effect(**changes)) == consistently


@pytest.mark.parametrize(
    ("parts", "verdict"),
    [
        (["holds", "holds"], "holds"),
        (["holds", "contradicted", "not run"], "contradicted"),
        (["does not hold", "not shown"], "does not hold"),
        (["holds", "not shown"], "not shown"),
        (["holds", "depends", "undecided"], "depends"),
        (["holds", "undecided"], "undecided"),
        (["holds", "not transferable"], "holds"),
        (["not transferable", "not transferable"], "not transferable"),
    ],
)
def test_a_claim_is_as_good_as_its_worst_part(parts, verdict):
    found = rules.all_parts([Evidence(word, "ahead", rows=("a",)) for word in parts])
    assert found.verdict == verdict
    assert len(found.parts) == len(parts) and found.rows == ("a",)
    single = Evidence("depends", "ahead")
    assert rules.all_parts([single]) is single


def test_further_seeds_by_hand():
    """(1.960 + 0.842) standard errors; with 2 trainings 0.1 of 0.1 points: 2 * 2.80² = 15.7."""
    assert rules.further_seeds(effect(mean=0.1), every=False) == 16 - 2
    assert rules.further_seeds(effect(mean=0.0), every=False) is None
    assert rules.further_seeds(effect(worst=0.1), every=True) is None  # no pair is behind
    # Holm over 16 pairs: (2.955 + 0.842) * 0.2 / 0.4, squared, times 2 = 7.2
    assert rules.further_seeds(effect(worst=-0.4), every=True) == 8 - 2


def test_too_few_pairs_are_no_verdict():
    few = Evidence("holds", "ahead", effect=effect(n=7, wins=7))
    assert rules.on_pairs(few, False, 16, "not run").verdict == "not run"
    half = Evidence("holds", "ahead", effect=effect(n=8, wins=8))
    assert rules.on_pairs(half, False, 16, "not run").verdict == "holds"
    assert rules.on_pairs(half, True, 16, "not run").verdict == "not run"  # of every pair
    open_ = Evidence("holds", "ahead", effect=effect(p=0.2, mean=0.1))
    assert rules.on_pairs(open_, False, 16, "not run").further_seeds == 14
    assert rules.on_pairs(open_, False, 16, "not shown").further_seeds is None  # of a report


def second_opinion(accuracies, trainings, std, df, every):
    """Judge Adam over SGD by the simple rule, without the library: no interactions."""
    adam, sgd = (
        np.array([a for a, name in zip(accuracies, GRID["optimizer"], strict=True) if name == of])
        for of in ("adam", "sgd")
    )
    kinds = [k for k, name in zip(KINDS, GRID["optimizer"], strict=True) if name == "adam"]
    variance = np.array([2 * std[kind] ** 2 / trainings for kind in kinds])
    difference = adam - sgd
    p = 2 * t.sf(np.abs(difference) / np.sqrt(variance), df)
    order = np.argsort(p)
    significant = np.zeros(16, bool)
    for rank, pair in enumerate(order):
        if p[pair] * (16 - rank) >= 0.05:
            break
        significant[pair] = True
    by_kind = [sum(v for v, k in zip(variance, kinds, strict=True) if k == kind) for kind in std]
    pooled_df = sum(by_kind) ** 2 / sum(v**2 / df for v in by_kind)
    mean_p = 2 * t.sf(abs(difference.mean()) / (np.sqrt(variance.sum()) / 16), pooled_df)
    sign = np.sign(difference.mean()) if mean_p < 0.05 else 0
    ahead, behind = (significant & (difference > 0)).sum(), (significant & (difference < 0)).sum()
    if sign < 0 and ahead <= behind:
        return "contradicted"
    if every:
        if behind:
            return "does not hold"
        return "holds" if sign > 0 and (difference > 0).all() else "undecided"
    return "holds" if sign > 0 and behind <= ahead else "undecided"


@pytest.mark.parametrize("lead", [0.0, 0.15, 0.6, -0.4])
@pytest.mark.parametrize("check", [BETTER, CONSISTENT])
def test_a_second_implementation_agrees(lead, check):
    rng = np.random.default_rng(1)
    for _ in range(10):
        source, noise = drawn(rng, lead + 0.3 * rng.standard_normal() * (lead == 0.15), 2)
        found = check.evidence(source, {"accuracy_pct": noise})
        std = noise["std"].to_dict()
        expected = second_opinion(source.q1a["accuracy_pct"], 2, std, 8, check.every)
        if not found.effect.depends_on:
            assert found.verdict == expected


@pytest.mark.parametrize("trainings", [1, 2])
def test_no_effect_is_rarely_a_verdict(trainings):
    """Of 100 tables without an effect, 5 % are 5; 14 would be one in a thousand."""
    better, consistently = words(0.0, trainings, 100)
    assert 100 - better["undecided"] <= 13
    assert 100 - consistently["undecided"] <= 13


def test_a_large_effect_is_found_and_an_interaction_named():
    better, consistently = words(0.6, 3, 20)
    assert better["holds"] >= 19 and consistently["does not hold"] == 0
    assert words(-0.6, 3, 20)[0]["contradicted"] >= 19
    only_low = np.where(GRID["lr"] == 1e-4, 1.0, 0.0)
    assert words(only_low, 3, 20)[0]["depends"] >= 19
    behind = np.where((GRID["lr"] == 1e-3) & (GRID["model"] == "resnet18"), -1.0, 1.0)
    assert words(behind, 3, 20)[1]["does not hold"] >= 19


def test_a_source_without_noise_is_undecided():
    source = table(95 + 5.0 * (GRID["optimizer"] == "adam"))
    unknown = spread(STD, DF).iloc[:0]
    assert BETTER.evidence(source, {"accuracy_pct": unknown}).verdict == "undecided"

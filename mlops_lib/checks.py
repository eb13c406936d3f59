"""How claims are checked: each check takes a source and returns a verdict with its evidence."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from mlops_lib import record, stats, tables
from mlops_lib.sources import PAIR_KEYS, Source, pairs, whole

Verdict = Literal["holds", "does not hold", "mixed", "not measured"]
HOLDS: Verdict = "holds"
FAILS: Verdict = "does not hold"
MIXED: Verdict = "mixed"
UNKNOWN: Verdict = "not measured"
TEST_IMAGES = 14_000
LEVEL = 0.05
FEWEST = 6  # pairs that a verdict on a grid needs: with fewer, p (two-sided) is above LEVEL
MUCH = 2  # times: what "much" and "substantially" ask for at least


@dataclass(frozen=True)
class Evidence:
    """What a source says of a claim."""

    verdict: Verdict
    says: str
    p: tuple[float, ...] = ()  # of the tests over the grid that the verdict rests on


Check = Callable[[Source], Evidence]


def ahead(
    factor: str, first: Any, second: Any, *, measure: str = "accuracy_pct", every: bool = False,
    lower: bool = False, where: dict[str, Any] | None = None, free: Sequence[str] = (),
    unit: str = "points",
) -> Check:  # fmt: skip
    """Check that `first` is ahead of `second`, in configurations that are otherwise equal.

    `every`: in each of them, not on average. `lower`: the smaller value is ahead.
    Trainings of fewer epochs or images than published count only for what one epoch shows.
    """

    def check(source: Source) -> Evidence:
        trained = source.q1a if measure in OF_AN_EPOCH else whole(source.q1a)
        table = tables.select(trained, **(where or {}))
        if len(table) and measure not in table:
            return Evidence(UNKNOWN, f"its tables do not hold the {MEASURES[measure]}")
        found = pairs(table, factor, first, second, measure, free)
        names = f"{_named(factor, first)} over {_named(factor, second)}"
        if found.empty:
            return Evidence(UNKNOWN, f"no pair of {names}, {MEASURES[measure]}")
        summary = stats.paired(-found["difference"] if lower else found["difference"])
        evidence = _judged(summary, every, f"{names}, {MEASURES[measure]}", unit)
        images = _images(trained, found, factor, first, second) if not lower else ""
        return replace(evidence, says=evidence.says + images)

    return check


MEASURES = {
    "accuracy_pct": "test accuracy",
    "wobble_pct": "fall of the validation accuracy between epochs",
    "epoch_seconds": "time of the fastest epoch",
}
OF_AN_EPOCH = ("epoch_seconds",)


def _judged(
    summary: stats.Paired, every: bool, what: str, unit: str, fewest: int = FEWEST
) -> Evidence:
    s = summary
    if s.n < fewest:
        verdict = UNKNOWN
    elif s.wins <= s.losses:
        verdict = FAILS
    else:
        verdict = HOLDS if (s.wins == s.n if every else s.p < LEVEL) else MIXED
    interval = "" if math.isinf(s.low) else f" (95 % interval {s.low:+.2f} to {s.high:+.2f})"
    effect = "" if math.isnan(s.effect) else f", effect size {s.effect:.2f}"
    says = (
        f"{what}: ahead in {s.wins} of {s.n} pairs, behind in {s.losses}; mean difference "
        f"{s.mean:+.2f} {unit}{interval}{effect}, p = {s.p:.3g} (Wilcoxon)"
    )
    return Evidence(verdict, says, () if verdict == UNKNOWN else (s.p,))


def _images(table: pd.DataFrame, found: pd.DataFrame, factor: str, first: Any, second: Any) -> str:
    """Say in how many pairs of runs McNemar's test on the shared test images finds a difference."""
    keys = [name for name in PAIR_KEYS if name in found and name != "epochs"]
    better = worse = compared = 0
    for pair in found[keys].to_dict("records"):
        tested = _mcnemar(*(tables.select(table, **{factor: v}, **pair) for v in (first, second)))
        if tested:
            only_first, only_second, p = tested
            compared += 1
            better += p < LEVEL and only_first > only_second
            worse += p < LEVEL and only_first < only_second
    if not compared:
        return ""
    return (
        f"; on the shared test images (McNemar) better in {better}, worse in {worse}, "
        f"neither in {compared - better - worse} of {compared}"
    )


def _mcnemar(first: pd.DataFrame, second: pd.DataFrame) -> tuple[int, int, float] | None:
    """Compare the first runs of two tables; None unless they share their test images."""
    if first.empty or second.empty or "correct" not in first:
        return None
    runs = [first.iloc[0].to_dict(), second.iloc[0].to_dict()]
    if any(runs[0][name] != runs[1][name] for name in ("dataset", "seed")):
        return None
    if not all(isinstance(run["correct"], str) for run in runs):
        return None
    right = [record.unpack_correct(run) for run in runs]
    return stats.mcnemar(*right) if len(right[0]) == len(right[1]) else None


def every_part(*checks: Check, all_needed: bool = False) -> Check:
    """Check a claim of several parts; parts that a source does not measure don't count.

    `all_needed`: it can't hold, either, before all of them are measured.
    """

    def check(source: Source) -> Evidence:
        parts = [part(source) for part in checks]
        measured = [part for part in parts if part.verdict != UNKNOWN]
        verdicts = {part.verdict for part in measured}
        verdict = UNKNOWN if not verdicts else verdicts.pop() if len(verdicts) == 1 else MIXED
        if all_needed and verdict == HOLDS and len(measured) < len(parts):
            verdict = UNKNOWN
        tested = sum((part.p for part in measured), ())
        return Evidence(verdict, "; ".join(part.says for part in parts), tested)

    return check


def kernels(source: Source) -> Evidence:
    """Check that RBF is ahead of the polynomial kernel on both datasets."""
    searched = whole(source.q1b)
    found = searched.set_index(["dataset", "kernel"])
    differences = {
        dataset: found["accuracy_pct"][dataset, "rbf"] - found["accuracy_pct"][dataset, "poly"]
        for dataset in ("mnist", "fashion_mnist")
        if {(dataset, "rbf"), (dataset, "poly")} <= set(found.index)
    }
    if not differences:
        return Evidence(UNKNOWN, "no pair of kernels")
    says = "; ".join(
        f"{tables.title(dataset)}: RBF {value:+.2f} points" + _kernel_images(searched, dataset)
        for dataset, value in differences.items()
    )
    wins = sum(value > 0 for value in differences.values())
    if len(differences) == 1 and wins:
        return Evidence(MIXED, f"{says}; the other dataset is not measured")
    return Evidence(HOLDS if wins == 2 else MIXED if wins else FAILS, says)


def _kernel_images(table: pd.DataFrame, dataset: str) -> str:
    tested = _mcnemar(
        *(tables.select(table, dataset=dataset, kernel=kernel) for kernel in ("rbf", "poly"))
    )
    return f" (McNemar p = {tested[2]:.3g})" if tested else ""


def over_svms(source: Source) -> Evidence:
    """Check that every ResNet is ahead of the best SVM of its dataset."""
    trained, searched = whole(source.q1a), whole(source.q1b)
    if searched.empty or trained.empty:
        return Evidence(UNKNOWN, "no SVM beside a ResNet")
    best = searched.groupby("dataset")["accuracy_pct"].max()
    table = trained[trained["dataset"].isin(best.index)]
    differences = table["accuracy_pct"] - table["dataset"].map(best)
    return _judged(
        stats.paired(differences), True, "each ResNet over the best SVM of its dataset", "points"
    )


def svm_time(source: Source) -> Evidence:
    """Check that the slowest SVM fits in half the time of the fastest ResNet.

    The reports state times of ResNets with Q2 alone; ours of Q2 are of a single epoch.
    """
    of_resnets = whole(source.q1a).get("train_seconds", source.q2.get("seconds", ()))
    resnets, svms = (
        [seconds for seconds in times if not math.isnan(seconds)]
        for times in (of_resnets, whole(source.q1b).get("seconds", ()))
    )
    if not resnets or not svms:
        return Evidence(UNKNOWN, "no fitting time beside a training time")
    says = f"SVMs took {_range(svms)} s to fit, ResNets {_range(resnets)} s to train"
    if MUCH * max(svms) <= min(resnets):
        return Evidence(HOLDS, says)
    return Evidence(FAILS if np.median(svms) > np.median(resnets) else MIXED, says)


def _range(values: Sequence[float]) -> str:
    low, high = f"{min(values):,.0f}", f"{max(values):,.0f}"
    return low if low == high else f"{low} to {high}"


def gpu_between(low: float, high: float) -> Check:
    """Check that a GPU trains `low` to `high` times faster than a CPU, whatever the model."""

    def check(source: Source) -> Evidence:
        ratios = tables.gpu_ratios(source.q2)["ratio"]
        if ratios.empty:
            return Evidence(UNKNOWN, "no model timed on both devices")
        inside = ratios.round().between(low, high)
        verdict = HOLDS if inside.all() else MIXED if inside.any() else FAILS
        shown = ", ".join(f"{ratio:.1f}" for ratio in ratios)
        return Evidence(verdict, f"GPU over CPU: {shown} times as fast")

    return check


def larger_gain_more(source: Source) -> Evidence:
    """Check that ResNet-50 gains more from a GPU than ResNet-18."""
    ratios = tables.gpu_ratios(source.q2)
    if ratios.empty:
        return Evidence(UNKNOWN, "no model timed on both devices")
    wide = ratios.pivot_table("ratio", ["optimizer", "input_size"], "model").reindex(
        columns=["resnet18", "resnet50"]
    )
    gains = (wide["resnet50"] - wide["resnet18"]).dropna()
    if gains.empty:
        return Evidence(UNKNOWN, "only one model timed on both devices")
    return _judged(stats.paired(gains), True, "ResNet-50's gain over ResNet-18's", "times", 1)


def flops_by_architecture(source: Source) -> Evidence:
    """Check that counts are equal wherever model and image size are."""
    if source.q2.empty:
        return Evidence(UNKNOWN, "nothing counted")
    counts = source.q2.groupby(["model", "input_size"])
    if counts["device"].nunique().max() < 2:
        return Evidence(UNKNOWN, "counted on one device only")
    same = bool((counts["gflops"].nunique() == 1).all())
    return Evidence(HOLDS if same else FAILS, f"equal on both devices: {'yes' if same else 'no'}")


def deeper_costs_more(source: Source) -> Evidence:
    """Check that ResNet-50 takes at least twice ResNet-18's operations, at the same image size."""
    if source.q2.empty:
        return Evidence(UNKNOWN, "nothing counted")
    wide = source.q2.pivot_table("gflops", "input_size", "model").reindex(
        columns=["resnet18", "resnet50"]
    )
    ratios = (wide["resnet50"] / wide["resnet18"]).dropna()
    if ratios.empty:
        return Evidence(UNKNOWN, "only one model counted")
    verdict = HOLDS if (ratios >= MUCH).all() else FAILS
    shown = ", ".join(f"{ratio:.1f}" for ratio in ratios)
    return Evidence(verdict, f"ResNet-50 takes {shown} times ResNet-18's multiply-adds")


def best_is(dataset: str, claimed: float, svm: bool = False, **configuration: Any) -> Check:
    """Check a headline: the best accuracy (per cent) and, where given, which run has it.

    It holds where the best lies within what 14,000 test images can tell from the claimed value.
    """

    def check(source: Source) -> Evidence:
        table = tables.select(whole(source.q1b if svm else source.q1a), dataset=dataset)
        kind = f"best {'SVM' if svm else 'ResNet'} on {tables.title(dataset)}"
        if len(table) < (2 if svm else 16):  # kernels; models, batch sizes, optimizers and rates
            return Evidence(UNKNOWN, f"{kind}: not all configurations run")
        best = table.loc[table["accuracy_pct"].idxmax()]
        near = not stats.differ(best["accuracy_pct"] / 100, claimed / 100, TEST_IMAGES)
        same = all(best[name] == value for name, value in configuration.items())
        by = ", ".join(_named(name, best[name]) for name in configuration)
        says = f"{kind}: {best['accuracy_pct']:.2f} % (claimed {claimed:.2f})"
        verdict = HOLDS if near and same else MIXED if near or (same and by) else FAILS
        return Evidence(verdict, f"{says}, by {by}" if by else says)

    return check


def _named(name: str, value: Any) -> str:
    words = {"batch_size": "batch", "lr": "rate", "C": "C"}
    return f"{words[name]} {value:g}" if name in words else tables.title(value)


def gpu_about(claimed: float) -> Check:
    """Check a headline: the largest gain from a GPU, to a tenth of the claimed value."""

    def check(source: Source) -> Evidence:
        ratios = tables.gpu_ratios(source.q2)["ratio"]
        if ratios.empty:
            return Evidence(UNKNOWN, "GPU over CPU: not run")
        largest = ratios.max()
        verdict = HOLDS if abs(largest / claimed - 1) <= 0.1 else FAILS
        return Evidence(verdict, f"GPU {largest:.1f} times as fast (claimed {claimed:g})")

    return check


def fastest_start(source: Source) -> Evidence:
    """Check that SGD at 1e-3 is ahead of the other optimizers and rates after one epoch."""
    if "first_epoch_pct" not in source.q1a:
        return Evidence(UNKNOWN, "the tables hold no accuracy by epoch")
    setting = ["optimizer", "lr"]
    keys = ["dataset", "model", "batch_size", "train_images", "device"]
    wide = source.q1a.pivot_table("first_epoch_pct", keys, setting)
    wide = wide.reindex(columns=itertools.product(("sgd", "adam"), (1e-3, 1e-4))).dropna()
    if wide.empty:
        return Evidence(UNKNOWN, "not all settings run")
    rival = wide.drop(columns=[("sgd", 1e-3)]).max(axis=1)
    differences = wide["sgd", 1e-3] - rival
    what = "SGD 1e-3 over the best other setting after one epoch"
    return _judged(stats.paired(differences), True, what, "points")

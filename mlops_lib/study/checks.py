"""How claims on accuracy are checked: a check takes a source and returns its evidence."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import pandas as pd

from mlops_lib import stats, tables
from mlops_lib.stats import LEVEL
from mlops_lib.study import pairs
from mlops_lib.study.pairs import (
    Pair,
    compared,
    mcnemar,
    over,
    points_ahead,
    setting_text,
    significantly_ahead,
)
from mlops_lib.study.protocol import MACHINE, PUBLISHED_EPOCHS, TEST_IMAGES
from mlops_lib.study.selection import complete, select
from mlops_lib.study.sources import Source, report

Verdict = Literal["holds", "does not hold", "mixed", "not measured"]
HOLDS: Verdict = "holds"
FAILS: Verdict = "does not hold"
MIXED: Verdict = "mixed"
UNKNOWN: Verdict = "not measured"
MIN_PAIRS = 6  # pairs that a verdict on a grid needs: with fewer, p (two-sided) is above LEVEL


@dataclass(frozen=True)
class Evidence:
    """What a source says of a claim."""

    verdict: Verdict
    says: str
    p: tuple[float, ...] = ()  # of the tests over the grid that the verdict rests on
    brief: str = ""  # what it says in a line, where that is less

    @property
    def in_brief(self) -> str:
        return self.brief or self.says


Check = Callable[[Source], Evidence]


def ahead(
    factor: str, first: Any, second: Any, *, measure: str = "accuracy_pct", every: bool = False,
    lower: bool = False, where: dict[str, Any] | None = None, free: Sequence[str] = (),
    unit: str = "points",
) -> Check:  # fmt: skip
    """Check that `first` is ahead of `second`, in configurations that are otherwise equal.

    `every`: in each of the published ones, not on average; one that is significantly behind (after
    Holm's adjustment) refutes that. `lower`: the smaller value is ahead.
    Trainings of fewer epochs or images than published count only for what one epoch shows.
    """

    def check(source: Source) -> Evidence:
        timed = measure in OF_AN_EPOCH
        trained = source.timed if timed else complete(source.q1a)
        grid = select(report("A").q1a, **(where or {}))
        wanted = len(pairs.find(grid, factor, first, second, "accuracy_pct", free))
        table = select(trained, **(where or {}))
        if len(table) and measure not in table:
            return Evidence(UNKNOWN, f"its tables do not hold the {MEASURES[measure]}")
        machine = [name for name in MACHINE if name in table and timed]
        found = pairs.find(table, factor, first, second, measure, free, machine)
        names = over(factor, first, second)
        if found.empty:
            return Evidence(UNKNOWN, f"no pair of {names}, {MEASURES[measure]}")
        summary = stats.paired(-found["difference"] if lower else found["difference"])
        sides = [] if lower else pairs.both_sides(table, found, factor, first, second)
        against = _against(sides) if every and summary.losses else 0
        evidence = _judged(summary, every, wanted, f"{names}, {MEASURES[measure]}", unit, against)
        parts = f"; these are {_parts(found)}" if summary.n < wanted else ""
        on = f" (on {', '.join(found['device_name'].unique())})" if "device_name" in machine else ""
        says = evidence.says + on + _images(sides) + parts
        return replace(evidence, says=says, brief=evidence.brief + parts)

    return check


MEASURES = {
    "accuracy_pct": "test accuracy",
    "val_accuracy_drop_pct": "fall of the validation accuracy between epochs",
    "epoch_seconds": "time of the fastest epoch",
}
OF_AN_EPOCH = ("epoch_seconds",)


def _judged(
    summary: stats.Paired, every: bool, wanted: int, what: str, unit: str = "points",
    against: int = 0,
) -> Evidence:  # fmt: skip
    """Judge what pairs say, `wanted` of which are published; `against` are significant."""
    s = summary
    if s.n < MIN_PAIRS or (every and s.wins == s.n < wanted):
        verdict = UNKNOWN
    elif s.wins <= s.losses or against:
        verdict = FAILS
    else:
        verdict = HOLDS if (s.wins == s.n if every else s.p < LEVEL) else MIXED
    published = _published(s.n, wanted)
    interval = "" if math.isinf(s.low) else f" (95 % interval {s.low:+.2f} to {s.high:+.2f})"
    effect = "" if math.isnan(s.effect) else f", effect size {s.effect:.2f}"
    beyond = f" ({against or 'none'} beyond chance)" if every and s.losses else ""
    brief = f"{what}: ahead in {s.wins} of {s.n} pairs{published}, behind in {s.losses}{beyond}"
    ends = f"from {s.least:+.2f} to {s.most:+.2f}, " if s.n > 1 else ""
    says = (
        f"{brief}; difference {ends}mean {s.mean:+.2f} {unit}{interval}{effect}, "
        f"p = {s.p:.3g} (Wilcoxon)"
    )
    return Evidence(verdict, says, () if verdict == UNKNOWN else (s.p,), brief)


def _against(sides: Sequence[Pair]) -> int:
    """Return in how many pairs the first is significantly behind (Holm, over the pairs)."""
    tested = [compared(*pair) for pair in sides]
    adjusted = stats.holm([p for _, p in tested])
    return sum(sign < 0 and p < LEVEL for (sign, _), p in zip(tested, adjusted, strict=True))


def _images(sides: Sequence[Pair]) -> str:
    """Return in how many pairs McNemar's test on the shared test images finds a difference."""
    tested = [found for pair in sides if (found := mcnemar(*pair))]
    if not tested:
        return ""
    better = sum(p < LEVEL and first > second for first, second, p in tested)
    worse = sum(p < LEVEL and first < second for first, second, p in tested)
    return (
        f"; on the shared test images (McNemar) better in {better}, worse in {worse}, "
        f"neither in {len(tested) - better - worse} of {len(tested)}"
    )


def _parts(results: pd.DataFrame) -> str:
    """Return of which datasets and networks results are: `4 of MNIST with ResNet-18`."""
    names = [name for name in ("dataset", "model") if name in results]
    counts = results.groupby(names, sort=False).size()
    return ", ".join(
        f"{count} of {' with '.join(map(tables.title, values))}"
        for values, count in zip(counts.index.to_frame().to_numpy(), counts, strict=True)
    )


def every_part(*checks: Check) -> Check:
    """Check a claim of several parts: there is no verdict before all of them are measured."""

    def check(source: Source) -> Evidence:
        parts = [part(source) for part in checks]
        verdicts = {part.verdict for part in parts}
        verdict = UNKNOWN if UNKNOWN in verdicts else MIXED if len(verdicts) > 1 else verdicts.pop()
        tested = sum((part.p for part in parts), ())
        says = "; ".join(f"{part.verdict}: {part.says}" for part in parts)
        brief = "; ".join(f"{part.verdict}: {part.in_brief}" for part in parts)
        return Evidence(verdict, says, tested, brief)

    return check


def _published(found: int, wanted: int) -> str:
    """Return in brackets how many the reports have, where fewer were found."""
    return f" ({wanted} published)" if found < wanted else ""


def rbf_over_poly(source: Source) -> Evidence:
    """Check that RBF is ahead of the polynomial kernel on both datasets, significantly."""
    rows = {(row["dataset"], row["kernel"]): row for row in complete(source.q1b).to_dict("records")}
    signs, says = [], []
    for dataset in PUBLISHED_EPOCHS:
        if {(dataset, "rbf"), (dataset, "poly")} <= rows.keys():
            rbf, poly = rows[dataset, "rbf"], rows[dataset, "poly"]
            signs.append(significantly_ahead(rbf, poly))
            difference = rbf["accuracy_pct"] - poly["accuracy_pct"]
            chance = "within" if signs[-1] == 0 else "beyond"
            says.append(f"{tables.title(dataset)}: RBF {difference:+.2f} points, {chance} chance")
        else:
            says.append(f"{tables.title(dataset)}: not both kernels")
    if len(signs) < 2:
        verdict = UNKNOWN
    elif min(signs) > 0:
        verdict = HOLDS
    else:
        verdict = FAILS if max(signs) < 1 and min(signs) < 0 else MIXED
    return Evidence(verdict, "; ".join(says))


def over_svms(source: Source) -> Evidence:
    """Check that every published ResNet is ahead of the best SVM of its dataset, significantly."""
    trained, searched = complete(source.q1a), complete(source.q1b)
    if searched.empty or trained.empty:
        return Evidence(UNKNOWN, "no SVM beside a ResNet")
    best = {
        dataset: svms.loc[svms["accuracy_pct"].idxmax()].to_dict()
        for dataset, svms in searched.groupby("dataset")
        if len(svms) > 1  # both kernels
    }
    resnets = trained[trained["dataset"].isin(best)]
    signs = [
        significantly_ahead(resnet, best[resnet["dataset"]])
        for resnet in resnets.to_dict("records")
    ]
    ahead_of, behind, wanted = signs.count(1), signs.count(-1), len(report("A").q1a)
    if not signs or (ahead_of == len(signs) < wanted):
        verdict = UNKNOWN
    elif ahead_of == len(signs):
        verdict = HOLDS
    else:
        verdict = FAILS if ahead_of <= behind else MIXED
    brief = (
        f"of {len(signs)} ResNets{_published(len(signs), wanted)}, {ahead_of} are ahead of the "
        f"best SVM of their dataset beyond chance, {behind} behind"
    )
    parts = f"; these are {_parts(resnets)}" if len(signs) < wanted else ""
    losers = resnets[[sign < 0 for sign in signs]]
    who = f"; behind are {_parts(losers)}" if len(losers) else ""
    tops = [_top(some, best[dataset]) for dataset, some in resnets.groupby("dataset", sort=False)]
    return Evidence(verdict, f"{brief}{parts}{who}; {'; '.join(tops)}", brief=brief + parts)


def _top(resnets: pd.DataFrame, svm: dict[str, Any]) -> str:
    """Return how far the best ResNet of a dataset is from its best SVM."""
    top = resnets.loc[resnets["accuracy_pct"].idxmax()].to_dict()
    chance = "beyond" if significantly_ahead(top, svm) else "within"
    difference = points_ahead(top, svm)
    on = tables.title(svm["dataset"])
    return f"the best ResNet on {on} {difference:+.2f} points from that SVM, {chance} chance"


def best_is(dataset: str, claimed: float, svm: bool = False, **configuration: Any) -> Check:
    """Check a headline: the best accuracy (per cent) and, where given, which run has it.

    It holds where 14,000 test images can't tell the best from the claimed value.
    """

    def check(source: Source) -> Evidence:
        table = select(complete(source.q1b if svm else source.q1a), dataset=dataset)
        kind = f"best {'SVM' if svm else 'ResNet'} on {tables.title(dataset)}"
        if len(table) < (2 if svm else 16):  # kernels; models, batch sizes, optimizers and rates
            return Evidence(UNKNOWN, f"{kind}: not all configurations run")
        best = table.loc[table["accuracy_pct"].idxmax()]
        near = not stats.differ(best["accuracy_pct"] / 100, claimed / 100, TEST_IMAGES)
        named = select(table, **configuration).to_dict("records")
        same = any(significantly_ahead(best.to_dict(), run) == 0 for run in named)
        by = ", ".join(setting_text(name, best[name]) for name in configuration)
        says = f"{kind}: {best['accuracy_pct']:.2f} % (claimed {claimed:.2f})"
        verdict = HOLDS if near and same else MIXED if near or (same and by) else FAILS
        return Evidence(verdict, f"{says}, by {by}" if by else says)

    return check


def fastest_start(source: Source) -> Evidence:
    """Check that SGD at 1e-3 is ahead of the other optimizers and rates after one epoch."""
    if "first_epoch_pct" not in source.q1a:
        return Evidence(UNKNOWN, "the tables hold no accuracy by epoch")
    settings = list(itertools.product(("sgd", "adam"), (1e-3, 1e-4)))
    keys = ["dataset", "model", "batch_size", "train_images", "device"]
    wide = source.q1a.pivot_table("first_epoch_pct", keys, ["optimizer", "lr"])
    wide = wide.reindex(columns=settings).dropna()
    if wide.empty:
        return Evidence(UNKNOWN, "not all settings run")
    rival = wide.drop(columns=[("sgd", 1e-3)]).max(axis=1)
    differences = wide["sgd", 1e-3] - rival
    models = wide.index.get_level_values("model").map(tables.title).value_counts()
    of = " and ".join(f"{count} of {model}" for model, count in models.sort_index().items())
    what = f"SGD 1e-3 over the best other setting after one epoch, {of}"
    wanted = len(report("A").q1a) // len(settings)
    return _judged(stats.paired(differences), False, wanted, what)

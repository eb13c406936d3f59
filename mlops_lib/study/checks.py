"""How claims are checked: each check takes a source and returns a verdict with its evidence."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from mlops_lib import stats, tables
from mlops_lib.stats import LEVEL
from mlops_lib.study.sources import (
    TEST_IMAGES,
    Source,
    beyond_chance,
    both_sides,
    compared,
    complete,
    mcnemar,
    pairs,
    points_ahead,
    report,
)

Verdict = Literal["holds", "does not hold", "mixed", "not measured"]
HOLDS: Verdict = "holds"
FAILS: Verdict = "does not hold"
MIXED: Verdict = "mixed"
UNKNOWN: Verdict = "not measured"
FEWEST = 6  # pairs that a verdict on a grid needs: with fewer, p (two-sided) is above LEVEL
MUCH = 2  # times: what "much" and "substantially" ask for at least
NEAR = 0.1  # of a claimed factor: what a measured one may lie outside of it


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

    `every`: in each of the published ones, not on average; one that is behind beyond chance (after
    Holm's adjustment) refutes that. `lower`: the smaller value is ahead.
    Trainings of fewer epochs or images than published count only for what one epoch shows.
    """

    def check(source: Source) -> Evidence:
        timed = measure in OF_AN_EPOCH
        trained = source.timed if timed else complete(source.q1a)
        grid = tables.select(report("A").q1a, **(where or {}))
        wanted = len(pairs(grid, factor, first, second, "accuracy_pct", free))
        table = tables.select(trained, **(where or {}))
        if len(table) and measure not in table:
            return Evidence(UNKNOWN, f"its tables do not hold the {MEASURES[measure]}")
        machine = [name for name in tables.MACHINE if name in table and timed]
        found = pairs(table, factor, first, second, measure, free, machine)
        names = over(factor, first, second)
        if found.empty:
            return Evidence(UNKNOWN, f"no pair of {names}, {MEASURES[measure]}")
        summary = stats.paired(-found["difference"] if lower else found["difference"])
        sides = [] if lower else both_sides(table, found, factor, first, second)
        against = _against(sides) if every and summary.losses else 0
        evidence = _judged(summary, every, wanted, f"{names}, {MEASURES[measure]}", unit, against)
        parts = f"; these are {_parts(found)}" if summary.n < wanted else ""
        on = f" (on {', '.join(found['device_name'].unique())})" if "device_name" in machine else ""
        says = evidence.says + on + _images(sides) + parts
        return replace(evidence, says=says, brief=evidence.brief + parts)

    return check


MEASURES = {
    "accuracy_pct": "test accuracy",
    "wobble_pct": "fall of the validation accuracy between epochs",
    "epoch_seconds": "time of the fastest epoch",
}
OF_AN_EPOCH = ("epoch_seconds",)


def _judged(
    summary: stats.Paired, every: bool, wanted: int, what: str, unit: str = "points",
    against: int = 0,
) -> Evidence:  # fmt: skip
    """Judge what pairs say, `wanted` of which are published; `against` are beyond chance."""
    s = summary
    if s.n < FEWEST or (every and s.wins == s.n < wanted):
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


def _against(sides: Sequence[tuple[dict[str, Any], dict[str, Any]]]) -> int:
    """Return in how many pairs the first is behind beyond chance (Holm, over the pairs)."""
    tested = [compared(*pair) for pair in sides]
    adjusted = stats.holm([p for _, p in tested])
    return sum(sign < 0 and p < LEVEL for (sign, _), p in zip(tested, adjusted, strict=True))


def _images(sides: Sequence[tuple[dict[str, Any], dict[str, Any]]]) -> str:
    """Say in how many pairs of runs McNemar's test on the shared test images finds a difference."""
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
    """Say of which datasets and networks results are: `4 of MNIST with ResNet-18`."""
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
    """Say in brackets how many the reports have, where fewer were found."""
    return f" ({wanted} published)" if found < wanted else ""


def rbf_over_poly(source: Source) -> Evidence:
    """Check that RBF is ahead of the polynomial kernel on both datasets, beyond chance."""
    rows = {(row["dataset"], row["kernel"]): row for row in complete(source.q1b).to_dict("records")}
    signs, says = [], []
    for dataset in tables.PUBLISHED_EPOCHS:
        if {(dataset, "rbf"), (dataset, "poly")} <= rows.keys():
            rbf, poly = rows[dataset, "rbf"], rows[dataset, "poly"]
            signs.append(beyond_chance(rbf, poly))
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
    """Check that every published ResNet is ahead of the best SVM of its dataset, beyond chance."""
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
        beyond_chance(resnet, best[resnet["dataset"]]) for resnet in resnets.to_dict("records")
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
    """Say how far the best ResNet of a dataset is from its best SVM."""
    top = resnets.loc[resnets["accuracy_pct"].idxmax()].to_dict()
    chance = "beyond" if beyond_chance(top, svm) else "within"
    difference = points_ahead(top, svm)
    on = tables.title(svm["dataset"])
    return f"the best ResNet on {on} {difference:+.2f} points from that SVM, {chance} chance"


def svm_time(source: Source) -> Evidence:
    """Check that, on a dataset, the slowest SVM fits in half the time of the fastest ResNet.

    Times are compared within one computer, by its processor's name. The reports state times of
    ResNets with Q2 alone; ours are those of Q1(a), of all epochs.
    """
    resnets, svms = complete(source.timed), complete(source.q1b)
    times = {
        "svms": _by_computer(svms, "seconds"),
        "searches": _by_computer(svms, "search_seconds"),
        "resnets": _by_computer(resnets, "train_seconds")
        if "train_seconds" in resnets
        else _by_computer(source.q2, "seconds"),
    }
    compared = pd.DataFrame(times).dropna(subset=["svms", "resnets"])
    verdicts, says = set(), []
    gpus = resnets[resnets["device"] == "cuda"] if "device_name" in resnets else resnets[:0]
    on = f" on {', '.join(gpus['device_name'].unique())}" if len(gpus) else ""
    for (dataset, _), svms, searches, resnets in compared.itertuples():
        searched = f", whole searches {_range(searches)} s" if isinstance(searches, list) else ""
        says.append(
            f"{tables.title(dataset)}: the best SVMs took {_range(svms)} s to fit "
            f"(n={len(svms)}{searched}), ResNets {_range(resnets)} s to train{on} "
            f"(n={len(resnets)})"
        )
        if MUCH * max(svms) <= min(resnets):
            verdicts.add(HOLDS)
        else:
            verdicts.add(FAILS if np.median(svms) > np.median(resnets) else MIXED)
    if not verdicts:
        return Evidence(UNKNOWN, "no fitting time beside a training time")
    says += [
        f"{tables.title(dataset)}: no times that can be compared"
        for dataset in tables.PUBLISHED_EPOCHS
        if dataset not in compared.index.get_level_values("dataset")
    ]
    return Evidence(verdicts.pop() if len(verdicts) == 1 else MIXED, "; ".join(says))


def _by_computer(results: pd.DataFrame, seconds: str) -> pd.Series:
    """Return the known values of a column as lists, by dataset and processor of the computer."""
    if seconds not in results:
        results = results.assign(**{seconds: math.nan})
    known = results[results[seconds].notna()]
    computer = known["cpu"].fillna(tables.NOT_STATED) if "cpu" in known else tables.NOT_STATED
    return known.assign(cpu=computer).groupby(["dataset", "cpu"])[seconds].agg(list)


def _range(values: Sequence[float]) -> str:
    low, high = f"{min(values):,.0f}", f"{max(values):,.0f}"
    return low if low == high else f"{low} to {high}"


def gpu_between(low: float, high: float) -> Check:
    """Check that a GPU trains `low` to `high` times faster than a CPU, whatever the model."""

    def check(source: Source) -> Evidence:
        timed = tables.gpu_ratios(source.q2)
        if timed["model"].nunique() < 2:
            return Evidence(UNKNOWN, "not both models timed on both devices")
        inside = timed["ratio"].between((1 - NEAR) * low, (1 + NEAR) * high)
        verdict = HOLDS if inside.all() else MIXED if inside.any() else FAILS
        shown = "; ".join(
            f"{tables.title(model)} at {size:g}x{size:g} {_listed(rows, 'ratio', '.1f')}"
            for (size, model), rows in timed.groupby(["input_size", "model"])
        )
        return Evidence(verdict, f"GPU over CPU, times as fast: {shown}{_between(timed)}")

    return check


def _listed(rows: pd.DataFrame, value: str, form: str) -> str:
    """List the values of a column, each with its optimizer where that is stated."""
    return ", ".join(
        f"{number:{form}}"
        + (f" ({tables.title(optimizer)})" if optimizer != tables.NOT_STATED else "")
        for optimizer, number in zip(rows["optimizer"], rows[value], strict=True)
    )


def _between(ratios: pd.DataFrame) -> str:
    """Name the devices of `tables.gpu_ratios`, in brackets."""
    named = [devices for devices in ratios["devices"].unique() if devices]
    return f" ({'; '.join(named)})" if named else ""


def larger_gain_more(source: Source) -> Evidence:
    """Check that ResNet-50 gains more from a GPU than ResNet-18."""
    ratios = tables.gpu_ratios(source.q2)
    wide = ratios.pivot_table("ratio", ["optimizer", "input_size"], "model").reindex(
        columns=["resnet18", "resnet50"]
    )
    wide = wide.dropna()
    gains = wide["resnet50"] - wide["resnet18"]
    if gains.empty:
        return Evidence(UNKNOWN, "not both models timed on both devices")
    verdict = HOLDS if (gains > 0).all() else FAILS if (gains <= 0).all() else MIXED
    shown = "; ".join(
        f"at {size:g}x{size:g} ResNet-50 {_listed(rows, 'resnet50', '.1f')}, "
        f"ResNet-18 {_listed(rows, 'resnet18', '.1f')}"
        for size, rows in wide.reset_index().groupby("input_size")
    )
    says = f"GPU over CPU, times as fast: {shown}"
    return Evidence(verdict, f"{says} (too few for a test)")


def _image(q2: pd.DataFrame) -> list[str]:
    """Return the columns that say of what images operations were counted."""
    return [name for name in ("input_size", "in_channels") if name in q2]


def flops_by_architecture(source: Source) -> Evidence:
    """Check that counts are equal wherever model and image size are."""
    if source.q2.empty:
        return Evidence(UNKNOWN, "nothing counted")
    counts = source.q2.groupby(["model", *_image(source.q2)])
    if counts["device"].nunique().max() < 2:
        return Evidence(UNKNOWN, "counted on one device only")
    same = bool((counts["gflops"].nunique() == 1).all())
    return Evidence(HOLDS if same else FAILS, f"equal on both devices: {'yes' if same else 'no'}")


def deeper_costs_more(source: Source) -> Evidence:
    """Check that ResNet-50 takes at least twice ResNet-18's operations, at the same image size."""
    if source.q2.empty:
        return Evidence(UNKNOWN, "nothing counted")
    wide = source.q2.pivot_table("gflops", _image(source.q2), "model").reindex(
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

    It holds where 14,000 test images can't tell the best from the claimed value.
    """

    def check(source: Source) -> Evidence:
        table = tables.select(complete(source.q1b if svm else source.q1a), dataset=dataset)
        kind = f"best {'SVM' if svm else 'ResNet'} on {tables.title(dataset)}"
        if len(table) < (2 if svm else 16):  # kernels; models, batch sizes, optimizers and rates
            return Evidence(UNKNOWN, f"{kind}: not all configurations run")
        best = table.loc[table["accuracy_pct"].idxmax()]
        near = not stats.differ(best["accuracy_pct"] / 100, claimed / 100, TEST_IMAGES)
        named = tables.select(table, **configuration).to_dict("records")
        same = any(beyond_chance(best.to_dict(), run) == 0 for run in named)
        by = ", ".join(setting_text(name, best[name]) for name in configuration)
        says = f"{kind}: {best['accuracy_pct']:.2f} % (claimed {claimed:.2f})"
        verdict = HOLDS if near and same else MIXED if near or (same and by) else FAILS
        return Evidence(verdict, f"{says}, by {by}" if by else says)

    return check


def setting_text(name: str, value: Any) -> str:
    """Return how text names the value of a setting: `batch 16`, `Adam`."""
    words = {"batch_size": "batch", "lr": "rate", "C": "C"}
    return f"{words[name]} {value:g}" if name in words else tables.title(value)


def over(name: str, first: Any, second: Any) -> str:
    """Name two values of a setting that are compared: `Adam over SGD`."""
    return f"{setting_text(name, first)} over {setting_text(name, second)}"


def gpu_about(claimed: float) -> Check:
    """Check a headline: the largest gain from a GPU, to a tenth of the claimed value."""

    def check(source: Source) -> Evidence:
        timed = tables.gpu_ratios(source.q2)
        if timed.empty:
            return Evidence(UNKNOWN, "GPU over CPU: not run")
        largest = timed["ratio"].max()
        verdict = HOLDS if abs(largest / claimed - 1) <= NEAR else FAILS
        says = f"GPU {largest:.1f} times as fast (claimed {claimed:g}){_between(timed)}"
        return Evidence(verdict, says)

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

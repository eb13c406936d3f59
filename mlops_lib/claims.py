"""Each published claim → a verdict, with its evidence.

A claim is checked in the same way on three sources: report A's tables, report B's, and the runs
of this study. `CLAIMS` lists them; a new claim is one more entry there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from IPython.display import Markdown

from mlops_lib import record, stats, tables

Verdict = Literal["holds", "does not hold", "mixed", "not measured"]
HOLDS, FAILS, MIXED, UNKNOWN = "holds", "does not hold", "mixed", "not measured"
SOURCES = ("Report A", "Report B", "Our runs")
TEST_IMAGES = 14_000
LEVEL = 0.05
MUCH = 2  # times: what "much" and "substantially" ask for at least
PAIR_KEYS = ["dataset", "model", "batch_size", "optimizer", "lr", "epochs", "train_images"]


@dataclass(frozen=True)
class Source:
    """Results in one form, from a report's tables or from our runs; accuracies in per cent.

    q1a: PAIR_KEYS, accuracy_pct; of our runs also first_epoch_pct, wobble_pct, epoch_seconds,
    train_seconds and what `record.unpack_correct` takes. q1b: dataset, kernel, C, accuracy_pct,
    seconds. q2: device, model, optimizer, input_size, seconds, gflops.
    """

    name: str
    q1a: pd.DataFrame
    q1b: pd.DataFrame
    q2: pd.DataFrame


@dataclass(frozen=True)
class Evidence:
    """What a source says of a claim."""

    verdict: Verdict
    says: str
    p: float | None = None  # of the test over the grid, where there is one


Check = Callable[[Source], Evidence]


@dataclass(frozen=True)
class Claim:
    """A statement of a report, and how to check it."""

    id: str
    text: str
    check: Check


def sources(runs: pd.DataFrame) -> list[Source]:
    """Return the two reports and our runs, in the order of `SOURCES`."""
    return [_report("A"), _report("B"), _ours(runs)]


def _report(letter: str) -> Source:
    q1a, q1b, q2 = (
        tables.select(tables.published(question), report=letter)
        for question in ("q1a", "q1b", "q2")
    )
    size = 28 if letter == "A" else 224  # its FLOPs say so
    return Source(
        f"Report {letter}",
        q1a.assign(epochs=0, train_images=49_000),  # the same for every row, and not all stated
        q1b.assign(seconds=q1b["train_time_ms"] / 1000),
        q2.assign(seconds=q2["train_time_ms"] / 1000, input_size=size).fillna({"optimizer": ""}),
    )


def _ours(runs: pd.DataFrame) -> Source:
    published = tables.published("q1a")
    trained = [
        _configuration(here)
        for values, _ in published.groupby([*tables.Q1A_KEYS, "model"], sort=False)
        if len(here := tables.fullest(tables.trained(
            runs, momentum=0.9, **dict(zip([*tables.Q1A_KEYS, "model"], values, strict=True))
        )))
    ]  # fmt: skip
    searched = [
        here.iloc[0].to_dict()
        for dataset in ("mnist", "fashion_mnist")
        for kernel in ("rbf", "poly")
        if len(here := tables.fullest(
            tables.select(runs, template="q1b", dataset=dataset, kernel=kernel)
        ))
    ]  # fmt: skip
    timed = tables.select(runs, template="q2", dataset="fashion_mnist")
    q1b = pd.DataFrame(searched, columns=None if searched else ["dataset", "kernel"])
    q2 = pd.DataFrame(timed)
    if searched:
        q1b = q1b.assign(
            accuracy_pct=100 * q1b["test_accuracy"], seconds=q1b["fit_seconds"], C=q1b["best_C"]
        )
    if len(q2):
        # Runs may differ in length: seconds for the same images.
        q2 = q2.assign(seconds=49_000 / q2["images_per_second"], gflops=q2["flops"] / 1e9)
    return Source(
        SOURCES[2], pd.DataFrame(trained, columns=None if trained else PAIR_KEYS), q1b, q2
    )


def _configuration(here: pd.DataFrame) -> dict[str, Any]:
    """Return one row for the runs of a configuration: means over seeds."""
    return here.iloc[0].to_dict() | {
        "accuracy_pct": 100 * here["test_accuracy"].mean(),
        "train_seconds": float(here["train_seconds"].mean()),
        **pd.DataFrame([_history(epochs) for epochs in here["history"]]).mean().to_dict(),
    }


def _history(epochs: list[dict[str, Any]]) -> dict[str, float]:
    """Return what the epochs of one run say, nan where they can't."""
    if not epochs:
        return dict.fromkeys(("first_epoch_pct", "wobble_pct", "epoch_seconds"), math.nan)
    accuracy = 100 * pd.Series([epoch["val_accuracy"] for epoch in epochs])
    return {
        "first_epoch_pct": accuracy.iloc[0],
        # How far it falls back from one epoch to the next, on average: 0 where it only rises.
        "wobble_pct": accuracy.diff().clip(upper=0).abs().mean(),
        # The fastest: a machine that does something else meanwhile only makes epochs slower.
        "epoch_seconds": min(epoch["seconds"] for epoch in epochs),
    }


def pairs(
    table: pd.DataFrame,
    factor: str,
    first: Any,
    second: Any,
    measure: str,
    free: Sequence[str] = (),
) -> pd.DataFrame:
    """Return rows that differ in `factor` alone: columns of PAIR_KEYS, first, second, difference.

    `free` are further columns in which they may differ.
    """
    keys = [name for name in PAIR_KEYS if name != factor and name not in free]
    if measure not in table or factor not in table:
        return pd.DataFrame(columns=[*keys, "first", "second", "difference"])
    sides = [
        table[table[factor] == value].set_index(keys)[[measure]].rename(columns={measure: name})
        for value, name in ((first, "first"), (second, "second"))
    ]
    joined = sides[0].join(sides[1], how="inner").dropna().reset_index()
    return joined.assign(difference=joined["first"] - joined["second"])


def ahead(
    factor: str, first: Any, second: Any, *, measure: str = "accuracy_pct", every: bool = False,
    lower: bool = False, where: dict[str, Any] | None = None, free: Sequence[str] = (),
    unit: str = "points",
) -> Check:  # fmt: skip
    """Check that `first` is ahead of `second`, in configurations that are otherwise equal.

    `every`: in each of them, not on average. `lower`: the smaller value is ahead.
    """

    def check(source: Source) -> Evidence:
        table = tables.select(source.q1a, **(where or {}))
        if len(table) and measure not in table:
            return Evidence(UNKNOWN, f"its tables do not hold the {MEASURES[measure]}")
        found = pairs(table, factor, first, second, measure, free)
        names = f"{_named(factor, first)} over {_named(factor, second)}"
        if found.empty:
            return Evidence(UNKNOWN, f"no pair of {names}, {MEASURES[measure]}")
        summary = stats.paired(-found["difference"] if lower else found["difference"])
        evidence = _judged(summary, every, f"{names}, {MEASURES[measure]}", unit)
        images = _images(source.q1a, found, factor, first, second) if not lower else ""
        return replace(evidence, says=evidence.says + images)

    return check


MEASURES = {
    "accuracy_pct": "test accuracy",
    "first_epoch_pct": "validation accuracy after the first epoch",
    "wobble_pct": "fall of the validation accuracy between epochs",
    "epoch_seconds": "time of the fastest epoch",
}


def _judged(summary: stats.Paired, every: bool, what: str, unit: str) -> Evidence:
    s = summary
    if s.wins <= s.losses:
        verdict = FAILS
    else:
        verdict = HOLDS if (s.wins == s.n if every else s.p < LEVEL) else MIXED
    interval = "" if math.isinf(s.low) else f" (95 % interval {s.low:+.2f} to {s.high:+.2f})"
    effect = "" if math.isnan(s.effect) else f", effect size {s.effect:.2f}"
    says = (
        f"{what}: ahead in {s.wins} of {s.n} pairs, behind in {s.losses}; mean difference "
        f"{s.mean:+.2f} {unit}{interval}{effect}, p = {s.p:.3g} (Wilcoxon)"
    )
    return Evidence(verdict, says, s.p)


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


def every_part(*checks: Check, whole: bool = False) -> Check:
    """Check a claim of several parts; parts that a source does not measure don't count.

    `whole`: it can't hold, either, before all of them are measured.
    """

    def check(source: Source) -> Evidence:
        parts = [part(source) for part in checks]
        measured = [part for part in parts if part.verdict != UNKNOWN]
        verdicts = {part.verdict for part in measured}
        verdict = UNKNOWN if not verdicts else verdicts.pop() if len(verdicts) == 1 else MIXED
        if whole and verdict == HOLDS and len(measured) < len(parts):
            verdict = UNKNOWN
        p = next((part.p for part in measured if part.p is not None), None)
        return Evidence(verdict, "; ".join(part.says for part in parts), p)

    return check


def kernels(source: Source) -> Evidence:
    """Check that RBF is ahead of the polynomial kernel on both datasets."""
    found = source.q1b.set_index(["dataset", "kernel"])
    differences = {
        dataset: found["accuracy_pct"][dataset, "rbf"] - found["accuracy_pct"][dataset, "poly"]
        for dataset in ("mnist", "fashion_mnist")
        if {(dataset, "rbf"), (dataset, "poly")} <= set(found.index)
    }
    if not differences:
        return Evidence(UNKNOWN, "no pair of kernels")
    says = "; ".join(
        f"{tables.title(dataset)}: RBF {value:+.2f} points" + _kernel_images(source.q1b, dataset)
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
    if source.q1b.empty or source.q1a.empty:
        return Evidence(UNKNOWN, "no SVM beside a ResNet")
    best = source.q1b.groupby("dataset")["accuracy_pct"].max()
    table = source.q1a[source.q1a["dataset"].isin(best.index)]
    differences = table["accuracy_pct"] - table["dataset"].map(best)
    return _judged(
        stats.paired(differences), True, "each ResNet over the best SVM of its dataset", "points"
    )


def svm_time(source: Source) -> Evidence:
    """Check that the slowest SVM fits in half the time of the fastest ResNet."""
    resnets = [*source.q2.get("seconds", ()), *source.q1a.get("train_seconds", ())]
    svms = list(source.q1b.get("seconds", ()))
    if not resnets or not svms:
        return Evidence(UNKNOWN, "no fitting time beside a training time")
    says = f"SVMs took {_range(svms)} s to fit, ResNets {_range(resnets)} s to train"
    if MUCH * max(svms) <= min(resnets):
        return Evidence(HOLDS, says)
    return Evidence(FAILS if np.median(svms) > np.median(resnets) else MIXED, says)


def _range(values: Sequence[float]) -> str:
    low, high = f"{min(values):,.0f}", f"{max(values):,.0f}"
    return low if low == high else f"{low} to {high}"


def gpu_ratios(source: Source) -> pd.DataFrame:
    """Return how many times faster the GPU was: columns model, optimizer, input_size, ratio."""
    if source.q2.empty:
        return pd.DataFrame(columns=["model", "optimizer", "input_size", "ratio"])
    keys = ["model", "optimizer", "input_size"]
    seconds = source.q2.pivot_table("seconds", keys, "device").reindex(columns=["cpu", "cuda"])
    return (seconds["cpu"] / seconds["cuda"]).dropna().rename("ratio").reset_index()


def gpu_between(low: float, high: float) -> Check:
    """Check that a GPU trains `low` to `high` times faster than a CPU, whatever the model."""

    def check(source: Source) -> Evidence:
        ratios = gpu_ratios(source)["ratio"]
        if ratios.empty:
            return Evidence(UNKNOWN, "no model timed on both devices")
        inside = ratios.round().between(low, high)
        verdict = HOLDS if inside.all() else MIXED if inside.any() else FAILS
        shown = ", ".join(f"{ratio:.1f}" for ratio in ratios)
        return Evidence(verdict, f"GPU over CPU: {shown} times as fast")

    return check


def larger_gain_more(source: Source) -> Evidence:
    """Check that ResNet-50 gains more from a GPU than ResNet-18."""
    ratios = gpu_ratios(source)
    if ratios.empty:
        return Evidence(UNKNOWN, "no model timed on both devices")
    wide = ratios.pivot_table("ratio", ["optimizer", "input_size"], "model").reindex(
        columns=["resnet18", "resnet50"]
    )
    gains = (wide["resnet50"] - wide["resnet18"]).dropna()
    if gains.empty:
        return Evidence(UNKNOWN, "only one model timed on both devices")
    return _judged(stats.paired(gains), True, "ResNet-50's gain over ResNet-18's", "times")


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
        table = tables.select(source.q1b if svm else source.q1a, dataset=dataset)
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
        ratios = gpu_ratios(source)["ratio"]
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
    keys = ["dataset", "model", "batch_size", "train_images"]
    wide = source.q1a.pivot_table("first_epoch_pct", keys, setting)
    if ("sgd", 1e-3) not in wide or wide.shape[1] < 2:
        return Evidence(UNKNOWN, "not all settings run")
    rival = wide.drop(columns=[("sgd", 1e-3)]).max(axis=1)
    differences = (wide["sgd", 1e-3] - rival).dropna()
    if differences.empty:
        return Evidence(UNKNOWN, "not all settings run")
    what = "SGD 1e-3 over the best other setting after one epoch"
    return _judged(stats.paired(differences), True, what, "points")


CLAIMS = (
    Claim("A1", "Adam is consistently more accurate than SGD",
          ahead("optimizer", "adam", "sgd", every=True)),
    Claim("A2", "Learning rate 1e-4 is more stable and generalises better than 1e-3",
          every_part(ahead("lr", 1e-4, 1e-3),
                     ahead("lr", 1e-4, 1e-3, measure="wobble_pct", lower=True))),
    Claim("A3", "ResNet-50 is slightly more accurate than ResNet-18, at a higher cost",
          every_part(ahead("model", "resnet50", "resnet18"), deeper_costs_more)),
    Claim("A4", "Accuracy on MNIST is significantly higher than on FashionMNIST",
          ahead("dataset", "mnist", "fashion_mnist", every=True, free=["epochs"])),
    Claim("A5", "The RBF kernel is slightly better than the polynomial one, on both datasets",
          kernels),
    Claim("A6", "ResNets are significantly more accurate than SVMs", over_svms),
    Claim("A7", "SVMs train much faster than ResNets", svm_time),
    Claim("A8", "A GPU trains 7 to 8 times faster than a CPU, for every model", gpu_between(7, 8)),
    Claim("A9", "FLOPs depend on the architecture alone, not on the hardware",
          flops_by_architecture),
    Claim("A10", "ResNet-50 needs substantially more computation than ResNet-18",
          deeper_costs_more),
    Claim("A11", "Best MNIST 99.4 %, best FashionMNIST 92.6 %, GPU 8 times faster",
          every_part(best_is("mnist", 99.4), best_is("fashion_mnist", 92.6), gpu_about(8),
                     whole=True)),
    Claim("B1", "SGD at 1e-3 is best for quick convergence", fastest_start),
    Claim("B2", "Adam is more stable at 1e-4 than at 1e-3",
          every_part(ahead("lr", 1e-4, 1e-3, where={"optimizer": "adam"}),
                     ahead("lr", 1e-4, 1e-3, where={"optimizer": "adam"}, measure="wobble_pct",
                           lower=True))),
    Claim("B3", "Batch size 16 is consistently more accurate than 32",
          ahead("batch_size", 16, 32, every=True)),
    Claim("B4", "Larger batches train faster",
          ahead("batch_size", 32, 16, measure="epoch_seconds", every=True, lower=True,
                unit="s less an epoch")),
    Claim("B5", "A GPU trains 18 to 30 times faster", gpu_between(18, 30)),
    Claim("B6", "Larger models gain more from a GPU", larger_gain_more),
    Claim("B7", "Best MNIST 99.20 % (ResNet-18, batch 16, SGD 1e-3), best FashionMNIST 92.60 % "
          "(ResNet-50, batch 16, Adam 1e-4), best SVM on MNIST 97.61 % (polynomial, C=10), "
          "GPU 30 times faster",
          every_part(
              best_is("mnist", 99.20, model="resnet18", batch_size=16, optimizer="sgd", lr=1e-3),
              best_is("fashion_mnist", 92.60, model="resnet50", batch_size=16, optimizer="adam",
                      lr=1e-4),
              best_is("mnist", 97.61, svm=True, kernel="poly", C=10),
              gpu_about(30), whole=True)),
)  # fmt: skip


def judge(runs: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each claim and source: id, claim, source, verdict, says, p_holm.

    p_holm is the p value of the test over the grid, adjusted over all claims of a source (Holm).
    """
    rows = []
    for source in sources(runs):
        found = [claim.check(source) for claim in CLAIMS]
        tested = [number for number, evidence in enumerate(found) if evidence.p is not None]
        adjusted = dict(zip(tested, stats.holm([found[n].p for n in tested]), strict=True))
        for number, (claim, evidence) in enumerate(zip(CLAIMS, found, strict=True)):
            rows.append(
                {
                    "id": claim.id,
                    "claim": claim.text,
                    "source": source.name,
                    "verdict": evidence.verdict,
                    "says": evidence.says,
                    "p_holm": adjusted.get(number, math.nan),
                }
            )
    return pd.DataFrame(rows)


def summary(judged: pd.DataFrame) -> pd.DataFrame:
    """Lay out the verdicts: a row for each claim, a column for each source."""
    wide = judged.pivot(index=["id", "claim"], columns="source", values="verdict")
    wide = wide.reindex(columns=list(SOURCES)).reset_index("claim").rename_axis(index=None)
    order = [claim.id for claim in CLAIMS]
    return wide.rename(columns={"claim": "Claim"}).rename_axis(columns=None).loc[order]


def headline(judged: pd.DataFrame) -> str:
    """Say how many claims hold, in our runs and in the tables that they were read from."""
    ours = judged[judged["source"] == SOURCES[2]]["verdict"].value_counts()
    own = judged[judged["source"] == "Report " + judged["id"].str[0]]["verdict"].value_counts()

    def counts(verdicts: pd.Series) -> str:
        number = {name: int(verdicts.get(name, 0)) for name in (HOLDS, MIXED, FAILS)}
        return f"{number[HOLDS]} hold, {number[MIXED]} mixed, {number[FAILS]} not holding"

    judged_here = len(CLAIMS) - int(ours.get(UNKNOWN, 0))
    return (
        f"Of {len(CLAIMS)} published claims, our runs can judge {judged_here}: {counts(ours)}. "
        f"Held against the tables of the report that makes them, {counts(own)}; the others are "
        "about something that its tables do not show."
    )


def evidence(judged: pd.DataFrame) -> Markdown:
    """Return what every source says of every claim, as a page shows it."""
    lines = []
    for (name, text), rows in judged.groupby(["id", "claim"], sort=False):
        lines.append(f"\n**{name}. {text}**\n")
        for row in rows.itertuples():
            adjusted = "" if math.isnan(row.p_holm) else f"; p = {row.p_holm:.3g} over all claims"
            lines.append(f"- {row.source}: *{row.verdict}*. {row.says}{adjusted}.")
    return Markdown("\n".join(lines))


def verdicts(judged: pd.DataFrame) -> Markdown:
    """Return the headline as a page shows it."""
    return Markdown(headline(judged))


def sides(runs: pd.DataFrame) -> Markdown:
    """Say which report our runs are nearer to, where the two differ beyond sampling."""
    both = tables.published("q1a").pivot(
        index=[*tables.Q1A_KEYS, "model"], columns="report", values="accuracy_pct"
    )
    apart = both[[stats.differ(a / 100, b / 100, TEST_IMAGES) for a, b in both.to_numpy()]]
    text = (
        f"In {len(apart)} of {len(both)} configurations of Q1(a), the two reports differ by more "
        f"than the sampling of {TEST_IMAGES:,} test images explains (two proportions, 5 %)."
    )
    ours = _ours(runs).q1a
    if ours.empty:
        return Markdown(f"{text} None of them has been run here yet.")
    measured = ours.set_index(list(both.index.names))[["accuracy_pct", "epochs"]]
    here = apart.join(measured, how="inner")
    published = here.index.get_level_values("dataset").map(tables.PUBLISHED_EPOCHS)
    whole = here[here["epochs"].to_numpy() >= np.asarray(published)]
    nearer_a = (whole["A"] - whole["accuracy_pct"]).abs() < (
        whole["B"] - whole["accuracy_pct"]
    ).abs()
    unlike = [
        stats.differ(row.accuracy_pct / 100, row.A / 100, TEST_IMAGES)
        and stats.differ(row.accuracy_pct / 100, row.B / 100, TEST_IMAGES)
        for row in whole.itertuples()
    ]
    return Markdown(
        f"{text} {len(whole)} of these were run here with all published epochs: report A is nearer "
        f"in {int(nearer_a.sum())}, report B in {int((~nearer_a).sum())}, and in {sum(unlike)} our "
        "accuracy differs from both beyond sampling."
    )


def momentum(runs: pd.DataFrame) -> Any:
    """Lay out SGD's accuracy with and without momentum, beside the reports' (per cent)."""
    rows = []
    told = tables.select(tables.published("q1a"), optimizer="sgd", model="resnet18", batch_size=16)
    for (dataset, lr), reports in told.groupby(["dataset", "lr"], sort=False):
        row = {"Dataset": tables.title(dataset), "Rate": f"{lr:g}"}
        for value in (0.0, 0.9):
            here = tables.trained(
                runs, dataset=dataset, lr=lr, optimizer="sgd", model="resnet18", batch_size=16,
                momentum=value, epochs=1,
            )  # fmt: skip
            row[f"momentum {value:g}, one epoch"] = tables.cell(here)
        by_report = reports.set_index("report")["accuracy_pct"]
        rows.append(row | {f"report {name}": f"{by_report[name]:.2f}" for name in "AB"})
    return tables.page(pd.DataFrame(rows).set_index(["Dataset", "Rate"]))

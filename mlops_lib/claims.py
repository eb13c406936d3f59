"""Each published claim → a verdict, with its evidence.

A claim is checked in the same way on three sources: report A's tables, report B's, and the runs
of this study. `CLAIMS` lists them; a new claim is one more entry there. Those of the reports
begin with the report's letter.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import pandas as pd
from IPython.display import Markdown

from mlops_lib import layouts, sources, stats, tables
from mlops_lib.checks import (
    FAILS,
    HOLDS,
    MIXED,
    TEST_IMAGES,
    UNKNOWN,
    Check,
    ahead,
    best_is,
    deeper_costs_more,
    every_part,
    fastest_start,
    flops_by_architecture,
    gpu_about,
    gpu_between,
    kernels,
    larger_gain_more,
    over_svms,
    svm_time,
)
from mlops_lib.sources import SOURCES


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
            ahead("lr", 1e-4, 1e-3, measure="wobble_pct", lower=True),
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
        "A5", "The RBF kernel is slightly better than the polynomial one, on both datasets", kernels
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
        ahead("lr", 1e-4, 1e-3, where={"optimizer": "adam"}, measure="wobble_pct", lower=True),
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


VERBS = {  # of one claim, of several
    HOLDS: ("holds", "hold"),
    MIXED: ("is mixed", "are mixed"),
    FAILS: ("does not hold", "do not hold"),
}


def judge(runs: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each claim and source: id, claim, source, verdict, says, brief, p_holm.

    p_holm has the p values of a claim's tests over the grid, adjusted (Holm) over all tests of a
    source.
    """
    rows = []
    for source in sources.every(runs):
        found = [claim.check(source) for claim in CLAIMS]
        adjusted = iter(stats.holm([p for evidence in found for p in evidence.p]))
        for claim, evidence in zip(CLAIMS, found, strict=True):
            rows.append(
                {
                    "id": claim.id,
                    "claim": claim.text,
                    "source": source.name,
                    "verdict": evidence.verdict,
                    "says": evidence.says,
                    "brief": evidence.in_brief,
                    "p_holm": tuple(itertools.islice(adjusted, len(evidence.p))),
                }
            )
    return pd.DataFrame(rows)


def summary(judged: pd.DataFrame) -> pd.DataFrame:
    """Lay out the verdicts: a row for each claim, a column for each source."""
    wide = judged.pivot(index=["id", "claim"], columns="source", values="verdict")
    wide = wide.reindex(columns=list(SOURCES)).reset_index("claim").rename_axis(index="Id")
    order = [claim.id for claim in CLAIMS]
    return wide.rename(columns={"claim": "Claim"}).rename_axis(columns=None).loc[order]


def judged_here(judged: pd.DataFrame) -> pd.DataFrame:
    """Lay out the claims that our runs can judge, with what they show in a line."""
    ours = judged[(judged["source"] == SOURCES[2]) & (judged["verdict"] != UNKNOWN)]
    table = summary(judged).loc[lambda rows: rows.index.isin(ours["id"])]
    table["What our runs show"] = ours.set_index("id")["brief"]
    return table[["Claim", SOURCES[2], "What our runs show", *SOURCES[:2]]]


def headline(judged: pd.DataFrame) -> str:
    """Say how many published claims hold, in our runs and in the tables of their reports."""
    judged = judged[judged["id"].str[0].isin(["A", "B"])]
    ours = judged[judged["source"] == SOURCES[2]]
    own = judged[judged["source"] == "Report " + judged["id"].str[0]]

    def counts(rows: pd.DataFrame) -> str:
        parts = []
        for verdict in (HOLDS, MIXED, FAILS):
            ids = rows[rows["verdict"] == verdict]["id"].tolist()
            if ids:
                parts.append(f"{len(ids)} {VERBS[verdict][len(ids) > 1]} ({', '.join(ids)})")
        return ", ".join(parts) or "none"

    measured = (ours["verdict"] != UNKNOWN).sum()
    return (
        f"Of {judged['id'].nunique()} published claims, our runs can judge {measured} so far: "
        f"{counts(ours)}. By the tables of the report that makes them, {counts(own)}; the others "
        "are about something that those tables do not show."
    )


def evidence(judged: pd.DataFrame) -> Markdown:
    """Return what every source says of every claim, as a page shows it."""
    lines = []
    for (name, text), rows in judged.groupby(["id", "claim"], sort=False):
        lines.append(f"\n**{name}. {text}**\n")
        for row in rows.itertuples():
            p = ", ".join(f"{value:.3g}" for value in row.p_holm)
            adjusted = f"; adjusted p = {p}" if p else ""
            lines.append(f"- {row.source}: *{row.verdict}*. {row.says}{adjusted}.")
    return Markdown("\n".join(lines))


def verdicts(judged: pd.DataFrame) -> Markdown:
    """Return the headline as a page shows it."""
    return Markdown(headline(judged))


def disagreement() -> Markdown:
    """Say how far the two reports' tables are apart."""
    both, apart = _published_accuracies()
    which = (both["A"] - both["B"]).abs().idxmax()
    title = tables.run_title(dict(zip(both.index.names, which, strict=True)))
    gains = " and ".join(
        f"{_range(tables.gpu_ratios(sources.report(letter).q2)['ratio'])} times (report {letter})"
        for letter in "AB"
    )
    return Markdown(
        f"In {len(apart)} of {len(both)} configurations of ResNets their accuracies differ by more "
        f"than the sampling of {TEST_IMAGES:,} test images explains; furthest apart are "
        f"{both['A'][which]:.2f} and {both['B'][which]:.2f} % for {title}. A GPU trains faster by "
        f"{gains}."
    )


def _range(values: pd.Series) -> str:
    return f"{values.min():.1f} to {values.max():.1f}"


def _published_accuracies() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return Q1(a) of both reports, columns A and B, and the rows that differ beyond sampling."""
    both = tables.published("q1a").pivot(
        index=[*tables.Q1A_KEYS, "model"], columns="report", values="accuracy_pct"
    )
    apart = [stats.differ(a / 100, b / 100, TEST_IMAGES) for a, b in both.to_numpy()]
    return both, both[apart]


def sides(runs: pd.DataFrame) -> Markdown:
    """Say which report our runs are nearer to, where the two differ beyond sampling."""
    both, apart = _published_accuracies()
    text = (
        f"In {len(apart)} of {len(both)} configurations of Q1(a), the two reports differ by more "
        f"than the sampling of {TEST_IMAGES:,} test images explains (two proportions, 5 %). "
        + _furthest_apart(both, runs)
    )
    ours = sources.ours(runs).q1a
    if ours.empty:
        return Markdown(f"{text} None of them has been run here yet.")
    measured = sources.whole(ours).set_index(list(both.index.names))[["accuracy_pct"]]
    here = apart.join(measured, how="inner")
    nearer_a = (here["A"] - here["accuracy_pct"]).abs() < (here["B"] - here["accuracy_pct"]).abs()
    unlike = [
        stats.differ(row.accuracy_pct / 100, row.A / 100, TEST_IMAGES)
        and stats.differ(row.accuracy_pct / 100, row.B / 100, TEST_IMAGES)
        for row in here.itertuples()
    ]
    return Markdown(
        f"{text} {len(here)} of these were run here with all published epochs: report A is nearer "
        f"in {int(nearer_a.sum())}, report B in {int((~nearer_a).sum())}; our accuracy differs "
        f"from both, beyond sampling, in {sum(unlike)}."
    )


def _furthest_apart(both: pd.DataFrame, runs: pd.DataFrame) -> str:
    """Name the configuration in which the reports (columns A, B) differ most."""
    which = (both["A"] - both["B"]).abs().idxmax()
    configuration = dict(zip(both.index.names, which, strict=True))
    told = both.loc[which]
    text = (
        f"They differ most in {tables.run_title(configuration)}: {told['A']:.2f} and "
        f"{told['B']:.2f} %. One such value decides the means and intervals of its report, but "
        "neither how often a setting is ahead nor the rank test."
    )
    here = tables.fullest(tables.trained(tables.main_device_first(runs), **configuration))
    if here.empty:
        return text
    less = tables.extent(here.iloc[0], tables.PUBLISHED_EPOCHS[configuration["dataset"]])
    measured = tables.interval_text(*tables.accuracy_over_seeds(here))
    return f"{text} Here it has {measured} %" + (f" after {less}." if less else ".")


SGD = {"optimizer": "sgd", "model": "resnet18", "batch_size": 16}  # what was run by momentum
MOMENTA = (0.0, 0.9)


def momentum(runs: pd.DataFrame) -> Any:
    """Lay out SGD's accuracy with and without momentum, beside the reports' (per cent)."""
    rows = []
    told = tables.select(tables.published("q1a"), **SGD)
    runs = tables.main_device_first(runs)
    for (dataset, lr), reports in told.groupby(["dataset", "lr"], sort=False):
        row = {"Dataset": tables.title(dataset), "Rate": f"{lr:g}"}
        for value in MOMENTA:
            here = tables.trained(runs, dataset=dataset, lr=lr, momentum=value, epochs=1, **SGD)
            row[f"momentum {value:g}, one epoch"] = layouts.cell(here)
        by_report = reports.set_index("report")["accuracy_pct"]
        rows.append(row | {f"report {name}": f"{by_report[name]:.2f}" for name in "AB"})
    return layouts.page(pd.DataFrame(rows).set_index(["Dataset", "Rate"]))


def momentum_explains(runs: pd.DataFrame) -> Markdown:
    """Say what the lower rate does to SGD in each report, and with which momentum here.

    A momentum explains a report's rows where its gains have their signs, and the other's have not.
    """
    told = tables.select(tables.published("q1a"), **SGD)
    here = {
        f"momentum {value:g}": _gain(_fullest(runs, momentum=value, epochs=1)) for value in MOMENTA
    }
    lines = ["What SGD gains by the rate 1e-4 instead of 1e-3, in points:\n"]
    for letter, rows in told.groupby("report"):
        gain = _gain(rows)
        alike = [name for name, ours in here.items() if (ours > 0).equals(gain > 0)]
        line = f"- Report {letter}: {_by_dataset(gain)}"
        if all(len(ours) == len(gain) for ours in here.values()):
            line += f"; {_explained(alike)}"
        lines.append(f"{line}.")
    lines += [f"- Here, {name}, one epoch: {_by_dataset(gain)}." for name, gain in here.items()]
    longest = _gain(sources.whole(_fullest(runs)))
    lines.append(f"- Here, momentum 0.9, all published epochs: {_by_dataset(longest)}.")
    return Markdown("\n".join(lines))


def _explained(alike: list[str]) -> str:
    """Say what it means that a report's gains have the signs of these momenta's."""
    if not alike:
        return "neither momentum has gains of these signs here: these runs don't explain it"
    if len(alike) == 1:
        return f"of the same signs here with {alike[0]} alone, which may explain it"
    return "of the same signs here with both, so it does not tell which one was used"


def _fullest(runs: pd.DataFrame, **configuration: Any) -> pd.DataFrame:
    """Return the fullest runs of SGD for each dataset and rate, as tables show them."""
    here = tables.trained(tables.main_device_first(runs), **configuration, **SGD)
    return tables.fullest_each(here, ["dataset", "lr"])


def _gain(rows: pd.DataFrame) -> pd.Series:
    """Return what 1e-4 has over 1e-3, by dataset."""
    if rows.empty:
        return pd.Series(dtype=float)
    if "accuracy_pct" not in rows:
        rows = rows.assign(accuracy_pct=100 * rows["test_accuracy"])
    by_rate = rows.pivot_table("accuracy_pct", "dataset", "lr").reindex(columns=[1e-4, 1e-3])
    return (by_rate[1e-4] - by_rate[1e-3]).dropna().sort_index(ascending=False)


def _by_dataset(gain: pd.Series) -> str:
    shown = ", ".join(f"{tables.title(name)} {points:+.2f}" for name, points in gain.items())
    return shown or tables.NOT_RUN

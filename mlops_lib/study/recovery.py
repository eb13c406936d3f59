"""Which protocol a report followed: candidates, ranked by how well they reproduce its figures.

An SVM's accuracy is deterministic: the right protocol gives a printed figure exactly. A network's
is not: there a candidate is as likely as its distance makes it under the variance over seeds.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm

from mlops_lib import tables
from mlops_lib.study import claims, selection, sources
from mlops_lib.study.protocol import CONFIGURATION, PUBLISHED_EPOCHS, published
from mlops_lib.study.selection import select
from mlops_lib.study.verdicts import SILENT, Evidence

SUITE = "recovery"
FIGURE = ["dataset", "kernel"]  # a row of a report's table of Q1(b)
SVM_PROTOCOL = [
    "split", "subset", "train_images", "test_images", "train_on_validation", "scaling",
    "degree",
]  # fmt: skip
ON_SVMS = ("rbf_over_poly", "over_svms", "svm_time")  # checks, besides headlines of SVMs
BY_SIZE = {"dataset": "fashion_mnist", "optimizer": "adam", "lr": 1e-4, "epochs": 2}
SGD_KEYS = ["dataset", "model", "batch_size"]


def svm_figures(runs: pd.DataFrame) -> pd.DataFrame:
    """Return every printed SVM accuracy beside each candidate protocol that gives one.

    `runs` are those of `tables.all_runs(variants=True)`. Columns: report, FIGURE, SVM_PROTOCOL,
    printed and ours (per cent), difference (points), exact (to the printed digits), chance (that
    a wrong protocol of the same accuracy would be exact), page.
    """
    told = published("q1b")[["report", *FIGURE, "C", "accuracy_pct"]]
    tried = _single_candidates(runs)
    columns = ["report", *FIGURE, *SVM_PROTOCOL, "printed", "ours"]
    columns += ["difference", "exact", "chance", "page"]
    if tried.empty:
        return pd.DataFrame(columns=columns)
    both = tried.merge(told.rename(columns={"accuracy_pct": "printed"}), on=[*FIGURE, "C"])
    both["difference"] = both["ours"] - both["printed"]
    both["exact"] = both["ours"].round(2) == both["printed"].round(2)
    both["chance"] = _chance(both["printed"] / 100, both["test_images"])
    return both[columns]


def _single_candidates(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the SVM runs of one candidate; one of the RBF kernel stands for every degree."""
    runs = select(runs, template="q1b", candidates=1)
    if runs.empty:
        return runs
    tried = runs.assign(
        C=runs["best_C"],
        test_images=runs["confusion_matrix"].map(np.sum),
        ours=100 * runs["test_accuracy"],
        degree=runs["best_degree"],
    )
    degrees = tried["degree"].dropna().unique()
    rbf = tried[tried["degree"].isna()]
    copies = [rbf.assign(degree=degree) for degree in degrees]
    tried = pd.concat([tried[tried["degree"].notna()], *copies])
    return tried.drop_duplicates([*SVM_PROTOCOL, *FIGURE, "C"])


def _chance(accuracy: pd.Series, images: pd.Series) -> pd.Series:
    """Return how likely a count of right images is that of a figure, if it is expected there.

    That is the most that chance can do: a protocol with another accuracy is less often exact.
    """
    return 1 / np.sqrt(2 * np.pi * images * accuracy * (1 - accuracy))


def svm_ranking(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the candidate protocols of each report's SVMs, the best first.

    Index: report, SVM_PROTOCOL. Columns: figures (that were run), exact (of these), distance (mean,
    points), chance (that one wrong protocol would have so many exact), tried (protocols of this
    report, `expected` of which chance lets have so many).
    """
    found = svm_figures(runs)
    keys = ["report", *SVM_PROTOCOL]
    table = found.groupby(keys).agg(
        figures=("exact", "size"),
        exact=("exact", "sum"),
        distance=("difference", lambda points: points.abs().mean()),
        chance=("chance", list),
    )
    table["chance"] = [_at_least(row["exact"], row["chance"]) for row in table.to_dict("records")]
    table["tried"] = table.groupby("report")["exact"].transform("size")
    table["expected"] = (table["chance"] * table["tried"]).clip(upper=table["tried"])
    order = ["report", "figures", "exact", "distance"]
    return table.sort_values(order, ascending=[True, False, False, True])


def svms(runs: pd.DataFrame, report: str) -> pd.DataFrame:
    """Return our SVM runs by the candidate protocol nearest to a report's, as in `Source.q1b`.

    They count as complete, as the report's own do. Empty unless one candidate was run for all of
    the report's figures.
    """
    figures, ranking = svm_figures(runs), svm_ranking(runs).reset_index()
    ranking = ranking[ranking["report"] == report].head(1)
    if ranking.empty or ranking["figures"].iloc[0] < len(select(published("q1b"), report=report)):
        return sources.searched(runs.iloc[:0])
    nearest = figures.merge(ranking[["report", *SVM_PROTOCOL]])
    found = runs[runs["page"].isin(nearest["page"])]
    return sources.searched(found).assign(
        train_images=tables.ALL_IMAGES, test_images=list(found["confusion_matrix"].map(np.sum))
    )


def evidence(
    claim: claims.Claim, ours: sources.Source, runs: pd.DataFrame, spread: claims.checks.Spreads
) -> Evidence | None:
    """Return what our runs say of a claim's parts on SVMs, with SVMs as the report fitted its own.

    None if no part is about SVMs, or the runs by the report's protocol (`svms`) do not show it.
    """
    parts = tuple(
        part for part in claim.checks if part.check in ON_SVMS or getattr(part, "svm", False)
    )
    fitted = svms(runs, claim.report[-1]) if parts else pd.DataFrame()
    if fitted.empty:
        return None
    found = claims.check(
        claim.model_copy(update={"checks": parts}), replace(ours, q1b=fitted), spread
    )
    return None if found.verdict in SILENT else found


def _at_least(exact: int, chances: list[float]) -> float:
    """Return the chance that so many of independent figures are exact, or more."""
    counts = np.ones(1)
    for chance in chances:
        counts = np.convolve(counts, [1 - chance, chance])
    return float(counts[exact:].sum())


def kernels(runs: pd.DataFrame) -> pd.DataFrame:
    """Return what the polynomial kernel has over RBF under each protocol, in points.

    Index: SVM_PROTOCOL. A column for each dataset; C is 10.
    """
    tried = select(_single_candidates(runs), C=10.0)
    if tried.empty:
        return pd.DataFrame()
    wide = tried.pivot_table("ours", SVM_PROTOCOL, FIGURE)
    return pd.DataFrame(
        {
            dataset: wide[dataset, "poly"] - wide[dataset, "rbf"]
            for dataset in PUBLISHED_EPOCHS
            if {(dataset, "poly"), (dataset, "rbf")} <= set(wide.columns)
        }
    ).dropna(how="all")


def seed_parts(runs: pd.DataFrame) -> pd.DataFrame:
    """Return what the split alone changes, and what initial weights and order alone change.

    Index: varied. Columns: n, mean and std of the test accuracy (per cent, points), low and high:
    the 95 % interval of std (chi-squared).
    """
    from scipy.stats import chi2

    here = select(runs, template="q1a", suite=SUITE)
    here = here[here["split_seed"].notna()] if len(here) else here
    if here.empty:
        return pd.DataFrame(columns=["n", "mean", "std", "low", "high"])
    varied = {
        "split": select(here, seed=0),
        "weights and order": select(here, split_seed=0),
    }
    rows = {}
    for name, some in varied.items():
        accuracy = 100 * some["test_accuracy"]
        n, std = len(some), accuracy.std()
        low, high = (std * math.sqrt((n - 1) / chi2.ppf(p, n - 1)) for p in (0.975, 0.025))
        rows[name] = {"n": n, "mean": accuracy.mean(), "std": std, "low": low, "high": high}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("varied")


def by_image_size(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the accuracies of the suite's trainings on scaled images, which differ in that alone.

    Index: input_size, in_channels. Columns: n, mean and std of the test accuracy (per cent), gain:
    the mean difference from 1x28x28 with the same seeds (points; nan without it).
    """
    short = select(runs, template="q1a", suite=SUITE, **BY_SIZE)
    if short.empty:
        return pd.DataFrame(columns=["n", "mean", "std", "gain"])
    short = short.assign(accuracy_pct=100 * short["test_accuracy"])
    by_seed = short.pivot_table("accuracy_pct", ["input_size", "in_channels"], "seed")
    usual = by_seed.reindex([(28, 1)]).iloc[0]
    found = by_seed.agg(["count", "mean", "std"], axis=1).rename(columns={"count": "n"})
    return found.assign(n=found["n"].astype(int), gain=(by_seed - usual).mean(axis=1))


def lead(runs: pd.DataFrame, report: str) -> float:
    """Return by how many points a report's accuracies exceed ours with the settings of `BY_SIZE`.

    The mean over its rows of ResNet-18 in Q1(a); nan where one was not run.
    """
    setting = {name: value for name, value in BY_SIZE.items() if name != "epochs"}
    theirs, ours = (
        select(selection.complete(source.q1a), model="resnet18", **setting)
        for source in (sources.report(report), sources.ours(runs))
    )
    if len(ours) < len(theirs):
        return math.nan
    return float(theirs["accuracy_pct"].mean() - ours["accuracy_pct"].mean())


def gamma_search(runs: pd.DataFrame) -> list[dict[str, Any]]:
    """Return what the suite's search for gamma of the RBF kernel finds, a dict for each dataset.

    Keys: dataset, images, gamma and C (the best ones), low and high (the ends of what was tried),
    inside (the best is at neither end).
    """
    found = []
    searched = select(runs, template="q1b", suite=SUITE, kernel="rbf")
    for run in searched.to_dict("records"):
        tried = [candidate["gamma"] for candidate in run["search"]]
        if len(tried) > 1:
            found.append(
                {
                    "dataset": run["dataset"],
                    "images": run["train_images"],
                    "gamma": run["best_gamma"],
                    "C": run["best_C"],
                    "low": min(tried),
                    "high": max(tried),
                    "inside": min(tried) < run["best_gamma"] < max(tried),
                }
            )
    return found


def by_epochs(runs: pd.DataFrame, std_pct: pd.Series) -> pd.DataFrame:
    """Return how likely each number of epochs makes a report's accuracies of Q1(a).

    `std_pct` is the standard deviation over seeds, indexed (dataset, model); where it is not known,
    trainings are left out. A training's
    validation accuracy after k epochs, the best so far, stands for its test accuracy if it had
    ended there. Index: report, dataset, epochs. Columns: figures, distance (median, points),
    log_likelihood (mean over the figures; of two trainings of unlike seeds).
    """
    rows = []
    told = published("q1a").set_index(CONFIGURATION)
    known = [run for run in _complete(runs).to_dict("records")
             if (run["dataset"], run["model"]) in std_pct.index]  # fmt: skip
    for run in known:
        name = tuple(run[key] for key in CONFIGURATION)
        best = np.maximum.accumulate([100 * epoch["val_accuracy"] for epoch in run["history"]])
        std = math.sqrt(2) * std_pct[run["dataset"], run["model"]]
        for report, printed in told.loc[[name], ["report", "accuracy_pct"]].to_numpy():
            for epochs, ours in enumerate(best, start=1):
                rows.append((report, run["dataset"], epochs, printed - ours,
                             norm.logpdf(printed - ours, scale=std)))  # fmt: skip
    columns = ["report", "dataset", "epochs", "difference", "log_likelihood"]
    table = pd.DataFrame(rows, columns=columns)
    return table.groupby(columns[:3]).agg(
        figures=("difference", "size"),
        distance=("difference", lambda points: points.abs().median()),
        log_likelihood=("log_likelihood", "mean"),
    )


def _complete(runs: pd.DataFrame) -> pd.DataFrame:
    """Return one complete training of each configuration of Q1(a), as the tables show them."""
    found = selection.by_configuration(selection.main_device_first(runs))
    return selection.complete(pd.DataFrame([some.iloc[0] for some in found]))


def sgd_by_rate(own: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Return what SGD gains by a rate of 1e-4 instead of 1e-3, in points, by protocol.

    `own` are the study's runs, `runs` also those by other protocols (`tables.all_runs`). Columns:
    source (a report, or a protocol of ours), SGD_KEYS, gain. Trainings of one seed and length make
    a pair; short are those of fewer epochs than published.
    """
    sources = {f"report {letter}": select(published("q1a"), report=letter) for letter in "AB"}
    sources["momentum 0.9, all epochs"] = _complete(own)
    ours = select(runs, template="q1a", optimizer="sgd", input_size=28)
    if len(ours):
        shuffled = select(ours, shuffle=True)
        short = shuffled[shuffled["epochs"] < min(PUBLISHED_EPOCHS.values())]
        for momentum, some in short.groupby("momentum"):
            sources[f"momentum {momentum:g}, short trainings"] = some
        sources["momentum 0.9, never shuffled"] = select(ours, momentum=0.9, shuffle=False)
    gains = [_gain(name, rows) for name, rows in sources.items()]
    return pd.concat([some for some in gains if len(some)], ignore_index=True)


def _gain(source: str, rows: pd.DataFrame) -> pd.DataFrame:
    here: Any = select(rows, optimizer="sgd")
    if here.empty:
        return pd.DataFrame(columns=["source", *SGD_KEYS, "gain"])
    if "accuracy_pct" not in here:
        here = here.assign(accuracy_pct=100 * here.get("test_accuracy", np.nan))
    keys = [name for name in (*SGD_KEYS, "epochs", "train_images", "seed") if name in here]
    wide = here.pivot_table("accuracy_pct", keys, "lr")
    wide = wide.reindex(columns=[1e-3, 1e-4])
    gain = (wide[1e-4] - wide[1e-3]).dropna().rename("gain").reset_index()
    return gain.assign(source=source)[["source", *SGD_KEYS, "gain"]]

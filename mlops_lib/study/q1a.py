"""The page Q1(a), ResNets: its table, its figure's points and what was found."""

from __future__ import annotations

from typing import Any

import pandas as pd
from IPython.display import Markdown

from mlops_lib import stats, tables
from mlops_lib.study import selection, sources
from mlops_lib.study.pairs import significantly_ahead
from mlops_lib.study.protocol import (
    CONFIGURATION,
    MODELS,
    NOT_RUN,
    PUBLISHED_EPOCHS,
    Q1A_KEYS,
    published,
)
from mlops_lib.study.selection import extent, select
from mlops_lib.study.sources import accuracy_over_seeds
from mlops_lib.study.table_cells import accuracy_cell, best_text, reports_best, two_level

MEASURED, MEASURED_ON_LESS = "measured here", "measured here on less"


def _in_tables(runs: pd.DataFrame) -> pd.DataFrame:
    return select(selection.choose(runs), template="q1a", in_tables=True)


def table(runs: pd.DataFrame) -> pd.DataFrame:
    """Lay out Q1(a) as the reports do, each cell beside what was measured here, in per cent."""
    reports, chosen = published("q1a"), _in_tables(runs)
    rows = []
    for values, _ in reports.groupby(Q1A_KEYS, sort=False):
        configuration = dict(zip(Q1A_KEYS, values, strict=True))
        row: dict[Any, Any] = {
            "Dataset": tables.title(values[0]),
            "Batch": values[1],
            "Optimizer": tables.title(values[2]),
            "Rate": tables.value_text(values[3]),
        }
        for model in MODELS:
            told = select(reports, model=model, **configuration).set_index("report")["accuracy_pct"]
            here = select(chosen, model=model, **configuration)
            for report in "AB":
                row[tables.title(model), report] = told_text(told[report], here, values[0])
            row[tables.title(model), MEASURED] = accuracy_cell(here, PUBLISHED_EPOCHS[values[0]])
        rows.append(row)
    return two_level(rows, ["Dataset", "Batch", "Optimizer", "Rate"])


def told_text(told: float, here: pd.DataFrame, dataset: str) -> str:
    """Return `98.00 (+0.42*)`: a published accuracy and what it has over the measured one.

    The star: by more than the sampling of the test images explains (two proportions, 5 %). Without
    a run of all published epochs and images, the published accuracy alone.
    """
    if here.empty or extent(here.iloc[0], PUBLISHED_EPOCHS[dataset]):
        return f"{told:.2f}"
    measured = here["test_accuracy"].mean()
    star = "*" if stats.differ(told / 100, measured, tables.images_right(here.iloc[0])[1]) else ""
    return f"{told:.2f} ({told - 100 * measured:+.2f}{star})"


def accuracies(runs: pd.DataFrame) -> pd.DataFrame:
    """Return Q1(a) as one row an accuracy: dataset, model, configuration, source, low, high."""
    rows, chosen = [], _in_tables(runs)
    for told in published("q1a").to_dict("records"):
        rows.append(_point(told, f"report {told['report']}", told["accuracy_pct"]))
        here = select(chosen, **{name: told[name] for name in CONFIGURATION})
        if told["report"] == "A" and not here.empty:
            less = extent(here.iloc[0], PUBLISHED_EPOCHS[told["dataset"]])
            source = MEASURED_ON_LESS if less else MEASURED
            rows.append(_point(told, source, *accuracy_over_seeds(here)))
    return pd.DataFrame(rows)


def _point(told: dict[str, Any], source: str, accuracy: float, *interval: float) -> dict[str, Any]:
    low, high = interval or (accuracy, accuracy)
    optimizer = f"{tables.title(told['optimizer'])} {tables.value_text(told['lr'])}"
    return {
        "dataset": tables.title(told["dataset"]),
        "model": tables.title(told["model"]),
        "configuration": f"{optimizer}, batch {told['batch_size']}",
        "source": source,
        "accuracy": accuracy,
        "low": low,
        "high": high,
    }


def finding(runs: pd.DataFrame) -> Markdown:
    """Return in a sentence or two what Q1(a) found so far."""
    complete = selection.complete(sources.ours(runs).q1a)
    return Markdown(
        "\n".join(
            f"- **{tables.title(dataset)}**, best: {_best(runs, complete, dataset)}. "
            f"{reports_best('q1a', dataset)}"
            for dataset in PUBLISHED_EPOCHS
        )
    )


def _best(runs: pd.DataFrame, complete: pd.DataFrame, dataset: str) -> str:
    """Return the best ResNet, which settings are not significantly worse, and what was run.

    `complete` has the configurations of our runs that are as published; without one, the best run.
    """
    complete = select(complete, dataset=dataset)
    published = len(select(sources.report("A").q1a, dataset=dataset))
    done = f"Run with all published epochs: {len(complete)} of {published} configurations"
    if complete.empty:
        here = select(runs, template="q1a", dataset=dataset)
        return f"{best_text(here)}. {done}" if len(here) else NOT_RUN
    best = complete.loc[complete["accuracy_pct"].idxmax()].to_dict()
    tied = [
        run["title"].removeprefix(f"{tables.title(dataset)}, ")
        for run in complete.to_dict("records")
        if run["title"] != best["title"] and significantly_ahead(best, run) == 0
    ]
    count = len(best["by_seed"])
    seeds = f" (mean of {count} seeds)" if count > 1 else ""
    others = f"; within chance of it: {'; '.join(tied)}" if tied else ""
    models = ", ".join(map(tables.title, complete["model"].unique()))
    more = _best_over_seeds(runs, dataset, count)
    return f"{_result(best)}{seeds}{others}. {more}{done} ({models})"


def _result(row: dict[str, Any]) -> str:
    """Return accuracy, interval and title of a row of `sources.configurations`."""
    return f"{tables.interval_text(row['accuracy_pct'], row['low'], row['high'])} %: {row['title']}"


def _best_over_seeds(runs: pd.DataFrame, dataset: str, count: int) -> str:
    """Return which of the ResNets with more than so many seeds is the best; nothing without two."""
    here = select(runs, device=selection.main_device(runs), dataset=dataset)
    several = selection.complete(sources.configurations(selection.with_several_seeds(here, count)))
    if len(several) < 2 or several["by_seed"].str.len().min() <= count:  # they share too few
        return ""
    best, *others = several.sort_values("accuracy_pct", ascending=False).to_dict("records")
    told = sum(_told_apart(best["by_seed"], other["by_seed"]) for other in others)
    return (
        f"Of {len(several)} configurations with {len(best['by_seed'])} seeds, the best by their "
        f"mean: {_result(best)}; the seeds tell {told} of the {len(others)} others from it "
        "(Student's t, each by itself). "
    )


def _told_apart(best: dict[int, float], other: dict[int, float]) -> bool:
    """Return whether the mean difference over the same seeds is significantly above 0."""
    return stats.paired([best[seed] - other[seed] for seed in best]).low > 0

"""What the runs say, in a line or two: the overview's figures and each question's finding."""

from __future__ import annotations

import itertools
from typing import Any

import pandas as pd
from IPython.display import Markdown

from mlops_lib import stats, tables
from mlops_lib.study import layouts, sources


def overview(runs: pd.DataFrame) -> dict[str, str]:
    """Return the overview's figures as text, by name; what has no run says so."""
    found = {"runs": str(len(runs))}
    for dataset in tables.PUBLISHED_EPOCHS:
        found[f"best_svm_{dataset}"] = _best_svm(tables.searches(runs, dataset))
    found["gpu_ratio"] = _gpu_ratio(runs)
    names = runs["device_name"].unique() if len(runs) else []
    found["machines"] = ", ".join(names) or tables.NOT_RUN
    return found


def _best(runs: pd.DataFrame) -> str:
    """Return the most accurate of these runs, and what it has less than the published protocol."""
    run = runs.loc[runs["test_accuracy"].idxmax()]
    epochs = tables.PUBLISHED_EPOCHS.get(run["dataset"]) if run["template"] == "q1a" else None
    seed = f"seed {run['seed']}" if run["seed"] else ""
    other = layouts.otherwise(run, besides=("seed", "epochs")) if epochs else ""
    parts = [seed, other, tables.extent(run, epochs), run["divergence"]]
    less = ", ".join(filter(None, parts))
    return f"{tables.accuracy_text(run)} %: {run['title']}" + (f" ({less})" if less else "")


def _best_resnet(runs: pd.DataFrame, whole: pd.DataFrame, dataset: str) -> str:
    """Return the best ResNet, which settings are as good within chance, and what was run.

    `whole` has the configurations of our runs that are as published; without one, the best run.
    """
    whole = tables.select(whole, dataset=dataset)
    published = len(tables.select(sources.report("A").q1a, dataset=dataset))
    done = f"Run with all published epochs: {len(whole)} of {published} configurations"
    if whole.empty:
        here = tables.select(runs, template="q1a", dataset=dataset)
        return f"{_best(here)}. {done}" if len(here) else tables.NOT_RUN
    best = whole.loc[whole["accuracy_pct"].idxmax()].to_dict()
    tied = [
        run["title"].removeprefix(f"{tables.title(dataset)}, ")
        for run in whole.to_dict("records")
        if run["title"] != best["title"] and sources.beyond_chance(best, run) == 0
    ]
    count = len(best["by_seed"])
    seeds = f" (mean of {count} seeds)" if count > 1 else ""
    others = f"; within chance of it: {'; '.join(tied)}" if tied else ""
    models = ", ".join(map(tables.title, whole["model"].unique()))
    more = _best_over_seeds(runs, dataset, count)
    return f"{_result(best)}{seeds}{others}. {more}{done} ({models})"


def _result(row: dict[str, Any]) -> str:
    """Return accuracy, interval and title of a row of `sources.configurations`."""
    return f"{tables.interval_text(row['accuracy_pct'], row['low'], row['high'])} %: {row['title']}"


def _best_over_seeds(runs: pd.DataFrame, dataset: str, count: int) -> str:
    """Say which of the ResNets with more than so many seeds is the best; nothing without two."""
    here = tables.select(runs, device=tables.main_device(runs), dataset=dataset)
    several = sources.complete(sources.configurations(sources.with_several_seeds(here, count)))
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
    """Say whether the mean difference over the same seeds is above 0 beyond chance."""
    return stats.paired([best[seed] - other[seed] for seed in best]).low > 0


def _best_svm(searches: pd.DataFrame) -> str:
    """Return the best of `tables.searches`, and which kernels were not run."""
    if searches.empty:
        return tables.NOT_RUN
    missing = [
        f"{tables.title(kernel)} kernel: {tables.NOT_RUN}"
        for kernel in tables.KERNELS
        if tables.select(searches, kernel=kernel).empty
    ]
    return "; ".join([_best(searches), *missing])


def _gpu_ratio(runs: pd.DataFrame) -> str:
    """Return how many times faster than its CPU twin each GPU run of Q2 trained."""
    found = tables.gpu_ratios(sources.timed_on_devices(runs))
    if found.empty:
        return tables.NOT_RUN
    low, high = found["ratio"].min(), found["ratio"].max()
    between = "; ".join(found["devices"].unique())
    return f"{low:.1f} to {high:.1f} times as fast (n={len(found)}; {between})"


def q1a(runs: pd.DataFrame) -> Markdown:
    """Say in a sentence or two what Q1(a) found so far."""
    whole = sources.complete(sources.ours(runs).q1a)
    return Markdown(
        "\n".join(
            f"- **{tables.title(dataset)}**, best: {_best_resnet(runs, whole, dataset)}. "
            f"{_told('q1a', dataset)}"
            for dataset in tables.PUBLISHED_EPOCHS
        )
    )


def basis(runs: pd.DataFrame) -> Markdown:
    """Say which trainings of Q1(a) verdicts on accuracies rest on, and which those on times."""
    source = sources.ours(runs)
    whole, timed = sources.complete(source.q1a), sources.complete(source.timed)
    if whole.empty:
        return Markdown("No configuration of Q1(a) has been trained in full yet.")
    *others, last = map(str, sorted(whole["by_seed"].iloc[0]))
    shown = f"seeds {', '.join(others)} and {last}" if others else f"seed {last}"
    text = f"Verdicts on the accuracy of ResNets rest on {_trained(whole)}, with {shown}"
    timed = timed[timed["train_seconds"].notna()]
    if timed.empty:
        return Markdown(f"{text}. No training in full has a time that can be compared.")
    return Markdown(f"{text}; verdicts on their training time on {_trained(timed)}.")


def _trained(whole: pd.DataFrame) -> str:
    """Say how many configurations were trained, where and in which precision."""
    published = len(sources.report("A").q1a)
    on = ", ".join(dict.fromkeys(itertools.chain.from_iterable(whole["device_names"])))
    known = dict.fromkeys(whole["amp_dtype"].dropna()) if "amp_dtype" in whole else {}
    precision = f" (in {', '.join(known)})" if known else ""
    return f"{len(whole)} of {published} configurations on {on}{precision}"


def _told(question: str, dataset: str) -> str:
    """Return the best accuracy that either report has for a question and a dataset."""
    told = tables.select(tables.published(question), dataset=dataset)
    best = told.groupby("report")["accuracy_pct"].max()
    return f"The reports' best: A {best['A']:.2f} %, B {best['B']:.2f} %."


def q1b(runs: pd.DataFrame) -> Markdown:
    """Say in a sentence or two what Q1(b) found so far."""
    lines = []
    for dataset in tables.PUBLISHED_EPOCHS:
        here = tables.searches(runs, dataset)
        lines.append(
            f"- **{tables.title(dataset)}**, best: {_best_svm(here)}. {_told('q1b', dataset)}"
            + "".join(map(_edge, here.to_dict("records")))
        )
    return Markdown("\n".join(lines))


def _edge(run: dict[str, Any]) -> str:
    """Say where a search chose the smallest or the largest number that it tried."""
    found = []
    for name in ("C", "degree", "gamma"):
        tried = {value for value in run[name] if not isinstance(value, str)}
        for word, edge in (("smallest", min), ("largest", max)):
            if len(tried) > 1 and run.get(f"best_{name}") == edge(tried):
                found.append(f"{name} {edge(tried):g} is the {word}")
    if not found:
        return ""
    return (
        f" With the {tables.title(run['kernel'])} kernel, the best {' and '.join(found)} of those "
        "tried: a wider search may do better."
    )


def q2(runs: pd.DataFrame) -> Markdown:
    """Say in a sentence or two what Q2 found so far."""
    lines = [f"- **GPU against CPU**: {_gpu_ratio(runs)}."]
    for run in layouts.speeds(runs).to_dict("records"):
        share = run["peak_share"]
        used = f", {share:.1%} of the peak" if pd.notna(share) else ""
        lines.append(f"- **{run['run']}**: {run['images_per_second']:,.0f} images/s{used}.")
    return Markdown("\n".join(lines))

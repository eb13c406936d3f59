"""Where the two reports disagree, and what may explain it."""

from __future__ import annotations

from typing import Any

import pandas as pd
from IPython.display import Markdown

from mlops_lib import stats, tables
from mlops_lib.study import pairs, selection, sources
from mlops_lib.study.protocol import (
    CONFIGURATION,
    NOT_RUN,
    PUBLISHED_EPOCHS,
    TEST_IMAGES,
    published,
)
from mlops_lib.study.selection import fullest, select, trained
from mlops_lib.study.table_cells import accuracy_cell

SGD = {"optimizer": "sgd", "model": "resnet18", "batch_size": 16}  # what was run by momentum
MOMENTA = (0.0, 0.9)


def summary() -> Markdown:
    """Return how far the two reports' tables are apart."""
    both, apart = _published_accuracies()
    configuration, told = _widest_gap(both)
    gains = " and ".join(
        f"{_range(pairs.gpu_ratios(sources.report(letter).q2)['ratio'])} times (report {letter})"
        for letter in "AB"
    )
    return Markdown(
        f"In {len(apart)} of {len(both)} configurations of ResNets their accuracies differ by more "
        f"than the sampling of {TEST_IMAGES:,} test images explains; furthest apart are "
        f"{told['A']:.2f} and {told['B']:.2f} % for {tables.run_title(configuration)}. A GPU "
        f"trains faster by {gains}."
    )


def _range(values: pd.Series) -> str:
    return f"{values.min():.1f} to {values.max():.1f}"


def _published_accuracies() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return Q1(a) of both reports, columns A and B, and the rows that differ beyond sampling."""
    both = published("q1a").pivot(index=CONFIGURATION, columns="report", values="accuracy_pct")
    apart = [stats.differ(a / 100, b / 100, TEST_IMAGES) for a, b in both.to_numpy()]
    return both, both[apart]


def sides(runs: pd.DataFrame) -> Markdown:
    """Return which report our runs are nearer to, where the two differ beyond sampling."""
    both, apart = _published_accuracies()
    text = (
        f"In {len(apart)} of {len(both)} configurations of Q1(a), the two reports differ by more "
        f"than the sampling of {TEST_IMAGES:,} test images explains (two proportions, 5 %). "
        + _furthest_apart(both, runs)
    )
    ours = sources.ours(runs).q1a
    if ours.empty:
        return Markdown(f"{text} None of them has been run here yet.")
    measured = selection.complete(ours).set_index(list(both.index.names))[["accuracy_pct"]]
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


def _widest_gap(both: pd.DataFrame) -> tuple[dict[str, Any], pd.Series]:
    """Return the configuration in which the reports (columns A, B) differ most, and its row."""
    which = (both["A"] - both["B"]).abs().idxmax()
    return dict(zip(both.index.names, which, strict=True)), both.loc[which]


def _furthest_apart(both: pd.DataFrame, runs: pd.DataFrame) -> str:
    """Return in which configuration the reports (columns A, B) differ most, as text."""
    configuration, told = _widest_gap(both)
    text = (
        f"They differ most in {tables.run_title(configuration)}: {told['A']:.2f} and "
        f"{told['B']:.2f} %. One such value decides the means and intervals of its report, but "
        "neither how often a setting is ahead nor the rank test."
    )
    here = fullest(trained(selection.main_device_first(runs), **configuration))
    if here.empty:
        return text
    less = selection.extent(here.iloc[0], PUBLISHED_EPOCHS[configuration["dataset"]])
    measured = tables.interval_text(*sources.accuracy_over_seeds(here))
    return f"{text} Here it has {measured} %" + (f" after {less}." if less else ".")


def momentum(runs: pd.DataFrame) -> pd.DataFrame:
    """Lay out SGD's accuracy with and without momentum, beside the reports' (per cent)."""
    rows = []
    told = select(published("q1a"), **SGD)
    runs = selection.main_device_first(runs)
    for (dataset, lr), reports in told.groupby(["dataset", "lr"], sort=False):
        row = {"Dataset": tables.title(dataset), "Rate": tables.value_text(lr)}
        for value in MOMENTA:
            here = trained(runs, dataset=dataset, lr=lr, momentum=value, epochs=1, **SGD)
            row[f"momentum {value:g}, one epoch"] = accuracy_cell(fullest(here))
        by_report = reports.set_index("report")["accuracy_pct"]
        rows.append(row | {f"report {name}": f"{by_report[name]:.2f}" for name in "AB"})
    return pd.DataFrame(rows).set_index(["Dataset", "Rate"])


def momentum_explains(runs: pd.DataFrame) -> Markdown:
    """Return what the lower rate does to SGD in each report, and with which momentum here.

    A momentum explains a report's rows where its gains have their signs, and the other's have not.
    """
    told = select(published("q1a"), **SGD)
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
    longest = _gain(selection.complete(_fullest(runs)))
    lines.append(f"- Here, momentum 0.9, all published epochs: {_by_dataset(longest)}.")
    return Markdown("\n".join(lines))


def _explained(alike: list[str]) -> str:
    """Return what it means that a report's gains have the signs of these momenta's."""
    if not alike:
        return "neither momentum has gains of these signs here: these runs don't explain it"
    if len(alike) == 1:
        return f"of the same signs here with {alike[0]} alone, which may explain it"
    return "of the same signs here with both, so it does not tell which one was used"


def _fullest(runs: pd.DataFrame, **configuration: Any) -> pd.DataFrame:
    """Return the fullest runs of SGD for each dataset and rate, as tables show them."""
    here = trained(selection.main_device_first(runs), **configuration, **SGD)
    return selection.fullest_each(here, ["dataset", "lr"])


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
    return shown or NOT_RUN

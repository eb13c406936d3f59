"""Would the same come out again? Pairs of settings in both reports and in each repetition here."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from mlops_lib import tables
from mlops_lib.plots import Picture, styled
from mlops_lib.study import by_source, figures, selection, sources
from mlops_lib.study.once import once
from mlops_lib.study.protocol import CONFIGURATION, PUBLISHED_EPOCHS, SOURCES
from mlops_lib.study.selection import select
from mlops_lib.study.table_cells import over, rate_text
from mlops_lib.study.words import signed, signed_range

REPORTS = SOURCES[:2]
ALIKE = 0.5  # the rank correlation from which a ranking is said to come back
MIN_SETTINGS = 8  # that a ranking is compared by: those of one network
COMPARED: tuple[tuple[str, Any, Any], ...] = (  # setting, first, second
    ("optimizer", "adam", "sgd"),
    ("lr", 1e-4, 1e-3),
    ("batch_size", 16, 32),
    ("model", "resnet50", "resnet18"),
)


@once
def trainings(runs: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the complete trainings of both reports, and of each device and seed here, by name."""
    here = {
        name: selection.complete(sources.configurations(some))
        for name, some in selection.repetitions(runs).items()
    }
    reports = dict(list(by_source.trainings(runs.iloc[:0]).items())[:2])
    return reports | {name: trained for name, trained in here.items() if len(trained)}


def differences(by_repetition: dict[str, pd.DataFrame], spread: pd.DataFrame) -> pd.DataFrame:
    """Return `by_source.differences` of all settings `COMPARED`; column compared: which."""
    found = []
    for sides in COMPARED:
        table = by_source.differences(by_repetition, *sides, spread)
        if len(table):
            found.append(table.assign(compared=over(*sides)))
    return pd.concat(found, ignore_index=True) if found else table.assign(compared="")


def correlations(by_repetition: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Return how alike the ranking of settings is to that of each report (Spearman's rho).

    Columns: source, dataset, settings (their number), Report A, Report B (-1 to 1); of each source
    or repetition that has `MIN_SETTINGS` on a dataset.
    """
    ranked = {
        name: trained.set_index(CONFIGURATION)["accuracy_pct"]
        for name, trained in by_repetition.items()
    }
    rows = []
    for name, accuracies in ranked.items():
        for dataset in PUBLISHED_EPOCHS:
            here = accuracies[accuracies.index.get_level_values("dataset") == dataset]
            if len(here) >= MIN_SETTINGS:
                row = {"source": name, "dataset": dataset, "settings": len(here)}
                rows.append(row | {report: _spearman(here, ranked[report]) for report in REPORTS})
    return pd.DataFrame(rows)


def _spearman(one: pd.Series, other: pd.Series) -> float:
    both = pd.concat([one, other], axis=1, join="inner").rank()
    return float(both.corr().iloc[0, 1])


def facts(rankings: pd.DataFrame, found: pd.DataFrame) -> dict[str, Any]:
    """Return what a page says of `correlations` and `differences`; nothing without repetitions.

    rho: by dataset and report, (lowest, highest) over the repetitions here, and comes_back: whether
    that is at least `ALIKE` each time (yes), above 0 (in part) or not; and `steady` of the pairs.
    """
    here = rankings[~rankings["source"].isin(REPORTS)]
    if here.empty:
        return {}
    ends = here.groupby("dataset", sort=False)[list(REPORTS)].agg(["min", "max"])
    return {
        "rho": {
            dataset: {report: tuple(row[report]) for report in REPORTS}
            for dataset, row in ends.iterrows()
        },
        "comes_back": {
            dataset: {report: _comes_back(row[report]["min"]) for report in REPORTS}
            for dataset, row in ends.iterrows()
        },
        **steady(found),
    }


def _comes_back(lowest: float) -> str:
    """Return whether a ranking comes back each time, by its lowest correlation."""
    return "yes" if lowest >= ALIKE else "in part" if lowest > 0 else "no"


def several(found: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `differences` of pairs that were run here more than once.

    Column both: what the two sides have in common, as text.
    """
    here = found[~found["source"].isin(REPORTS)]
    texts = [_in_common(pair) for pair in here.to_dict("records")]
    here = here.assign(both=pd.Series(texts, here.index, dtype=object))
    return here[here.groupby(["compared", "both"])["source"].transform("count") > 1]


def _in_common(pair: dict[str, Any]) -> str:
    names = ("dataset", "model", "optimizer", "lr", "batch_size")
    words = {"lr": lambda rate: rate_text(rate), "batch_size": lambda size: f"batch {size:.0f}"}
    values = ((name, pair[name]) for name in names if not pd.isna(pair.get(name, np.nan)))
    return ", ".join(words.get(name, tables.title)(value) for name, value in values)


def steady(found: pd.DataFrame) -> dict[str, int]:
    """Return of pairs run here several times: repeated, same_side (always), opposed.

    Opposed are pairs that are significant in both directions.
    """
    each = several(found).groupby(["compared", "both"])
    signs = each["difference"].agg(lambda points: np.sign(points).nunique())
    ends = each["significant"].agg(["min", "max"])
    return {
        "repeated": len(signs),
        "same_side": int((signs == 1).sum()),
        "opposed": int(((ends["min"] < 0) & (ends["max"] > 0)).sum()),
    }


def table(found: pd.DataFrame) -> pd.DataFrame:
    """Lay out `several`: a row for each pair, a column for each repetition, * where significant."""
    here = several(found)
    stars = here["significant"].map(lambda sign: "*" if sign else "")
    cells = here["difference"].map(signed) + stars
    titles = {"compared": "Compared (points)", "both": "Both", "source": "run"}
    here = here.assign(cell=cells).rename(columns=titles)
    wide = here.set_index(list(titles.values()))["cell"].unstack(sort=False).fillna("")
    return wide.rename_axis(columns=None).reset_index("Both")


@styled()
def draw(found: pd.DataFrame, rankings: pd.DataFrame, finding: str) -> Picture:
    """Show which side of each pair is ahead, a row for each source, and its rank correlations.

    `found` is what `differences` returns, `rankings` what `correlations` does.
    """
    names = found["source"].unique().tolist()
    datasets = [dataset for dataset in PUBLISHED_EPOCHS if dataset in set(found["dataset"])]
    figure, axes = figures.panels(len(datasets), 1, len(datasets) * (0.95 + 0.27 * len(names)))
    for dataset, axis in zip(datasets, axes[:, 0], strict=True):
        _signs(axis, select(found, dataset=dataset), names)
        axis.set_yticks(range(len(names)), names)
        axis.set(ylim=(len(names) - 0.5, -0.6), xticks=[])
        axis.grid(visible=False)
        head = axis.get_yaxis_transform()
        axis.text(-0.02, -0.75, tables.title(dataset), transform=head, ha="right", va="bottom",
                  fontsize=11.5)  # fmt: skip
        for place, report in enumerate(REPORTS):
            x = 1.02 + 0.16 * place
            axis.text(x, -0.75, f"ρ with\n{report[-1]}", transform=head, va="bottom", fontsize=9)
            for row in select(rankings, dataset=dataset).to_dict("records"):
                if row["source"] != report:
                    y = names.index(row["source"])
                    axis.text(x, y, signed(row[report]), transform=head, va="center",
                              fontsize=figures.SMALL)  # fmt: skip
    figure.supxlabel(
        "▲ first ahead, ▽ behind; filled: more than noise; ρ: rank correlation", fontsize=10
    )
    return figures.finished(figure, finding, _described(found, rankings))


def _signs(axis: Axes, found: pd.DataFrame, names: list[str]) -> None:
    """Draw a mark for each pair (across) and source (down), pairs by what is compared."""
    colours = dict(zip((1, -1), figures.colours(2), strict=True))
    start = 0
    for compared, group in found.groupby("compared", sort=False):
        pair = group.groupby([*CONFIGURATION[1:]], dropna=False, sort=False).ngroup() + start
        y = group["source"].map(names.index)
        for (sign, significant), some in group.groupby(
            [np.sign(group["difference"]), group["significant"] != 0]
        ):
            if sign:
                axis.plot(
                    pair[some.index], y[some.index], "^" if sign > 0 else "v", markersize=5.5,
                    color=colours[sign], fillstyle="full" if significant else "none",
                )  # fmt: skip
        text = re.sub("learning rate | size|(?<=over )ResNet-", "", compared)
        axis.text(
            (start + pair.max()) / 2,
            -0.75,
            text.replace(" over", "\nover"),
            ha="center",
            va="bottom",
            fontsize=9,
        )
        start = pair.max() + 2
    axis.set_xlim(-1, start - 1)


def _described(found: pd.DataFrame, rankings: pd.DataFrame) -> str:
    """Return by dataset how many pairs have the first ahead, and the rank correlations."""
    who = found["source"].where(found["source"].isin(REPORTS), "our repetitions together")
    ahead = (found["difference"] > 0).groupby(
        [found["dataset"], found["compared"], who], sort=False
    )
    counts = ahead.agg(["sum", "size"])
    parts = []
    for (dataset, compared), each in counts.groupby(["dataset", "compared"], sort=False):
        of_each = [f"{name[2]} {row['sum']} of {row['size']}" for name, row in each.iterrows()]
        parts.append(f"{tables.title(dataset)}, {compared}: {', '.join(of_each)}")
    for dataset, rho in select(rankings).groupby("dataset", sort=False):
        here = rho[~rho["source"].isin(REPORTS)]
        ends = [f"{signed_range(here[name])} ({name})" for name in REPORTS]
        parts.append(f"{tables.title(dataset)}, our rank correlations: {' and '.join(ends)}")
    return f"Pairs in which the first is ahead. {'; '.join(parts)}"

"""Is Adam or SGD ahead? It depends on the learning rate: slopes from 1e-4 to 1e-3."""

from __future__ import annotations

from typing import Any

import pandas as pd

from mlops_lib import tables
from mlops_lib.plots import Picture, styled
from mlops_lib.study import by_source, figures
from mlops_lib.study.protocol import MODELS, PUBLISHED_EPOCHS, SOURCES
from mlops_lib.study.selection import select
from mlops_lib.study.table_cells import rate_text
from mlops_lib.study.words import signed, signed_range

RATES = (1e-4, 1e-3)
STYLES = dict(zip(MODELS, (("o", "-"), ("s", "--")), strict=True))  # mark and line of a network


def adam_minus_sgd(trainings: dict[str, pd.DataFrame], spread: pd.DataFrame) -> pd.DataFrame:
    """Return Adam's accuracy minus SGD's, as `by_source.differences` does."""
    return by_source.differences(trainings, "optimizer", "adam", "sgd", spread)


def facts(trainings: dict[str, pd.DataFrame], spread: pd.DataFrame) -> dict[str, Any]:
    """Return how many pairs Adam leads at each rate, and 1e-3 with each optimizer.

    adam: by rate, and sgd_rate, adam_rate: `by_source.counts` by source. Empty where our runs have
    no pair.
    """
    table = adam_minus_sgd(trainings, spread)
    if select(table, source=SOURCES[2]).empty:
        return {}
    rates = by_source.differences(trainings, "lr", 1e-3, 1e-4, spread)
    return {
        "adam": {
            rate_text(rate): by_source.counts(select(table, lr=rate)).to_dict("index")
            for rate in RATES
        },
        **{
            f"{name}_rate": by_source.counts(select(rates, optimizer=name)).to_dict("index")
            for name in ("sgd", "adam")
        },
    }


@styled()
def draw(table: pd.DataFrame, finding: str) -> Picture:
    """Show Adam minus SGD at both rates, a line for each pair, a panel for dataset and source."""
    datasets = [name for name in PUBLISHED_EPOCHS if name in set(table["dataset"])]
    figure, axes = figures.panels(
        len(datasets), 3, 1.1 + 1.75 * len(datasets), sharey="row", sharex=True
    )
    colours = dict(zip(MODELS, figures.colours(2), strict=True))
    for dataset, row in zip(datasets, axes, strict=True):
        of_dataset = select(table, dataset=dataset)
        low, high = figures.limits(of_dataset["difference"])
        for source, axis in zip(SOURCES, row, strict=True):
            here = select(of_dataset, source=source)
            for (model, _), line in here.groupby(["model", "batch_size"]):
                mark, dashes = STYLES[model]
                line = line.sort_values("lr")
                axis.plot(
                    line["lr"].map(RATES.index), line["difference"], marker=mark, markersize=4.5,
                    linestyle=dashes, color=colours[model], label=tables.title(model),
                )  # fmt: skip
            for pair in here[here["difference"] < low].to_dict("records"):
                figures.arrow_down(
                    axis, RATES.index(pair["lr"]), signed(pair["difference"], 1), beside=True
                )
            axis.axhline(0, color=figures.text_colour(), linewidth=1)
            axis.set(ylim=(low, high), xlim=(-0.25, 1.25), xticks=range(len(RATES)))
            axis.set_xticklabels(map(rate_text, RATES))
            axis.grid(visible=False, axis="x")
        row[0].set_ylabel(tables.title(dataset), fontsize=11.5)
    for source, axis in zip(SOURCES, axes[0], strict=True):
        axis.set_title(source, fontsize=11.5)
    axes[-1, 1].set_xlabel("learning rate", fontsize=11)
    figure.supylabel("Adam minus SGD (points)", fontsize=11)
    handles = dict(zip(*reversed(axes[0, 0].get_legend_handles_labels()), strict=True))
    figure.legend(handles.values(), handles.keys(), **figures.LEGEND_BELOW)
    return figures.finished(figure, finding, _described(table))


def _described(table: pd.DataFrame) -> str:
    """Return the range of differences by source, dataset and rate."""
    parts = [
        f"{source}, {tables.title(dataset)}, {rate_text(rate)}: {signed_range(some['difference'])}"
        for (source, dataset, rate), some in table.groupby(["source", "dataset", "lr"], sort=False)
    ]
    return f"Adam minus SGD in points. {'; '.join(parts)}"

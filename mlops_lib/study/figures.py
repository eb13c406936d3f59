"""The figures of the result pages: DataFrames of the page modules → pictures."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.ticker import LogLocator, NullFormatter

from mlops_lib.plots import PALETTE, Picture, picture, styled
from mlops_lib.study.q1a import MEASURED, MEASURED_ON_LESS

BLUE, ORANGE = sns.color_palette(PALETTE)[:2]
MARKS: dict[str, dict[str, Any]] = {  # how they are drawn
    "report A": {"color": BLUE, "marker": "o"},
    "report B": {"color": ORANGE, "marker": "D"},
    MEASURED: {"color": ".15", "marker": "s"},
    MEASURED_ON_LESS: {"color": ".55", "marker": "s", "markerfacecolor": "white"},
}
SHOWN_BELOW = 2.0  # per cent: how far the accuracy axis of `cost` goes on below its lines
ABOVE: dict[str, Any] = {"loc": "lower center", "bbox_to_anchor": (0.5, 1), "ncols": 2}  # legends


def _mnist_first(table: pd.DataFrame) -> list[str]:
    return sorted(table["dataset"].unique(), key=lambda name: (name != "MNIST", name))


@styled()
def reports_and_measured(table: pd.DataFrame) -> Picture:
    """Show accuracy of report A, report B and this study for each published configuration.

    Columns: dataset, model, configuration, source, accuracy, low, high (per cent).
    """
    sources = [name for name in MARKS if name in set(table["source"])]
    rows = pd.unique(table["configuration"])
    grid = sns.FacetGrid(
        table, row="dataset", col="model", sharex=False, height=0.5 * (1 + len(rows)), aspect=1.25
    )
    for facet, axis in grid.axes_dict.items():
        here = table[(table["dataset"] == facet[0]) & (table["model"] == facet[1])]
        for number, source in enumerate(sources):
            marks = here[here["source"] == source]
            offset = 0.27 * (min(number, 2) - 1)  # a configuration is measured in full or on less
            y = pd.Index(rows).get_indexer(marks["configuration"]) + offset
            axis.plot(marks["accuracy"], y, label=source, linestyle="", **MARKS[source])
            axis.hlines(y, marks["low"], marks["high"], color=MARKS[source]["color"], zorder=1)
        axis.set(yticks=range(len(rows)), yticklabels=rows, ylim=(len(rows) - 0.5, -0.5))
        axis.grid(visible=False, axis="y")
        for line in range(1, len(rows)):
            axis.axhline(line - 0.5, color=".85", linewidth=1)
    grid.set_axis_labels("test accuracy (%)", "")
    grid.set_titles("{row_name}, {col_name}")
    grid.figure.legend(*axis.get_legend_handles_labels(), **(ABOVE | {"ncols": 4}))
    alt = f"Accuracy by configuration: {', '.join(sources)}; the values are in the table above"
    return picture(grid.figure, alt)


@styled()
def speed(table: pd.DataFrame) -> Picture:
    """Show images per second of each run of Q2: columns run, device, images_per_second."""
    figure, axis = plt.subplots(figsize=(8, 0.6 + 0.4 * max(1, len(table))))
    sns.stripplot(
        table, x="images_per_second", y="run", hue="device", ax=axis, size=9, jitter=False
    )
    axis.set(xscale="log", xlabel="training images per second (logarithmic scale)", ylabel="")
    axis.grid(visible=True, axis="both")
    rates = [f"{run.run} {run.images_per_second:.0f}" for run in table.itertuples()]
    return picture(figure, f"Training images per second: {'; '.join(rates) or 'none measured'}")


@styled()
def layers(table: pd.DataFrame) -> Picture:
    """Show how many weights of each layer can learn, and how many can't.

    Columns model, layer, weights, dead.
    """
    numbers = table.groupby("model").cumcount()
    long = table.assign(learn=table["weights"] - table["dead"], number=numbers).melt(
        ["model", "number"], ["dead", "learn"], "kind", "count"
    )
    long["kind"] = long["kind"].map({"dead": "never learn", "learn": "learn"})
    grid = sns.displot(
        long, x="number", hue="kind", weights="count", col="model", multiple="stack", shrink=0.9,
        discrete=True, hue_order=["learn", "never learn"], height=3.4, aspect=1.5,
        common_bins=False, facet_kws={"sharex": False},
    )  # fmt: skip
    grid.set_axis_labels("convolutions, first to last", "weights")
    grid.set_titles("{col_name}")
    grid.set(xticks=[])
    totals = table.groupby("model", sort=False)[["dead", "weights"]].sum()
    shares = [f"{name} {row.dead:,} of {row.weights:,}" for name, row in totals.iterrows()]
    return picture(grid.figure, f"Weights of convolutions that never learn: {'; '.join(shares)}")


@styled()
def growth(table: pd.DataFrame) -> Picture:
    """Show accuracy and seconds over the number of training images, a line for each method.

    Columns dataset, method, images, accuracy, seconds.
    """
    long = table.melt(["dataset", "method", "images"], ["accuracy", "seconds"], "measure")
    grid = sns.relplot(
        long, x="images", y="value", hue="method", style="method", row="measure", col="dataset",
        kind="line", markers=True, height=2.6, aspect=1.6, facet_kws={"sharey": "row"},
        col_order=_mnist_first(table),
    )  # fmt: skip
    grid.set(xscale="log")
    for (measure, _), axis in grid.axes_dict.items():
        axis.set(ylabel={"accuracy": "test accuracy (%)", "seconds": "seconds"}[measure])
        if measure == "seconds":
            axis.set_yscale("log")
    grid.set_titles("{col_name}")
    grid.set_axis_labels("training images")
    sns.move_legend(grid, title=None, **ABOVE)
    return picture(grid.figure, "Accuracy and time of SVM and ResNet-18 by training images")


@styled()
def cost(table: pd.DataFrame) -> Picture:
    """Show accuracy over training time, the runs that none beats in both joined by a line.

    Columns dataset, method, machine (each has its marks and line), seconds, accuracy, best. Runs
    far below all lines are counted.
    """
    machines = list(pd.unique(table["machine"]))
    grid = sns.relplot(
        table, x="seconds", y="accuracy", hue="method", style="machine", col="dataset", s=60,
        style_order=machines, col_order=_mnist_first(table), height=3.2, aspect=1.3,
        facet_kws={"sharey": False},
    )  # fmt: skip
    for dataset, axis in grid.axes_dict.items():
        here = table[table["dataset"] == dataset]
        best = here[here["best"]]
        sns.lineplot(
            best, x="seconds", y="accuracy", style="machine", style_order=machines, color=".4",
            estimator=None, linewidth=1, zorder=0, legend=False, ax=axis,
        )  # fmt: skip
        lowest = best["accuracy"].min() - SHOWN_BELOW
        below = here["accuracy"][here["accuracy"] < lowest]
        if len(below):
            axis.set_ylim(lowest, best["accuracy"].max() + 0.1 * SHOWN_BELOW)
            text = f"{len(below)} more further down, to {below.min():.1f} %"
            axis.text(0.98, 0.03, text, transform=axis.transAxes, ha="right", fontsize="small")
    grid.set(xscale="log")
    for axis in grid.axes.flat:  # times may lie within a factor of ten
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.xaxis.set_major_formatter("{x:g}")
        axis.xaxis.set_minor_formatter(NullFormatter())
    grid.set_axis_labels("training time (s)", "test accuracy (%)")
    grid.set_titles("{col_name}")
    sns.move_legend(grid, **ABOVE)
    return picture(grid.figure, "Accuracy over training time; the table below has the values")

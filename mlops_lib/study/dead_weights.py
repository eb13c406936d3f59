"""Weights that can never learn at 28×28: the taps of kernels that only ever meet padding."""

from __future__ import annotations

import pandas as pd

from mlops_lib import paths
from mlops_lib.plots import Picture, styled
from mlops_lib.study import figures


def by_layer() -> pd.DataFrame:
    """Return how many weights of each convolution can never learn at 28×28.

    Columns model, layer, weights, dead; layers in the order of the forward pass. They are read
    from a table, which a test counts again: the book is built without PyTorch, too.
    """
    return pd.read_csv(paths.BOOK / "dead_weights.csv")


def by_model(layers: pd.DataFrame) -> pd.DataFrame:
    """Return the sums of `by_layer` by network: weights, dead, share (of weights, 0 to 1)."""
    sums = layers.groupby("model", sort=False)[["weights", "dead"]].sum()
    return sums.assign(share=sums["dead"] / sums["weights"])


def table(layers: pd.DataFrame) -> pd.DataFrame:
    """Lay out `by_model`: a row for each network."""
    sums = by_model(layers)
    return pd.DataFrame(
        {
            "Weights of convolutions": sums["weights"].map("{:,}".format),
            "Can never learn": sums["dead"].map("{:,}".format),
            "Share": (100 * sums["share"]).map("{:.1f} %".format),
        }
    ).rename_axis(index="Network")


@styled()
def draw(layers: pd.DataFrame, finding: str) -> Picture:
    """Show the weights of each convolution that learn, and above them those that never do."""
    models = layers["model"].unique()
    figure, axes = figures.panels(len(models), 1, 0.9 + 2.0 * len(models))
    learn, dead = figures.colours(2)
    for model, axis in zip(models, axes[:, 0], strict=True):
        here = layers[layers["model"] == model].reset_index(drop=True)
        alive = (here["weights"] - here["dead"]) / 1e6
        axis.bar(here.index, alive, color=learn, label="learn")
        axis.bar(here.index, here["dead"] / 1e6, bottom=alive, color=dead, label="never learn")
        axis.set(xticks=[], ylabel="weights (millions)")
        axis.set_title(model, fontsize=11.5, loc="left")
    axes[-1, 0].set_xlabel("convolutions, first to last", fontsize=11)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), **figures.LEGEND_BELOW)
    sums = by_model(layers)
    shares = [f"{row.Index}: {row.dead:,} of {row.weights:,}" for row in sums.itertuples()]
    return figures.finished(figure, finding, f"Weights that never learn, {'; '.join(shares)}")

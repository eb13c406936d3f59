"""DataFrames and arrays → figures (seaborn).

Every function returns a picture: a notebook shows it once, as the value of its cell; the book shows
it in the colours of the page, light or dark. All draw in the style of `styled`, and leave
matplotlib's settings as they were.
"""

from __future__ import annotations

import io
import os
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image

from mlops_lib import dark, tables

PALETTE = "colorblind"
COLOURS = 80  # of a PNG: a third of the bytes, and no difference that one sees
BOTH_THEMES = "MLOPS_BOTH_THEMES"  # set where the book's pages are executed


@contextmanager
def styled() -> Iterator[None]:
    """Draw in the book's style within this context, or in the function that this decorates.

    It starts from matplotlib's defaults: the user's `matplotlibrc` may ask for LaTeX, or for
    pictures of 600 dpi.
    """
    with plt.style.context("default"):
        sns.set_theme("notebook", "whitegrid", PALETTE, color_codes=False)
        plt.rcParams.update({"figure.dpi": 80, "figure.subplot.wspace": 0.3})
        plt.rcParams["svg.hashsalt"] = "mlops"
        yield


@dataclass(frozen=True)
class Picture:
    """A closed figure, and the sentence that says what it shows to those who don't see it."""

    figure: Figure
    alt: str

    def png(self) -> bytes:
        """Return the figure as a small PNG file."""
        small = io.BytesIO()
        drawn = Image.open(io.BytesIO(self._saved("png")))
        drawn.convert("RGB").quantize(COLOURS).save(small, "png", optimize=True)
        return small.getvalue()

    @styled()
    def _saved(self, form: str) -> bytes:
        """Return the figure as a file of this form; equal figures give equal files."""
        file = io.BytesIO()
        undated = {"Date": None} if form == "svg" else None
        self.figure.savefig(file, format=form, bbox_inches=self._box, metadata=undated)
        return file.getvalue()

    @cached_property
    def _box(self) -> Any:
        """The box that "tight" stands for, found without drawing everything a first time."""
        return self.figure.get_tightbbox().padded(plt.rcParams["savefig.pad_inches"])

    @styled()  # ticks that are made anew have the colours of the settings
    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, str], dict[str, Any]]:
        if not os.environ.get(BOTH_THEMES):
            return self._bundle("image/png", b64encode(self.png()).decode())
        light = self._svg_text()
        with dark.colours(self.figure):
            return self._bundle("image/svg+xml", light, dark=self._svg_text())

    def _bundle(
        self, kind: str, image: str, **themes: str
    ) -> tuple[dict[str, str], dict[str, Any]]:
        return {kind: image, "text/plain": self.alt}, {kind: {"alt": self.alt, **themes}}

    def _svg_text(self) -> str:
        return self._saved("svg").decode()


def picture(figure: Figure, alt: str) -> Picture:
    """Close a figure and return it with its description."""
    plt.close(figure)
    return Picture(figure, alt)


@styled()
def image_grid(images: np.ndarray, titles: Sequence[str], about: str, columns: int = 5) -> Picture:
    """Show images, uint8 (n, H, W), each below its title, all below what they are about."""
    rows = max(1, -(-len(images) // columns))
    height, width = images.shape[1:]
    cell_h, cell_w = 1.55 * height, 1.25 * width  # with room for the title
    figure = plt.figure(figsize=(1.6 * columns, 1.98 * rows))
    axis = figure.add_axes((0, 0, 1, 1))
    for number, (image, text) in enumerate(zip(images, titles, strict=True)):
        row, column = divmod(number, columns)
        left, top = column * cell_w, row * cell_h
        extent = (left, left + width, top + height, top)
        axis.imshow(image, cmap="gray_r", vmin=0, vmax=255, extent=extent)
        axis.text(
            left + width / 2, top - 0.06 * height, text, ha="center", va="bottom", fontsize=12
        )
    axis.set(xlim=(0, columns * cell_w), ylim=(rows * cell_h - 0.4 * height, -0.5 * height))
    axis.axis("off")
    axis.set_title(about, loc="left", fontsize=12)
    return picture(figure, f"{about}: {'; '.join(titles) or 'none'}".replace("\n", " "))


def samples(images: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> Picture:
    """Show the first image of every class: images (n, H, W), labels int (n,)."""
    _, first = np.unique(labels, return_index=True)
    titles = [names[label] for label in labels[first]]
    return image_grid(images[first], titles, "One image of each class")


@styled()
def curves(epochs: Sequence[Any], step_losses: Sequence[float]) -> Picture:
    """Show the training loss by step, and loss and accuracy on the validation split by epoch.

    `epochs` are what `train.fit` recorded; steps are joined in a running mean.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4))
    at_step = np.arange(1, len(step_losses) + 1) / len(step_losses) * len(epochs)
    window = max(1, len(step_losses) // 50)
    smooth = pd.Series(step_losses).rolling(window, min_periods=1).mean()
    ends = np.arange(1, len(epochs) + 1)
    sns.lineplot(x=at_step, y=smooth, ax=left, label=f"training, mean of {window} steps")
    losses, accuracies = zip(*((e.val_loss, 100 * e.val_accuracy) for e in epochs), strict=True)
    sns.lineplot(x=ends, y=losses, ax=left, label="validation", marker="o")
    left.set(xlabel="epoch", ylabel="cross-entropy loss")
    if any(0 < loss < np.inf for loss in (*step_losses, *losses)):  # else there is no such scale
        left.set(yscale="log")
    sns.lineplot(x=ends, y=accuracies, ax=right, marker="o")
    right.set(xlabel="epoch", ylabel="validation accuracy (%)")
    right.xaxis.set_major_locator(MaxNLocator(integer=True))
    alt = (
        f"On the validation images, loss {losses[0]:.3f} and accuracy {accuracies[0]:.2f} % after "
        f"epoch 1, {losses[-1]:.3f} and {accuracies[-1]:.2f} % after epoch {len(epochs)}"
    )
    return picture(figure, alt)


@styled()
def confusion(matrix: Any, names: Sequence[str]) -> Picture:
    """Show a confusion matrix (true, predicted) in per cent of each true class."""
    matrix = np.asarray(matrix)
    share = 100 * matrix / np.maximum(1, matrix.sum(axis=1, keepdims=True))
    figure, axis = plt.subplots(figsize=(7, 5.6))
    shown = np.where(share < 0.05, "", np.char.mod("%.1f", share))  # no zeros to look past
    sns.heatmap(
        share, annot=shown, fmt="", cmap="Blues", vmin=0, vmax=100, ax=axis,
        xticklabels=names, yticklabels=names, cbar_kws={"label": "% of true class"},
        annot_kws={"fontsize": 8},
    )  # fmt: skip
    axis.set(xlabel="predicted", ylabel="true")
    off = share - np.diag(share.diagonal())
    true, predicted = np.unravel_index(off.argmax(), off.shape)
    worst = (
        f"The most frequent mistake: {off.max():.1f} % of the images of {names[true]} are called "
        f"{names[predicted]}"
    )
    return picture(figure, f"Confusion matrix. {worst if off.any() else 'No mistake'}")


def mistakes(
    images: np.ndarray,
    labels: np.ndarray,
    logits: np.ndarray,
    names: Sequence[str],
    count: int = 10,
) -> Picture:
    """Show the wrong answers that the network was surest of.

    images uint8 (n, H, W), labels int (n,), logits float (n, classes).
    """
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    confidence = shifted.max(axis=1) / shifted.sum(axis=1)
    predicted = logits.argmax(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    surest = wrong[np.argsort(-confidence[wrong], kind="stable")][:count]
    sure = [tables.percent_text(share, decimals=0) for share in 100 * confidence]
    titles = [f"{names[predicted[i]]} {sure[i]}\nis {names[labels[i]]}" for i in surest]
    return image_grid(images[surest], titles, "Misclassified images")


@styled()
def search(rows: Sequence[dict[str, Any]]) -> Picture:
    """Show validation accuracy over C, a line for each gamma, a panel for each degree."""
    table = pd.DataFrame(rows).assign(
        accuracy=[100 * row["val_accuracy"] for row in rows],
        gamma=[str(row["gamma"]) for row in rows],
        panel=["" if row["degree"] is None else f"degree {row['degree']}" for row in rows],
    )
    grid = sns.relplot(
        table, x="C", y="accuracy", hue="gamma", style="gamma", markers=True, dashes=False,
        col="panel", kind="line", height=3.2, aspect=1 if table["panel"].nunique() > 1 else 2,
    )  # fmt: skip
    grid.set(xscale="log")
    grid.set_axis_labels("C", "validation accuracy (%)")
    grid.set_titles("{col_name}")
    best = table.loc[table["accuracy"].idxmax()]
    setting = ", ".join(filter(None, (f"C {best['C']:g}", best["panel"], f"gamma {best['gamma']}")))
    return picture(grid.figure, f"Best: {best['accuracy']:.2f} % on validation images, {setting}")

"""DataFrames and arrays → figures (seaborn).

Every function returns a closed figure: a notebook shows it once, as the value of its cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

sns.set_theme(context="notebook", style="whitegrid", palette="colorblind")
plt.rcParams.update({"figure.dpi": 80, "figure.subplot.wspace": 0.3})
SOURCES = ("report A", "report B", "measured here")


def _closed(figure: Figure) -> Figure:
    plt.close(figure)
    return figure


def image_grid(images: np.ndarray, titles: Sequence[str], columns: int = 10) -> Figure:
    """Show images, uint8 (n, H, W), each below its title."""
    rows = max(1, -(-len(images) // columns))
    height, width = images.shape[1:]
    cell_h, cell_w = 1.55 * height, 1.25 * width  # with room for the title
    figure = plt.figure(figsize=(1.1 * columns, 1.36 * rows))
    axis = figure.add_axes((0, 0, 1, 1))
    for number, (image, text) in enumerate(zip(images, titles, strict=True)):
        row, column = divmod(number, columns)
        left, top = column * cell_w, row * cell_h
        extent = (left, left + width, top + height, top)
        axis.imshow(image, cmap="gray_r", vmin=0, vmax=255, extent=extent)
        axis.text(left + width / 2, top - 0.06 * height, text, ha="center", va="bottom", fontsize=9)
    axis.set(xlim=(0, columns * cell_w), ylim=(rows * cell_h - 0.4 * height, -0.5 * height))
    axis.axis("off")
    return _closed(figure)


def samples(images: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> Figure:
    """Show the first image of every class: images (n, H, W), labels int (n,)."""
    _, first = np.unique(labels, return_index=True)
    return image_grid(images[first], [names[label] for label in labels[first]])


def curves(epochs: Sequence[Any], step_losses: Sequence[float]) -> Figure:
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
    left.set(xlabel="epoch", ylabel="cross-entropy loss", yscale="log")
    sns.lineplot(x=ends, y=accuracies, ax=right, marker="o")
    right.set(xlabel="epoch", ylabel="validation accuracy (%)", xticks=ends)
    return _closed(figure)


def confusion(matrix: Any, names: Sequence[str]) -> Figure:
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
    return _closed(figure)


def mistakes(
    images: np.ndarray,
    labels: np.ndarray,
    logits: np.ndarray,
    names: Sequence[str],
    count: int = 10,
) -> Figure:
    """Show the wrong answers that the network was surest of.

    images uint8 (n, H, W), labels int (n,), logits float (n, classes).
    """
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    confidence = shifted.max(axis=1) / shifted.sum(axis=1)
    predicted = logits.argmax(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    surest = wrong[np.argsort(-confidence[wrong], kind="stable")][:count]
    titles = [f"{names[predicted[i]]} {confidence[i]:.0%}\nis {names[labels[i]]}" for i in surest]
    return image_grid(images[surest], titles)


def search(rows: Sequence[dict[str, Any]]) -> Figure:
    """Show validation accuracy over C, a line for each degree and gamma of an SVM search."""
    table = pd.DataFrame(rows)
    table["setting"] = [
        ", ".join(f"{name} {row[name]}" for name in ("degree", "gamma") if row[name] is not None)
        for row in rows
    ]
    figure, axis = plt.subplots(figsize=(7, 3.6))
    table["accuracy"] = 100 * table["val_accuracy"]
    sns.lineplot(table, x="C", y="accuracy", hue="setting", style="setting", markers=True, ax=axis)
    axis.set(xscale="log", xlabel="C", ylabel="validation accuracy (%)")
    axis.legend(title=None)
    return _closed(figure)


def reports_and_measured(table: pd.DataFrame) -> Figure:
    """Show accuracy of report A, report B and this study for each published configuration.

    Columns: dataset, model, configuration, source, accuracy, low, high (per cent).
    """
    sources = [name for name in SOURCES if name in set(table["source"])]
    grid = sns.relplot(
        table, x="accuracy", y="configuration", hue="source", style="source", col="model",
        hue_order=sources, style_order=sources,
        row="dataset", facet_kws={"sharex": False}, height=3.2, aspect=1.5, s=70,
    )  # fmt: skip
    measured = table[table["low"] < table["high"]]
    for facet, axis in grid.axes_dict.items():
        here = measured[(measured["dataset"] == facet[0]) & (measured["model"] == facet[1])]
        axis.hlines(here["configuration"], here["low"], here["high"], color=".3", zorder=0)
    grid.set_axis_labels("test accuracy (%)", "")
    grid.set_titles("{row_name}, {col_name}")
    return _closed(grid.figure)


def speed(table: pd.DataFrame) -> Figure:
    """Show images per second of each run of Q2: columns run, device, images_per_second."""
    figure, axis = plt.subplots(figsize=(8, 0.6 + 0.5 * max(1, len(table))))
    sns.barplot(table, x="images_per_second", y="run", hue="device", ax=axis, dodge=False)
    axis.set(xlabel="training images per second", ylabel="")
    return _closed(figure)

"""What the figures of the story share: their size, titles, colours and arrows."""

from __future__ import annotations

import textwrap
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from mlops_lib.plots import Picture, picture

WIDTH = 5.6  # inches: legible on a phone, where it becomes three quarters of that
SMALL = 10  # points: no text is smaller
TITLE_LETTERS = 56  # in a line
FAR = 5.0  # interquartile ranges outside the quartiles: an arrow at the edge instead of a mark
LEGEND_BELOW: dict[str, Any] = {
    "loc": "outside lower center", "ncols": 3, "frameon": False, "handletextpad": 0.4,
    "columnspacing": 1.2,
}  # fmt: skip


def panels(rows: int, columns: int, height: float, **options: Any) -> tuple[Figure, np.ndarray]:
    """Return a figure of the story's width and its axes, object (rows, columns)."""
    figure, axes = plt.subplots(
        rows, columns, figsize=(WIDTH, height), layout="constrained", squeeze=False, **options
    )
    for axis in axes.flat:
        axis.tick_params(labelsize=SMALL)
    return figure, axes


def finished(figure: Figure, finding: str, seen: str) -> Picture:
    """Put the finding above a figure, and return it with what is seen in it as its description."""
    title = textwrap.fill(finding, TITLE_LETTERS)
    figure.suptitle(title, x=0, ha="left", fontsize=12.5, fontweight="bold")
    figure.draw_without_rendering()  # lays it out: its box is measured before it is drawn
    figure.set_layout_engine("none")
    return picture(figure, f"{finding}. {seen}")


def colours(count: int) -> list[Any]:
    """Return the first colours of the style."""
    return sns.color_palette(n_colors=count)


def text_colour() -> Any:
    """Return the style's colour of text: lines that have no colour of their own take it."""
    return plt.rcParams["text.color"]


def limits(values: ArrayLike, margin: float = 0.08) -> tuple[float, float]:
    """Return the ends of an axis for these values: `FAR` ones are left outside."""
    values = np.asarray(values, dtype=float)
    lower, upper = np.percentile(values, [25, 75])
    reach = FAR * (upper - lower)
    inside = values[(values >= lower - reach) & (values <= upper + reach)]
    room = margin * ((inside.max() - inside.min()) or 1.0)
    return float(inside.min() - room), float(inside.max() + room)


def arrow_down(axis: Axes, x: float, text: str, beside: bool = False) -> None:
    """Mark at the lower edge of an axis what lies below it, in data units of x.

    The text stands above the arrow or, where marks are in the way, left of it.
    """
    across = axis.get_xaxis_transform()  # x of the data, y of the axis
    axis.annotate(
        "", (x, 0), (x, 0.16), xycoords=across, textcoords=across, annotation_clip=False,
        arrowprops={"arrowstyle": "-|>", "color": text_colour(), "shrinkA": 0, "shrinkB": 0},
    )  # fmt: skip
    (place, where) = ((0.08, "right"), (0.16, "center"))[not beside]
    offset = (-5, 0) if beside else (0, 1)
    axis.annotate(text, (x, place), offset, across, "offset points", ha=where, fontsize=9)


def arrow_left(axis: Axes, y: float, text: str) -> None:
    """Mark at the left edge of an axis what lies below its limits, in data units of y."""
    along = axis.get_yaxis_transform()
    axis.annotate(
        "", (0, y), (0.14, y), xycoords=along, textcoords=along, annotation_clip=False,
        arrowprops={"arrowstyle": "-|>", "color": text_colour(), "shrinkA": 0, "shrinkB": 0},
    )  # fmt: skip
    axis.annotate(text, (0.16, y), xycoords=along, va="center", fontsize=SMALL)

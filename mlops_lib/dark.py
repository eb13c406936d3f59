"""A figure's colours on a dark page: greys are turned over, hues stay.

Figures are drawn for a white page. `colours` redraws nothing: within it, what is grey (text, axes,
grids, marks) has the colour that stands out as much from a dark page, and text is lightened where
it has a hue. Text on a filled area and whatever a colour map colours stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import Collection
from matplotlib.colors import to_rgba_array
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Annotation, Text

PAGE, INK = to_rgba_array(["#121212", "#dfe5ea"])[:, :3]  # of the book's theme, in dark mode
GREY = 0.08  # the widest range of red, green and blue that has no hue
TINT = 0.35  # of white, in text with a hue
COLOURS: dict[type[Artist], tuple[str, ...]] = {
    Line2D: ("color", "markerfacecolor", "markeredgecolor"),
    Text: ("color",),
    Patch: ("facecolor", "edgecolor"),
    Collection: ("facecolor", "edgecolor"),
}


@contextmanager
def colours(figure: Figure) -> Iterator[None]:
    """Give a figure, drawn before, the colours of a dark page within this context."""
    with ExitStack() as undo:
        for artist in _artists(figure):
            before = _colours_of(artist)
            undo.callback(artist.set, **before)
            artist.set(**{name: _on_dark(colour, artist) for name, colour in before.items()})
        yield


def _artists(figure: Figure) -> list[Artist]:
    """Return the artists that change: not what a colour map colours, and no text on an area."""
    found = figure.findobj()
    boxes: list[Artist]
    boxes = [box for text in figure.findobj(Text) if (box := text.get_bbox_patch())]
    boxes += [arrow for of in figure.findobj(Annotation) if (arrow := of.arrow_patch)]
    on_areas = {text for axis in figure.axes for text in axis.texts if _is_on_area(text, axis)}
    return [artist for artist in [*found, *boxes] if artist not in on_areas and not _mapped(artist)]


def _mapped(artist: Artist) -> bool:
    return isinstance(artist, ScalarMappable) and artist.get_array() is not None


def _is_area(artist: Artist) -> bool:
    """Return whether text may lie on an artist's own colour: an image or an opaque filled patch."""
    if isinstance(artist, Patch):
        (*rgb, opacity), *_ = to_rgba_array(artist.get_facecolor())
        return artist.get_fill() and opacity > 0.5 and np.ptp(rgb) >= GREY
    return isinstance(artist, AxesImage | Collection) and _mapped(artist)


def _is_on_area(text: Text, axis: Axes) -> bool:
    box = text.get_bbox_patch()
    if box is not None and _is_area(box):
        return True
    extent = text.get_window_extent()
    centre = (extent.x0 + extent.x1) / 2, (extent.y0 + extent.y1) / 2
    areas = filter(_is_area, axis.get_children())
    return any(area.get_window_extent().contains(*centre) for area in areas)


def _colours_of(artist: Artist) -> dict[str, Any]:
    """Return an artist's colours by their names; those it does not have are left out."""
    names = next((names for kind, names in COLOURS.items() if isinstance(artist, kind)), ())
    colours = {name: getattr(artist, f"get_{name}")() for name in names}
    return {name: colour for name, colour in colours.items() if len(to_rgba_array(colour))}


def _on_dark(colour: Any, artist: Artist) -> Any:
    """Return what a colour, or each of a collection's, is on a dark page."""
    rows = to_rgba_array(colour)
    greys = rows[:, :3].mean(axis=1, keepdims=True)
    hues = rows[:, :3] + TINT * (1 - rows[:, :3]) * isinstance(artist, Text)
    is_grey = np.ptp(rows[:, :3], axis=1, keepdims=True) < GREY
    rows[:, :3] = np.where(is_grey, INK + greys * (PAGE - INK), hues)
    return rows if isinstance(artist, Collection) else tuple(rows[0])

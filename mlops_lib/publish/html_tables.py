"""DataFrames → HTML tables as the book's pages show them; a sentence where there is nothing yet."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pandas as pd
from IPython.display import HTML, Markdown

from mlops_lib.study.table_cells import NOT_YET, RUN_PAGES

if TYPE_CHECKING:  # its library takes two seconds
    from mlops_lib.plots import Picture

LINK = re.compile(rf"\[([^\]]+)\]\(({RUN_PAGES}[^()]+)\)")
RATE = r"\b[\d.]+e-\d+\b"
RATE_IN_HTML = re.compile(rf"{RATE}(?![^<>]*>)")  # not within a tag
NUMBER = re.compile("<td>(?=[^A-Za-z<]+</td>)")  # a cell without words


def page(
    table: pd.DataFrame, wrap: bool = False, filters: dict[str, list[str]] | None = None
) -> HTML | Markdown:
    """Return a table as a page shows it: escaped, nothing cut off, a line for each part (`;`).

    A cell's `[text](runs/…)` is a link to a run's page. `wrap` lets long texts take several lines.
    In the book, its columns sort by a click. `filters` are menus above it: a label and the words by
    which rows are chosen. The levels of an index become one column: the first, which stays in sight
    where a table is wider than the screen. Without rows it is `Not run yet.`
    """
    if table.empty:
        return Markdown(NOT_YET)
    if table.index.nlevels > 1:
        name = ", ".join(table.index.names).capitalize()
        rows = [", ".join(map(str, levels)) for levels in table.index]
        table = table.set_axis(pd.Index(rows, name=name))
    if not isinstance(table.index, pd.RangeIndex):
        table = table.reset_index(col_level=-1)
    classes = "sortable wrapped" if wrap else "sortable"
    written = table.map(_cell).to_html(
        escape=False, border=0, justify="left", index=False, classes=classes
    )
    written = NUMBER.sub('<td class="number">', written)  # these stay on one line
    if filters:
        menus = html.escape(json.dumps(filters))
        written = written.replace(">", f' data-filters="{menus}">', 1)
    return HTML(written)


def _cell(value: Any) -> str:
    text = "<br>".join(map(html.escape, str(value).split("; ")))
    linked = LINK.sub(r'<a href="\2.html">\1</a>', text)
    return RATE_IN_HTML.sub(r'<span class="rate">\g<0></span>', linked)  # kept on one line


def figure(table: pd.DataFrame, draw: Callable[[pd.DataFrame], Picture]) -> Picture | Markdown:
    """Return a table's figure; without rows it is `Not run yet.`"""
    return Markdown(NOT_YET) if table.empty else draw(table)

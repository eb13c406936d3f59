"""Sentences of pages: small Jinja templates, which stand in the pages, filled with results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
from IPython.display import Markdown

from mlops_lib import tables
from mlops_lib.study.table_cells import NOT_YET


def listed(words: Sequence[Any]) -> str:
    """Return `a, b and c`; of nothing `none`."""
    if not words:
        return "none"
    *others, last = map(str, words)
    return f"{', '.join(others)} and {last}" if others else last


def signed(points: float, decimals: int = 2) -> str:
    """Return a number with its sign: `+0.71`, `−0.71`."""
    return f"{points:+.{decimals}f}".replace("-", "−")


def signed_range(values: Sequence[float]) -> str:
    """Return the least and the largest number: `−0.71 to +0.30`; one where they look alike."""
    low, high = signed(min(values)), signed(max(values))
    return low if low == high else f"{low} to {high}"


def times(ends: Sequence[float]) -> str:
    """Return `7.6 to 8.4`, the ends of a range of factors, or one number where they look alike."""
    low, high = (f"{value:.1f}" if value < 100 else f"{value:.0f}" for value in ends)
    return low if low == high else f"{low} to {high}"


TEMPLATES = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True)
TEMPLATES.filters |= {
    "called": tables.title,  # resnet18 → ResNet-18
    "listed": listed,
    "signed": signed,
    "times": times,
    "to": lambda value, form: format(value, form),
}


def fill(template: str, facts: Mapping[str, Any]) -> str:
    """Fill a template with facts, by name; without facts there is no text.

    Raises jinja2.UndefinedError where the template names what is not among them.
    """
    return TEMPLATES.from_string(template).render(facts).strip() if facts else ""


def say(template: str, facts: Mapping[str, Any]) -> Markdown:
    """Return a filled template as a page shows it; without facts, that nothing was run yet."""
    return Markdown(fill(template, facts) or NOT_YET)

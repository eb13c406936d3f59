"""Sentences of pages: small Jinja templates, which stand in the pages, filled with results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
from IPython.display import Markdown

from mlops_lib import tables
from mlops_lib.study.table_cells import NOT_YET, rate_text


def listed(words: Sequence[Any]) -> str:
    """Return `a, b and c`."""
    *others, last = map(str, words)
    return f"{', '.join(others)} and {last}" if others else last


TEMPLATES = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True)
TEMPLATES.filters |= {
    "called": tables.title,  # resnet18 → ResNet-18
    "listed": listed,
    "rate": rate_text,
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

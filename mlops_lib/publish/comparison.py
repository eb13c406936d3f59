"""Two runs side by side, as an HTML page that needs no other file."""

from __future__ import annotations

import html
from base64 import b64encode

import pandas as pd

from mlops_lib import data, plots, tables
from mlops_lib.record import Record

STYLE = """
body { font-family: sans-serif; margin: 2em auto; max-width: 75em; padding: 0 1em }
table { border-collapse: collapse } th, td { padding: 0.2em 1em 0.2em 0; text-align: left }
tr { border-bottom: 1px solid #ccc } figure { display: inline-block; margin: 0 1em 1em 0 }
figure img { max-width: 100% }
"""


def page(first: Record, second: Record) -> str:
    """Return a page with the results of two runs and all their differences."""
    runs = {"first": first, "second": second}
    titles = {side: tables.run_title(run.parameters) for side, run in runs.items()}
    reached = [
        {"Run": side, "Title": titles[side], "Template": run.template,
         "Test accuracy (%), 95 % interval": tables.accuracy_text(run.results),
         "Started": run.started_at}
        for side, run in runs.items()
    ]  # fmt: skip
    parts = {
        "What they reached": _table(pd.DataFrame(reached).set_index("Run")),
        "What differs": _table(tables.compare(first, second)),
        "Confusion matrices": "".join(_matrix(side, run) for side, run in runs.items()),
    }
    if first.parameters["dataset"] == second.parameters["dataset"]:
        parts["Recall of each class (%)"] = _table(recalls(first, second))
    name = html.escape(" | ".join(titles.values()))
    body = "".join(f"<h2>{heading}</h2>\n{content}\n" for heading, content in parts.items())
    return (
        f'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{name}</title>'
        f"<style>{STYLE}</style></head>\n<body>\n<h1>{name}</h1>\n{body}</body>\n</html>\n"
    )


def recalls(first: Record, second: Record) -> pd.DataFrame:
    """Return each class's recall in two runs of one dataset and the difference, in per cent."""
    first_recall, second_recall = (
        100 * tables.per_class(run.results["confusion_matrix"], _names(run))["recall"]
        for run in (first, second)
    )
    both = pd.DataFrame({"first": first_recall, "second": second_recall})
    return both.assign(difference=both["second"] - both["first"]).round(2)


def _names(run: Record) -> tuple[str, ...]:
    """Return the classes' names; their numbers if the record has another number of classes."""
    names = data.class_names(run.parameters["dataset"])
    size = len(run.results["confusion_matrix"])
    return names if len(names) == size else tuple(map(str, range(size)))


def _table(table: pd.DataFrame) -> str:
    return table.to_html(border=0, justify="left", na_rep="", index_names=False)


def _matrix(side: str, run: Record) -> str:
    picture = plots.confusion(run.results["confusion_matrix"], _names(run))
    source = b64encode(picture.png()).decode()
    return (
        f'<figure><figcaption>{side}</figcaption><img alt="{html.escape(picture.alt)}" '
        f'src="data:image/png;base64,{source}"></figure>'
    )

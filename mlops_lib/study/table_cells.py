"""What the cells of the result pages' tables say: accuracies, times, links."""

from __future__ import annotations

from typing import Any

import pandas as pd

from mlops_lib import tables
from mlops_lib.study.protocol import NOT_RUN
from mlops_lib.study.selection import extent
from mlops_lib.study.sources import accuracy_over_seeds

RUN_PAGES = "runs/"  # where the book has them
NOT_YET = "Not run yet."  # in place of a table or a figure
NOTHING = "–"  # in the other cells of a row that says `not run`


def rate_text(rate: float) -> str:
    """Return how text writes a learning rate: `1e-3`."""
    return tables.value_text(float(rate))


def setting_title(run: Any) -> str:
    """Return `Adam 1e-3, batch 32`: optimizer, learning rate and batch size of a training."""
    return f"{tables.title(run['optimizer'])} {rate_text(run['lr'])}, batch {run['batch_size']:.0f}"


def setting_text(name: str, value: Any) -> str:
    """Return how text names the value of a setting: `batch size 16`, `Adam`, `1e-3`."""
    if name == "lr":
        return rate_text(value)
    words = {"batch_size": "batch size", "C": "C"}
    return f"{words[name]} {value:g}" if name in words else tables.title(value)


def over(name: str, first: Any, second: Any) -> str:
    """Return the two values of a setting that are compared: `Adam over SGD`."""
    kind = {"lr": "learning rate ", "batch_size": "batch size "}.get(name, "")
    one, other = (setting_text(name, value).removeprefix(kind) for value in (first, second))
    return f"{kind}{one} over {other}"


def link(run: Any, text: str) -> str:
    """Return a link to a run's page, `[text](runs/…)`, as `publish.html_tables.page` takes it."""
    return f"[{text}]({RUN_PAGES}{run['page']})"


def accuracy_cell(runs: pd.DataFrame, published_epochs: int | None = None) -> str:
    """Return what a table says of the runs taken for one configuration, by seed, or `not run`."""
    if runs.empty:
        return NOT_RUN
    text = tables.interval_text(*accuracy_over_seeds(runs))
    if len(runs) > 1:
        text += f"; mean of {len(runs)} seeds"
    links = [link(run, f"seed {run['seed']}") for run in runs.to_dict("records")]
    less = extent(runs.iloc[0], published_epochs).split(", ")
    parts = filter(None, [*less, *runs["divergence"].unique()])
    return " ".join([text, *links]) + "".join(f"; {part}" for part in parts)


def seconds_text(run: dict[str, Any]) -> str:
    """Return the training time of a run."""
    return timed_text(run, f"{run['seconds']:,.1f}")


def timed_text(run: dict[str, Any], text: str) -> str:
    """Return what is said of a run's time: in brackets where other work took the processor."""
    return text if run["alone"] else f"({text})"


def two_level(rows: list[dict], index: list[str]) -> pd.DataFrame:
    """Return rows, some of their keys (head, column), as a table below two rows of heads."""
    table = pd.DataFrame(rows).set_index(index)
    table.columns = pd.MultiIndex.from_tuples(table.columns)
    return table

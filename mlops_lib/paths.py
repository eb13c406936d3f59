"""Where the project's files lie. Each folder that a user may move has an environment variable."""

from __future__ import annotations

import os
from pathlib import Path

from mlops_lib.params import ParameterError

PROJECT = Path(__file__).resolve().parents[1]
BOOK = PROJECT / "book"
PUBLISHED = BOOK / "published"  # the reports' tables
SUITES = PROJECT / "params"
DEFAULTS = {
    "MLOPS_DATA": PROJECT / "data",
    "MLOPS_RUNS": BOOK / "runs",
    "MLOPS_CHECKPOINTS": PROJECT / ".checkpoints",
    "MLOPS_BUILD": BOOK,
}


def data() -> Path:
    """Return the folder of the datasets: `MLOPS_DATA`, by default `data/`."""
    return _folder("MLOPS_DATA")


def runs() -> Path:
    """Return the folder of notebooks and records: `MLOPS_RUNS`, by default `book/runs/`."""
    return _folder("MLOPS_RUNS")


def checkpoints() -> Path:
    """Return the folder of the checkpoints: `MLOPS_CHECKPOINTS`, by default `.checkpoints/`."""
    return _folder("MLOPS_CHECKPOINTS")


def built() -> Path:
    """Return the folder in which the book is built: `MLOPS_BUILD/_build`, by default `book/`'s."""
    return _folder("MLOPS_BUILD") / "_build"


def _folder(variable: str) -> Path:
    asked = os.environ.get(variable)
    try:
        return Path(asked).expanduser() if asked else DEFAULTS[variable]
    except RuntimeError:  # nobody's home
        raise ParameterError(
            f"{variable}={asked!r} is not allowed: the home folder is not known; write it out"
        ) from None


def make_absolute() -> None:
    """Make relative settings absolute, before processes start that work in another folder."""
    for variable in DEFAULTS:
        if os.environ.get(variable):
            os.environ[variable] = os.path.abspath(_folder(variable))

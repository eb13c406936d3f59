"""A suite: a YAML file of parameter grids → a list of runs.

description: what this suite is for
grids:
  - template: q1a
    fixed: {epochs: 1}                    # the same in every run
    grid: {model: [resnet18, resnet50]}   # every combination of these
    exclude: [{model: resnet50}]          # but not those
    requires: cuda                        # only on machines that have one
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mlops_lib import hardware
from mlops_lib.params import TEMPLATES, ParameterError, Parameters, nearest
from mlops_lib.record import PROJECT

FOLDER = PROJECT / "params"
# What a run's file is named after, in this order; the hash tells apart what these don't.
SLUG_NAMES = ("dataset", "model", "kernel", "optimizer", "lr", "batch_size", "device")


class SuiteError(ParameterError):
    """A suite can't be read, or asks for something that is not allowed."""


@dataclass(frozen=True)
class Run:
    """One template with one set of validated parameters."""

    template: str
    parameters: Parameters

    @property
    def slug(self) -> str:
        """Return the run's file name: readable, unique, only letters, digits, dot and dash."""
        content = self.parameters.model_dump(mode="json")
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        words = [str(content[name]) for name in SLUG_NAMES if name in content]
        return "-".join(re.sub(r"[^a-z0-9.]", "", word) for word in [*words, digest[:8]])


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Grid(_Strict):
    template: Literal["q1a", "q1b", "q2"]
    fixed: dict[str, Any] = {}
    grid: dict[str, list[Any]] = {}
    exclude: list[dict[str, Any]] = []
    requires: Literal["cuda"] | None = None


class _File(_Strict):
    description: str
    grids: list[_Grid] = Field(min_length=1)


def names(folder: Path = FOLDER) -> list[str]:
    """Return the names of all suites."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def load(name: str, folder: Path = FOLDER) -> list[Run]:
    """Read the suite `name` (or a path to a YAML file) and return its runs, each once.

    All parameters are validated here, before anything runs.
    Raises SuiteError, which names file, grid, key and value.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else folder / f"{name}.yaml"
    if not path.exists():
        known = names(folder)
        raise SuiteError(
            f"suite={name!r} is not there: use one of {', '.join(known)}{nearest(name, known)}"
        )
    runs = []
    for number, grid in enumerate(_read(path).grids, start=1):
        place = f"{path.name}, grid {number} ({grid.template})"
        runs += _expand(grid, place)
    return list(dict.fromkeys(runs))


def _read(path: Path) -> _File:
    try:
        return _File.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeError) as error:
        raise SuiteError(f"{path} can't be read: {error}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        reason = getattr(error, "problem", None) or "no YAML"
        raise SuiteError(f"{path.name}{where} is not valid YAML: {reason}") from None
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(map(str, problem["loc"])) or "the file"
        raise SuiteError(
            f"{path.name}: {key}={problem['input']!r} is not allowed: {problem['msg']}"
        ) from None


def _expand(grid: _Grid, place: str) -> list[Run]:
    """Return the runs of one grid."""
    valid = list(TEMPLATES[grid.template].model_fields)
    for name in [*grid.fixed, *grid.grid, *itertools.chain(*grid.exclude)]:
        if name not in valid:
            raise SuiteError(
                f"{place}: {grid.template} has no parameter {name!r}, "
                f"only {', '.join(valid)}{nearest(name, valid)}"
            )
    if grid.requires == "cuda" and not hardware.cuda_is_present():
        return []
    runs = []
    for values in itertools.product(*grid.grid.values()):
        chosen = grid.fixed | dict(zip(grid.grid, values, strict=True))
        if any(excluded.items() <= chosen.items() for excluded in grid.exclude):
            continue
        try:
            runs.append(Run(grid.template, TEMPLATES[grid.template](**chosen)))
        except ParameterError as error:
            raise SuiteError(f"{place}: {error}") from None
    return runs

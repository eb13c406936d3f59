"""A suite: a YAML file of parameter grids → a list of runs.

Such a file::

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
import math
import os
import re
import unicodedata
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mlops_lib import machine, paths
from mlops_lib.messages import first_problem, nearest, shorten
from mlops_lib.params import TEMPLATES, ParameterError, Parameters

# A run's file is named after these, in this order; a hash distinguishes the rest.
SLUG_NAMES = ("dataset", "model", "kernel", "optimizer", "lr", "batch_size", "device")
SUFFIXES = (".yaml", ".yml")
MAX_BYTES = 100_000  # of a suite's file
MAX_NODES = 100_000  # of its YAML, aliases written out
MAX_RUNS = 100_000


class _AsWritten(yaml.SafeLoader):
    """Leave numbers, dates and words such as `on` as text, for `params` to read: YAML 1.1 takes 016
    for 14 and 1:30 for 90."""

    def text(self, node: Any) -> Any:
        return self.construct_scalar(node)


for kind in ("bool", "int", "float", "timestamp"):
    _AsWritten.add_constructor(f"tag:yaml.org,2002:{kind}", _AsWritten.text)


class SuiteError(ParameterError):
    """A suite can't be read, or asks for something that is not allowed."""


@dataclass(frozen=True)
class Run:
    """One template with one set of validated parameters."""

    template: str
    parameters: Parameters
    # On this machine: has it what the grid requires?
    possible: bool = field(default=True, compare=False)
    named_formerly: bool = field(default=False, compare=False)  # with 1e-05 as 1e05

    @cached_property
    def slug(self) -> str:
        """Return the run's file name: readable, unique, only letters, digits, dot and dash."""
        content = self.parameters.identity()
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        values = [content[name] for name in SLUG_NAMES if name in content]
        return "-".join([*map(self._word, values), digest[:8]])

    def _word(self, value: Any) -> str:
        keeps_exponent = isinstance(value, float) and not self.named_formerly
        return re.sub(r"[^a-z0-9.-]" if keeps_exponent else r"[^a-z0-9.]", "", str(value))


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Grid(_Strict):
    template: Literal["q1a", "q1b", "q2"]
    fixed: dict[str, Any] = {}
    grid: dict[str, Annotated[list[Any], Field(min_length=1)]] = {}
    exclude: list[Annotated[dict[str, Any], Field(min_length=1)]] = []
    requires: Literal["cuda"] | None = None

    @property
    def combinations(self) -> int:
        """Return the number of combinations, excluded ones included."""
        return math.prod(map(len, self.grid.values()))


class _File(_Strict):
    description: str
    grids: list[_Grid] = Field(min_length=1)


def title(name: str) -> str:
    """Return the name of a suite that is given by its name or by the path of its file."""
    path = Path(_composed(name))
    return path.stem if path.suffix.lower() in SUFFIXES else path.name


def _composed(name: str) -> str:
    """Return a name with each accented letter as one character: macOS may write it as two."""
    return unicodedata.normalize("NFC", name)


def names(folder: Path = paths.SUITES) -> list[str]:
    """Return the names of all suites."""
    return sorted({title(path.name) for path in _files(folder)})


def _files(folder: Path) -> list[Path]:
    """Return the suites' files in a folder; none if it can't be read."""
    try:
        return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    except (OSError, ValueError):
        return []


def _find(name: str, folder: Path) -> Path:
    """Return the file of a suite: of this path, or of this name in `folder`; its suffix may lack.

    Raises SuiteError if there is none.
    """
    if name.lower().endswith(SUFFIXES) and os.path.exists(name):
        return Path(name)
    for place in (folder / name, Path(name)):
        for file in _files(place.parent):
            if _composed(place.name) in (_composed(file.name), _composed(file.stem)):
                return file
    known = names(folder)
    raise SuiteError(
        f"suite={shorten(name)} is not there: use one of {', '.join(known)}, or the path of a "
        f"file{nearest(name, known)}"
    )


def read(name: str, folder: Path = paths.SUITES, anywhere: bool = False) -> list[Run]:
    """Read the suite `name` (or a path to a YAML file) and return its runs, each once.

    Runs that are not possible on this machine are left out, unless `anywhere` is true. All
    parameters are validated here, before anything runs.
    Raises SuiteError, which names file, grid, key and value.
    """
    path = _find(name, folder)
    # The folder of its runs is named after it.
    if not re.fullmatch(r"\w[\w .-]*", title(path.name)):
        raise SuiteError(
            f"suite={shorten(name)} is not allowed: "
            "a name should hold letters, digits, _, and after the first spaces, - and dots"
        )
    grids = _read_file(path).grids
    combinations = sum(grid.combinations for grid in grids)
    if combinations > MAX_RUNS:
        raise SuiteError(
            f"{path.name}: the grids make {shorten(combinations)} runs; "
            f"a suite should have at most {MAX_RUNS:,}"
        )
    runs: dict[Run, Run] = {}
    for number, grid in enumerate(grids, start=1):
        for run in _expand(grid, f"{path.name}, grid {number} ({grid.template})"):
            if run not in runs or run.possible:
                runs[run] = run
    return [run for run in runs.values() if anywhere or run.possible]


def _read_file(path: Path) -> _File:
    try:
        if not path.is_file():
            raise SuiteError(f"{path} is not a file")
        if path.stat().st_size > MAX_BYTES:
            raise SuiteError(f"{path.name} is too large: a suite has at most {MAX_BYTES:,} bytes")
        return _File.model_validate(_parse(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeError) as error:
        raise SuiteError(f"{path} can't be read: {error}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        reason = getattr(error, "problem", None) or getattr(error, "reason", None) or "no YAML"
        raise SuiteError(f"{path.name}{where} is not valid YAML: {_line(reason)}") from None
    except ValidationError as error:
        raise SuiteError(f"{path.name}: {_unknown_key(error) or first_problem(error)}") from None


def _unknown_key(error: ValidationError) -> str | None:
    """Return a message with the known keys if the first problem is an unknown key; else None."""
    problem = error.errors()[0]
    if problem["type"] != "extra_forbidden":
        return None
    *parents, key = problem["loc"]
    known = list((_Grid if parents else _File).model_fields)
    where = f"grid {int(parents[1]) + 1}: " if parents else ""
    return (
        f"{where}{key if str(key).isidentifier() else shorten(key)}={shorten(problem['input'])} "
        f"is not allowed: known are {', '.join(known)}{nearest(key, known)}"
    )


def _parse(text: str) -> Any:
    """Read YAML of plain values; raise YAMLError if it is anything else."""
    loader = _AsWritten(text)
    try:
        document = loader.get_single_node()
        if document and _size(document, {}) > MAX_NODES:
            raise yaml.MarkedYAMLError(problem="its aliases stand for too much")
        return loader.construct_document(document) if document else None
    except RecursionError:
        raise yaml.MarkedYAMLError(problem="it is nested too deeply") from None
    except (ValueError, ArithmeticError, LookupError, TypeError, AttributeError) as error:
        raise yaml.MarkedYAMLError(problem=f"a value is not of its type: {error}") from None
    finally:
        loader.dispose()


def _size(node: yaml.Node, sizes: dict[yaml.Node, int]) -> int:
    """Return the number of nodes in a node with its aliases written out, before anything is built.

    Raises YAMLError if an alias holds itself, and if a mapping has a key twice.
    """
    if node in sizes and not sizes[node]:
        raise yaml.MarkedYAMLError(problem="an alias holds itself", problem_mark=node.start_mark)
    if node not in sizes:
        sizes[node] = 0  # while it is being counted
        parts = node.value if isinstance(node, yaml.CollectionNode) else []
        if isinstance(node, yaml.MappingNode):
            _refuse_repeated([key for key, _ in parts])
            parts = itertools.chain(*parts)
        sizes[node] = 1 + sum(_size(part, sizes) for part in parts)
    return sizes[node]


def _refuse_repeated(keys: list[yaml.Node]) -> None:
    """Raise YAMLError if a key is there twice: PyYAML would silently take the last."""
    seen = set()
    for key in keys:
        if isinstance(key, yaml.ScalarNode):
            if key.value in seen:
                problem = f"the key {shorten(key.value)} is there twice"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            seen.add(key.value)


def _line(text: str) -> str:
    """Bring another library's message onto one line, shortened if long."""
    text = " ".join(text.split())
    return text if len(text) <= 150 else f"{text[:150]}…"


def _expand(grid: _Grid, where: str) -> list[Run]:
    """Return the runs of one grid; `where` names it in messages."""
    template = TEMPLATES[grid.template]
    valid = list(template.model_fields)
    for name in [*grid.fixed, *grid.grid, *itertools.chain(*grid.exclude)]:
        if name not in valid:
            raise SuiteError(
                f"{where}: {grid.template} has no parameter {shorten(name)}, "
                f"only {', '.join(valid)}{nearest(name, valid)}"
            )
    if twice := grid.fixed.keys() & grid.grid.keys():
        raise SuiteError(
            f"{where}: {min(twice)} is both fixed and in the grid: it should be in one"
        )
    try:
        excluded = [template(**values) for values in grid.exclude]
        combinations = [
            template(**grid.fixed, **dict(zip(grid.grid, values, strict=True)))
            for values in itertools.product(*grid.grid.values())
        ]
    except ParameterError as error:
        raise SuiteError(f"{where}: {error}") from None
    possible = grid.requires is None or machine.cuda_is_present()
    return [
        Run(grid.template, parameters, possible)
        for parameters in combinations
        if not any(_agree(parameters, values) for values in excluded)
    ]


def _agree(parameters: Parameters, given: Parameters) -> bool:
    """Return whether parameters have all the values that were given explicitly in `given`."""
    return all(getattr(parameters, name) == getattr(given, name) for name in given.model_fields_set)

"""The code of a template, and earlier code of it that was proven to give the same results.

A run's key hashes the template's code cells. Where they have changed and results have not,
`mlops adopt` notes the earlier cells in `book/lineage.json`: keys made of them still count.
"""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, RootModel, ValidationError

from mlops_lib import paths
from mlops_lib.messages import first_problem
from mlops_lib.params import UserError

Code = tuple[str, ...]  # the sources of a notebook's code cells


class LineageError(UserError):
    """A template or the lineage file can't be read."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Repeated(_Strict):
    """A run that gave the same results by both codes: what it was asked, and on what device."""

    parameters: dict[str, Any]  # without defaults
    device: str
    results_sha256: str  # of the results, times left out


class Earlier(_Strict):
    """Earlier code cells of a template, and the runs that were repeated by both codes."""

    code: Code
    repeated: tuple[Repeated, ...]


class Lineage(_Strict):
    """What stands for a template's present code."""

    code_sha256: str  # of the code that it was proven for: void for any other
    commit: str | None = None
    device_name: str  # where it was proven
    torch: str
    earlier: tuple[Earlier, ...]


class _File(RootModel[dict[str, Lineage]]):
    pass


def code(notebook: dict[str, Any]) -> Code:
    """Return a notebook's code cells, without the parameters that papermill puts in."""
    return tuple(
        "".join(cell["source"])
        for cell in notebook["cells"]
        if cell["cell_type"] == "code"
        and "injected-parameters" not in cell["metadata"].get("tags", ())
    )


def template_code(path: Path) -> Code:
    """Return a template's code cells; raise LineageError where it is no notebook."""
    return _template_code(path, path.stat().st_mtime_ns)


@lru_cache
def _template_code(path: Path, changed: int) -> Code:
    """Read a template's code cells once for all runs, until the file is `changed`."""
    try:
        return code(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, LookupError, TypeError) as error:
        raise LineageError(f"the template {path} can't be read: {error}") from None


def sha256(content: Any) -> str:
    """Return the SHA-256 of plain containers, written as JSON with sorted keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def accepted(template: str, present: Code) -> tuple[Code, ...]:
    """Return the codes whose results count as the template's: the `present` one first."""
    found = read().get(template)
    if found is None or found.code_sha256 != sha256(present):
        return (present,)
    return (present, *(earlier.code for earlier in found.earlier))


def read() -> dict[str, Lineage]:
    """Return the lineage of each template that has one; raise LineageError for a damaged file."""
    path = paths.BOOK / "lineage.json"
    return _read(path, path.stat().st_mtime_ns) if path.exists() else {}


@lru_cache
def _read(path: Path, changed: int) -> dict[str, Lineage]:
    try:
        return _File.model_validate_json(path.read_bytes()).root
    except ValidationError as error:
        raise LineageError(f"{path} can't be read: {first_problem(error)}") from None


def write(template: str, lineage: Lineage) -> None:
    """Note the lineage of a template in the file, beside the others."""
    from mlops_lib import checkpoint

    known = _File({**read(), template: lineage})
    with checkpoint.atomic_write(paths.BOOK / "lineage.json") as file:
        file.write((known.model_dump_json(indent=1) + "\n").encode())

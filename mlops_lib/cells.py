"""Which names the parameter cells of a running notebook assign, read from their source."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Collection, Sequence

INJECTED = "# Parameters"  # the first line of the cell that papermill injects


def assigned_parameters(inputs: Sequence[str], fields: Collection[str]) -> set[str]:
    """Return the names that a notebook's parameter cells assign.

    `inputs` are the sources that its kernel has executed, oldest first; `fields` are the names
    of its parameters. The parameter cell is the last that only assigns, and assigns most of
    `fields`; papermill injects its own after it. A cell that is corrected and run again thereby
    replaces the wrong one.
    """
    cells = [(_is_injected(source), _assigned(source)) for source in inputs]
    last: set[str] = set()
    injected_later: set[str] = set()
    for injected, names in cells:
        if injected and names:
            injected_later = names
        elif 2 * len(names.intersection(fields)) > len(fields):
            last, injected_later = names, set()
    return last | injected_later


def _is_injected(source: str) -> bool:
    """Return whether papermill wrote a cell; neither its options nor `--report-mode` change how."""
    return source.partition("\n")[0].rstrip() == INJECTED


def _assigned(source: str) -> set[str]:
    """Return the public names that a cell assigns; none where it does anything else."""
    try:
        with warnings.catch_warnings(action="ignore"):  # Python gave them as the cell was run
            cell = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return set()
    if not all(isinstance(line, ast.Assign | ast.AnnAssign) for line in cell.body):
        return set()
    names = [node for node in ast.walk(cell) if isinstance(node, ast.Name)]
    return {
        node.id for node in names if isinstance(node.ctx, ast.Store) and not node.id.startswith("_")
    }

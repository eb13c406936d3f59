"""Result pages, executed before Sphinx reads them: side by side, in kernels that start at once.

A kernel that imports pandas, seaborn and scikit-learn for itself takes longer to start than most
pages take to compute. What is not executed here (where kernels are not forked, and a page whose
kernel dies) myst-nb executes itself.

A private part of another package is touched: `single_nb_execution` of
`myst_nb.core.execute.direct`, by which myst-nb executes a page, gives what was executed here.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from jupyter_cache.executors.utils import ExecutionResult, single_nb_execution
from myst_nb.core.execute import direct
from myst_nb.core.read import create_nb_reader
from nbformat import NotebookNode

from mlops_lib import machine
from mlops_lib.params import ParameterError
from mlops_lib.runner import kernels

PRELOAD = "mlops_lib.publish.preload"
_executed: dict[tuple[str, ...], ExecutionResult] = {}  # by the pages' code; readers are forked


def start() -> None:
    """Start the process that kernels are forked from: it imports while Sphinx begins its work."""
    _executed.clear()
    direct.single_nb_execution = _single_nb_execution
    if _can_fork():
        kernels.start_server(PRELOAD)


def _can_fork() -> bool:
    try:
        kernels.require_scratch_folder()
    except ParameterError:
        return False
    return kernels.can_fork()


def execute(env: Any, names: list[str]) -> Iterator[tuple[str, float]]:
    """Execute pages that are text notebooks, side by side; yield each one's name and seconds.

    `env` is Sphinx's environment. One page more than there are cores: a kernel waits as it starts.
    """
    if env.mystnb_config.execution_mode != "force" or not _can_fork():
        return
    pages = {name: page for name in names if (page := _read(env, name))}
    with ThreadPoolExecutor(len(machine.cores()) + 1) as pool:
        try:
            every = pool.map(lambda name: _execute(env, name, pages[name]), pages)
            for name, done in zip(pages, every, strict=True):
                if done:
                    _executed[_code(pages[name])] = done
                    yield name, done.time
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            kernels.end_all()


def _read(env: Any, name: str) -> NotebookNode | None:
    """Return a page as a notebook; None if it has code cells, but does not say that it is one."""
    path = Path(env.doc2path(name))
    text = path.read_text("utf-8", "replace")
    reader = create_nb_reader(str(path), env.myst_config, env.mystnb_config, text)
    return reader and reader.read(text)


def _code_cells(page: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in page.cells if cell.cell_type == "code"]


def _code(page: NotebookNode) -> tuple[str, ...]:
    return tuple(cell.source for cell in _code_cells(page))


def _execute(env: Any, name: str, page: NotebookNode) -> ExecutionResult | None:
    """Execute a page in a kernel of its own; return None if that dies or does not start."""
    folder, options = Path(env.doc2path(name)).parent, env.mystnb_config
    try:
        with kernels.forked(folder, preload=PRELOAD) as kernel:
            return single_nb_execution(
                page, str(folder), options.execution_timeout, options.execution_allow_errors,
                km=kernel,
            )  # fmt: skip
    except RuntimeError:
        return None


def _single_nb_execution(page: NotebookNode, *arguments: Any, **options: Any) -> ExecutionResult:
    """Give a page the outputs that its code has had here, or else execute it."""
    done = _executed.get(_code(page))
    if done is None:
        return single_nb_execution(page, *arguments, **options)
    for cell, executed in zip(_code_cells(page), _code_cells(done.nb), strict=True):
        cell.update(outputs=executed.outputs, execution_count=executed.execution_count)
    return done

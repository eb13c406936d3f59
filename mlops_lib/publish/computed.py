"""Result pages, executed before Sphinx reads them: side by side, in kernels that start at once.

A kernel that imports pandas, seaborn and scikit-learn for itself takes longer to start than most
pages take to compute. Their outputs go where myst-nb looks for them, into the cache of
jupyter-cache. What is not there myst-nb executes itself: a page whose code fails, so that log and
page say why, and every page where kernels are not forked.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from jupyter_cache.executors.utils import single_nb_execution
from myst_nb.core.read import create_nb_reader
from nbformat import NotebookNode

from mlops_lib import machine
from mlops_lib.params import ParameterError
from mlops_lib.runner import kernels

PRELOAD = "mlops_lib.publish.preload"


def start() -> None:
    """Start the process that kernels are forked from: it imports while Sphinx begins its work."""
    if _can_fork():
        kernels.start_server(PRELOAD)


def _can_fork() -> bool:
    try:
        kernels.require_scratch_folder()
    except ParameterError:
        return False
    return kernels.can_fork()


def execute(env: Any, names: list[str]) -> Iterator[tuple[str, float]]:
    """Execute pages that are text notebooks, one on each core; yield each one's name and seconds.

    `env` is Sphinx's environment. A page whose outputs the cache holds is not executed.
    """
    if env.mystnb_config.execution_mode != "cache" or not _can_fork():
        return
    cache = get_cache(env.mystnb_config.execution_cache_path)
    known = {record.hashkey for record in cache.list_cache_records()}
    read = {name: _read(env, name) for name in names}
    pages = {
        name: page
        for name, page in read.items()
        if page and cache.create_hashed_notebook(page)[1] not in known
    }
    with ThreadPoolExecutor(len(machine.cores())) as pool:
        try:
            every = pool.map(lambda name: _execute(env, name, pages[name]), pages)
            for name, seconds in zip(pages, every, strict=True):
                if seconds is not None:
                    made = CacheBundleIn(pages[name], env.doc2path(name))
                    cache.cache_notebook_bundle(made, check_validity=False, overwrite=True)
                    yield name, seconds
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            kernels.end_all()


def _read(env: Any, name: str) -> NotebookNode | None:
    """Return a page as a notebook; None if it has code cells, but does not say that it is one."""
    path = Path(env.doc2path(name))
    text = path.read_text("utf-8", "replace")
    reader = create_nb_reader(str(path), env.myst_config, env.mystnb_config, text)
    return reader and reader.read(text)


def _execute(env: Any, name: str, page: NotebookNode) -> float | None:
    """Execute a page in a kernel of its own; return its seconds, None if its code fails."""
    folder, options = Path(env.doc2path(name)).parent, env.mystnb_config
    try:
        with kernels.forked(folder, preload=PRELOAD) as kernel:
            done = single_nb_execution(
                page, str(folder), options.execution_timeout, options.execution_allow_errors,
                km=kernel,
            )  # fmt: skip
    except RuntimeError:  # nbclient's DeadKernelError, or a kernel that did not start
        return None
    return None if done.err else done.time

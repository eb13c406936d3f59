"""The scratch folder of a process: sockets of kernels and notebooks that are not finished.

It is removed when the process ends. A killed process leaves its folder behind, but no longer holds
the lock in it: the next runner removes it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from functools import cache
from multiprocessing.util import Finalize
from pathlib import Path

from filelock import FileLock, Timeout

PREFIX, LOCK = "mlops-", "owner.lock"
_held: list[FileLock] = []  # by this process, until it ends


@cache
def folder() -> Path:
    """Return the scratch folder of this process, in `TMPDIR`; remove those of killed processes."""
    parent = Path(tempfile.gettempdir())
    with FileLock(users_lock("scratch")):  # a folder without its lock is no one's
        _sweep(parent)
        made = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        owner = FileLock(made / LOCK)
        owner.acquire()
    _held.append(owner)
    # `multiprocessing` removes a folder in it at exit, priority -100, and raises if it is gone.
    Finalize(None, remove, exitpriority=-200)
    return made


def users_lock(name: str) -> Path:
    """Return the path of a lock in `TMPDIR`, one for each user: they can't open others' files."""
    return Path(tempfile.gettempdir(), f"{PREFIX}{name}-{getattr(os, 'getuid', int)()}.lock")


def remove() -> None:
    """Remove the scratch folder of this process, if it has made one."""
    while _held:
        owner = _held.pop()
        owner.release()
        shutil.rmtree(Path(owner.lock_file).parent, ignore_errors=True)
    folder.cache_clear()


def _sweep(parent: Path) -> None:
    """Remove scratch folders whose owners no longer live."""
    for lock in parent.glob(f"{PREFIX}*/{LOCK}"):
        try:
            with FileLock(lock, timeout=0):
                pass
        except (Timeout, OSError):  # its owner lives, or is another user
            continue
        shutil.rmtree(lock.parent, ignore_errors=True)

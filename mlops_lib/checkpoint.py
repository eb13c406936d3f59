"""Checkpoints: written by an atomic rename, read without running anything that is in them."""

from __future__ import annotations

import glob
import os
import uuid
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from filelock import FileLock, Timeout

_owned: dict[Path, FileLock] = {}


@contextmanager
def atomic_write(path: Path) -> Iterator[IO[bytes]]:
    """Yield a file that replaces `path` when it is complete; on an error nothing is changed.

    A new file gets the permissions that the umask leaves; one that is replaced keeps its own.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = _mode(path)
    unfinished = path.with_name(f"{_prefix(path)}{uuid.uuid4().hex[:8]}")
    try:
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    with open(descriptor, "wb") as file:
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            if path.exists():
                with suppress(OSError):  # CIFS, vfat and some containers refuse every chmod
                    os.chmod(unfinished, mode)
            os.replace(unfinished, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(unfinished)
            raise


def _mode(path: Path) -> int:
    """Return the permissions of a file; those that the umask reduces where there is none."""
    try:
        return path.stat().st_mode & 0o777
    except OSError:
        return 0o666


def save(path: Path, content: dict[str, Any]) -> None:
    """Write tensors and plain containers, `atomic_write`; tensors that share memory, once.

    An error of the disk is printed and not raised: a run can do without its checkpoint.
    """
    import torch

    try:
        with atomic_write(path) as file:
            torch.save(content, file)
    except (OSError, RuntimeError) as error:  # torch puts its own before the disk's
        reason = first_line(error.__context__ or error)
        print(f"the checkpoint {path.name} can't be written: {reason}", flush=True)


def read(path: Path) -> dict[str, Any] | None:
    """Return what `save` wrote, tensors on the CPU; None if there is no file, or a damaged one.

    Only tensors and plain containers are read. What is wrong with a damaged file is printed.
    """
    if not path.exists():
        return None
    import torch

    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()  # torch does not compare the checksums itself
        if damaged:
            raise ValueError(f"the checksum of {damaged} is wrong")
        content = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(content, dict):
            raise ValueError("it holds something else")
    except Exception as error:  # a damaged file makes torch raise nearly anything
        reason = first_line(error)
        print(f"the checkpoint {path.name} is ignored, it can't be read: {reason}", flush=True)
        return None
    return content


def code_hash(*names: str) -> str:
    """Hash files of `mlops_lib`, folders whole: the code on which a checkpoint's bits depend."""
    import joblib

    paths = [Path(__file__).parent / name for name in names]
    files = [sorted(path.glob("*.py")) if path.is_dir() else [path] for path in paths]
    return joblib.hash([file.read_text("utf-8") for some in files for file in some])


def own(path: Path) -> bool:
    """Make a checkpoint this process's own until it is removed or the process ends.

    Returns False where it belongs to another living process.
    """
    if path in _owned:
        return True
    lock = FileLock(path.with_suffix(".lock"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        return False
    except OSError:  # of a folder that can't be written: `save` says so
        return True
    _owned[path] = lock
    return True


def remove(path: Path) -> None:
    """Remove a checkpoint, and what a killed process left behind while writing it.

    One that belongs to another living process stays.
    """
    if not path.parent.exists() or not own(path):
        return
    with suppress(OSError):
        path.unlink(missing_ok=True)
        remove_unfinished(path)
    if lock := _owned.pop(path, None):
        with suppress(OSError):
            os.unlink(lock.lock_file)
        lock.release()


def remove_unfinished(path: Path) -> None:
    """Remove what a killed `atomic_write` left beside a file; no process may be writing it."""
    for unfinished in path.parent.glob(f"{glob.escape(_prefix(path))}*"):
        unfinished.unlink(missing_ok=True)


def _prefix(path: Path) -> str:
    """Return how the names of a file's temporary files begin."""
    return f".{path.name}."


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or the name of its class."""
    return (str(error).splitlines() or [type(error).__name__])[0]

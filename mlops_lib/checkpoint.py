"""Checkpoints: written whole or not at all, read without running anything that is in them."""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any


@contextmanager
def atomic_write(path: Path) -> Iterator[IO[bytes]]:
    """Hand out a file that takes the place of `path` when it is written: whole, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=_prefix(path), delete=False) as file:
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.chmod(file.name, 0o644)
            os.replace(file.name, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(file.name)
            raise


def save(path: Path, content: dict[str, Any]) -> None:
    """Write tensors and plain containers, `atomic_write`; tensors that share memory, once.

    Where the disk refuses, this is said and work goes on: a checkpoint is a convenience.
    """
    import torch

    try:
        with atomic_write(path) as file:
            torch.save(content, file)
    except (OSError, RuntimeError) as error:  # torch puts its own before the disk's
        reason = first_line(error.__context__ or error)
        print(f"the checkpoint {path.name} can't be written: {reason}", flush=True)


def read(path: Path) -> dict[str, Any] | None:
    """Return what `save` wrote, tensors on the CPU; None, and a sentence, where it is damaged.

    Nothing but tensors and plain containers is taken. None, without a word, if there is no file.
    """
    import torch

    if not path.exists():
        return None
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


def remove(path: Path) -> None:
    """Remove a checkpoint, and what writing it left behind when it was killed."""
    with suppress(OSError):
        path.unlink(missing_ok=True)
        remove_unfinished(path)


def remove_unfinished(path: Path) -> None:
    """Remove what `atomic_write` left beside a file when it was killed; nobody may be at it now."""
    for unfinished in path.parent.glob(f"{_prefix(path)}*"):
        unfinished.unlink(missing_ok=True)


def _prefix(path: Path) -> str:
    """Return how temporary files begin while this one is written."""
    return f".{path.name}."


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says, or what it is called."""
    return (str(error).splitlines() or [type(error).__name__])[0]

"""Checkpoints: written whole or not at all, read without running anything that is in them."""

from __future__ import annotations

import os
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any


def save(path: Path, content: dict[str, Any]) -> None:
    """Write tensors and plain containers by an atomic rename; tensors that share memory, once.

    Where the disk refuses, this is said and work goes on: a checkpoint is a convenience.
    """
    import torch

    temporary = path.with_name(f"{_prefix(path)}{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:  # torch puts its own before the disk's
        with suppress(OSError):
            temporary.unlink()
        reason = _first_line(error.__context__ or error)
        print(f"the checkpoint {path} can't be written: {reason}", flush=True)


def load(path: Path) -> dict[str, Any] | None:
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
        reason = _first_line(error)
        print(f"the checkpoint {path} is ignored, it can't be read: {reason}", flush=True)
        return None
    return content


def remove(path: Path) -> None:
    """Remove a checkpoint, and what writing it left behind when it was killed."""
    for file in (path, *path.parent.glob(f"{_prefix(path)}*")):
        with suppress(OSError):
            file.unlink()


def _prefix(path: Path) -> str:
    """Return how temporary files begin while this one is written."""
    return f".{path.name}."


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]

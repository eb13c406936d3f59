"""What is needed more than once is computed once: in a process, and in a build of the book.

Each page of the book is executed in a process of its own, so the first leaves its result in a file.
The book's extension names the folder of the files, and empties it where records or code have
changed.
"""

from __future__ import annotations

import functools
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import joblib

from mlops_lib import checkpoint

FOLDER = "MLOPS_COMPUTED"  # the environment variable that names it
MAX_RESULTS = 8  # of a function, that a process keeps
Function = TypeVar("Function", bound=Callable[..., Any])


class _Arguments:
    """Arguments that are equal if their content is, as the key of a cache."""

    def __init__(self, values: tuple[Any, ...]) -> None:
        self.values, self.digest = values, joblib.hash(values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Arguments) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)


def once(compute: Function) -> Function:
    """Return a function that computes its result once for equal arguments.

    The caller gets a copy, which it may change.
    """

    @functools.lru_cache(MAX_RESULTS)
    def pickled(arguments: _Arguments, folder: str) -> bytes:
        path = Path(folder, f"{compute.__module__}.{compute.__name__}-{arguments.digest}")
        if folder and path.exists():
            return path.read_bytes()
        result = pickle.dumps(compute(*arguments.values))
        if folder:
            with checkpoint.atomic_write(path) as file:
                file.write(result)
        return result

    @functools.wraps(compute)
    def computed(*values: Any) -> Any:
        return pickle.loads(pickled(_Arguments(values), os.environ.get(FOLDER, "")))

    return computed  # type: ignore[return-value]

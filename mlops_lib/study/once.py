"""What is needed more than once is computed once: in a process, and in a build of the book.

Each page of the book is executed in a process of its own, so the first leaves its result in a file.
The book's extension names the folder of the files, and empties it where records or code have
changed.
"""

from __future__ import annotations

import functools
import hashlib
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock

from mlops_lib import checkpoint

FOLDER = "MLOPS_COMPUTED"  # the environment variable that names it
MAX_RESULTS = 8  # of a function, that a process keeps
Function = TypeVar("Function", bound=Callable[..., Any])


def once(compute: Function) -> Function:
    """Return a function that computes its result once for the same arguments, by their pickles.

    The caller gets a copy, which it may change.
    """

    @functools.lru_cache(MAX_RESULTS)
    def pickled(arguments: bytes, folder: str) -> bytes:
        if not folder:
            return pickle.dumps(compute(*pickle.loads(arguments)))
        digest = hashlib.sha256(arguments).hexdigest()
        path = Path(folder, f"{compute.__module__}.{compute.__name__}-{digest}")
        with FileLock(f"{path}.lock"):  # another page may be computing it
            if not path.exists():
                result = pickle.dumps(compute(*pickle.loads(arguments)))
                with checkpoint.atomic_write(path) as file:
                    file.write(result)
            return path.read_bytes()

    @functools.wraps(compute)
    def computed(*values: Any) -> Any:
        return pickle.loads(pickled(pickle.dumps(values), os.environ.get(FOLDER, "")))

    return computed  # type: ignore[return-value]

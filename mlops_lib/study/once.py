"""What several pages of the book need is computed once a build: the first leaves it in a file.

Each page is executed in a process of its own. The book's extension names the folder of the files,
and empties it where records or code have changed; without a folder nothing is kept.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import joblib

from mlops_lib import checkpoint

FOLDER = "MLOPS_COMPUTED"  # the environment variable that names it
Function = TypeVar("Function", bound=Callable[..., Any])


def once(compute: Function) -> Function:
    """Return a function that reads its result from a file where there is one for its arguments."""

    @functools.wraps(compute)
    def computed(*arguments: Any) -> Any:
        if not os.environ.get(FOLDER):
            return compute(*arguments)
        name = f"{compute.__module__}.{compute.__name__}-{joblib.hash(arguments)}"
        path = Path(os.environ[FOLDER], name)
        if not path.exists():
            result = compute(*arguments)
            with checkpoint.atomic_write(path) as file:
                joblib.dump(result, file)
        return joblib.load(path)

    return computed  # type: ignore[return-value]

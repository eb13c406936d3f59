"""The progress bar of long steps."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm


def bar(steps: Iterable | None = None, disable: bool = False, **options: Any) -> tqdm:
    """Return tqdm's bar on standard output, which notebooks, terminals and the runner show.

    In a log, such as that of a script of the user's, there is none.
    """
    log = sys.stdout is sys.__stdout__ and not (sys.stdout and sys.stdout.isatty())
    return tqdm(
        steps, file=sys.stdout, mininterval=1, ascii=" #", ncols=80, disable=disable or log,
        **options,
    )  # fmt: skip

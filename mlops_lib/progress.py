"""The progress bar of long steps."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm


def bar(steps: Iterable | None = None, **options: Any) -> tqdm:
    """Return tqdm's bar on standard output, which notebooks, terminals and the runner show."""
    return tqdm(steps, file=sys.stdout, mininterval=1, ascii=" #", ncols=80, **options)

"""The signals that ask a program to end: Ctrl-C, a closed terminal, the end of a batch job."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGBREAK")  # some systems lack some


@contextmanager
def at_signals(end: Callable[[], None]) -> Iterator[None]:
    """Call `end` at each signal that asks this process to end, also at a second and third one.

    A signal that the caller ignores stays ignored, as `nohup` and `&` in a script ask for.
    """
    numbers = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]
    heeded = [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, lambda *_: end()) for number in heeded}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

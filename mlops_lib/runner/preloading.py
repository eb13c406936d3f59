# ruff: noqa: F401
"""How a module that the server of kernels imports begins and ends.

Until all is imported, the server ends with its parent, which it would otherwise notice only
afterwards, and at Ctrl-C, which a terminal sends to it too.
"""

from __future__ import annotations

import atexit
import gc
import os
import signal
import threading

_parent, _imported = os.getppid(), threading.Event()


def _end_with_parent() -> None:
    while not _imported.wait(0.5):
        if os.getppid() != _parent:
            os._exit(1)


_watch = threading.Thread(target=_end_with_parent, daemon=True)  # a daemon: ends if an import fails


def begin() -> None:
    """Watch the parent from now on, and import what every kernel needs."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # later, the server itself ignores it
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])  # `kernels.start_server` blocks it
    _watch.start()
    from mlops_lib.fast import kernel_start

    gc.set_threshold(*kernel_start.COLLECT_RARELY)  # it would search all of this again and again
    import ipykernel.debugger
    import ipykernel.kernelapp
    import IPython.core.completerlib
    import IPython.core.magics.execution
    import IPython.core.oinspect
    import matplotlib_inline.backend_inline


def end() -> None:
    """Be ready to be forked: a process with a single thread, and nothing to search for garbage."""
    _imported.set()
    _watch.join()
    gc.collect()
    gc.freeze()  # otherwise every fork would search all of this, and so copy it
    atexit.register(gc.unfreeze)

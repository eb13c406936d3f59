"""A notebook's kernel that starts and ends sooner.

While modules are imported, Python looks for garbage among the million objects that torch brings,
time and again; at the end it takes them apart one by one. Neither is needed.

Gain: part of the benchmark "a q1a run through papermill, beyond training and evaluation (s)".
Where: kernels of IPython. Called by `record.begin`; it ends the kernel's process by an exit hook.
Off: `MLOPS_FAST=off`.
"""

from __future__ import annotations

import atexit
import gc
import logging
import os
import sys

COLLECT_RARELY = 50_000, 20, 50  # garbage: gc's thresholds


def spare_kernel() -> None:
    """Spare this process, where it is a kernel, the search for garbage and the tidying at its end.

    What a kernel has to do at its end, and what is registered with `atexit` from now on, is done.
    """
    kernel_app = getattr(sys.modules.get("ipykernel.kernelapp"), "IPKernelApp", None)
    if kernel_app is None or not kernel_app.initialized():
        return
    gc.set_threshold(*COLLECT_RARELY)

    def end() -> None:
        app = kernel_app.instance()
        app.shell.atexit_operations()  # the history
        app.close()  # the sockets
        logging.shutdown()
        os._exit(0)

    atexit.register(end)

"""Imported by the process that kernels are forked from: all that a run needs, once.

Until all is imported, this process ends with the runner, which it would otherwise notice only
afterwards, and at Ctrl-C, which a terminal sends to it too.
"""
# ruff: noqa: E402, F401

import os
import signal
import threading

signal.signal(signal.SIGINT, signal.SIG_DFL)  # later, the server itself ignores it
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])  # which `kernels.start_server` blocks
runner, imported = os.getppid(), threading.Event()


def end_with_runner() -> None:
    """End this process if the runner ends before everything is imported."""
    while not imported.wait(0.5):
        if os.getppid() != runner:
            os._exit(1)


watch = threading.Thread(target=end_with_runner, daemon=True)  # a daemon: ends if an import fails
watch.start()

import atexit
import gc

from mlops_lib import provenance
from mlops_lib.fast import kernel_start

gc.set_threshold(*kernel_start.COLLECT_RARELY)  # otherwise it searches all of this again and again

import ipykernel.debugger
import ipykernel.kernelapp
import IPython.core.completerlib
import IPython.core.magics.execution
import IPython.core.oinspect
import matplotlib_inline.backend_inline
import sklearn.model_selection
import sklearn.svm
import torchvision

from mlops_lib import bench, flops, plots, resnet, svm, tables, train

plots.search(
    [{"C": 1.0, "degree": None, "gamma": "scale", "val_accuracy": 0.5}]
).png()  # loads fonts
svm.classifier("auto")  # imports Intel's extension, where it is installed
provenance.commit()  # of the code that was imported here
imported.set()
watch.join()  # forking is safe in a process with a single thread
gc.collect()
gc.freeze()  # otherwise every fork would search all of this, and so copy it
atexit.register(gc.unfreeze)

"""What the process that kernels are forked from imports: all that a run needs, once.

Where the runner ends meanwhile, so does this process; it would notice only after its imports.
Ctrl-C, which a terminal sends to this process too, ends it until then.
"""
# ruff: noqa: E402, F401

import os
import signal
import threading

signal.signal(signal.SIGINT, signal.SIG_DFL)  # the server itself ignores it, later
runner, imported = os.getppid(), threading.Event()


def end_with_runner() -> None:
    """End this process as soon as the runner has ended, until everything is imported."""
    while not imported.wait(0.5):
        if os.getppid() != runner:
            os._exit(1)


watch = threading.Thread(target=end_with_runner, daemon=True)  # outlives no failed import
watch.start()

import atexit
import gc

from mlops_lib import record
from mlops_lib.fast import kernel_start

gc.set_threshold(*kernel_start.COLLECT_RARELY)  # not at every import

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
record.commit()  # of the code that was imported here
imported.set()
watch.join()  # a process is forked best while it has a single thread
gc.collect()
gc.freeze()  # else every fork would go through all of this, and copy it
atexit.register(gc.unfreeze)

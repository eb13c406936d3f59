"""What the process that kernels are forked from imports: all that a run needs, once."""
# ruff: noqa: F401

import atexit
import gc

import ipykernel.debugger
import ipykernel.kernelapp
import IPython.core.completerlib
import IPython.core.magics.execution
import IPython.core.oinspect
import matplotlib_inline.backend_inline
import sklearn.model_selection
import sklearn.svm
import torchvision

from mlops_lib import bench, flops, plots, record, resnet, svm, tables, train

plots.search(
    [{"C": 1.0, "degree": None, "gamma": "scale", "val_accuracy": 0.5}]
).png()  # loads fonts
svm.classifier("auto")  # imports Intel's extension, where it is installed
record.commit()  # of the code that was imported here
gc.collect()
gc.freeze()  # else every fork would go through all of this, and copy it
atexit.register(gc.unfreeze)

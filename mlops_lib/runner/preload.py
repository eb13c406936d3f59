"""Imported by the process that runs' kernels are forked from: all that a run needs, once."""
# ruff: noqa: E402, F401

from mlops_lib.runner import preloading

preloading.begin()

import sklearn.model_selection
import sklearn.svm
import torchvision

from mlops_lib import bench, flops, plots, provenance, resnet, svm, tables, train

plots.search(
    [{"C": 1.0, "degree": None, "gamma": "scale", "val_accuracy": 0.5}]
).png()  # loads fonts
svm.classifier("auto")  # imports Intel's extension, where it is installed
provenance.commit()  # of the code that was imported here
preloading.end()

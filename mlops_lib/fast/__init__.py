"""What makes it quick, with the same answers: a module for each trick.

    taps          kernel taps that only see padding are left out
    small_maps    convolutions over a few pixels are matrix products
    few_pixels    so are the weights' gradients of few pixels, in bfloat16
    pooling       the first ReLU comes after the pooling
    norms         batch normalisations are called directly
    adam          Adam updates large weights in the backward pass
    memory        freed memory is kept for the next step
    normalise     one kernel normalises a batch of small maps, on CUDA
    blocks        that kernel adds the shortcut and applies ReLU, too
    casts         all weights are cast together, on CUDA
    graph         a step is replayed as one CUDA graph
    svm_vote      an SVM predicts in matrix products
    kernel_start  a notebook's kernel starts and ends sooner

Each module opens with the trick, its gain, where it applies and how to switch it off.
`MLOPS_FAST=off` in the environment switches all of them off: what is left is plain torch and
scikit-learn, from the same initial weights on the same images in the same order.
"""

from __future__ import annotations

import os

from mlops_lib.params import ParameterError

VARIABLE = "MLOPS_FAST"


def is_on() -> bool:
    """Return whether the tricks are used.

    Raises ParameterError where `MLOPS_FAST` is neither `on`, the default, nor `off`.
    """
    value = os.environ.get(VARIABLE) or "on"
    if value not in ("on", "off"):
        raise ParameterError(f"{VARIABLE}={value!r} is not allowed: use 'on' or 'off'")
    return value == "on"

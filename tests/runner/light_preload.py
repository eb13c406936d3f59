"""The preload without torch, which tiny runs don't need: in a third of the time.

Tests' runners and Dask workers fork their kernels from a server that has imported this.
"""

import sys
from types import ModuleType

LEFT_OUT = ("torchvision", *(f"mlops_lib.{name}" for name in ("bench", "flops", "resnet", "train")))

sys.modules.update({name: ModuleType(name) for name in LEFT_OUT})
import mlops_lib.runner.preload  # noqa: E402, F401

for name in LEFT_OUT:
    del sys.modules[name]

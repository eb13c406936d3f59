"""Batch normalisation, shortcut and ReLU of a ResNet's block as one kernel, on CUDA.

Gain: part of the benchmark "CUDA, ResNet-18, 28x28, batch 16: a step (ms)".
Where: CUDA with Triton and a C compiler, maps of up to `normalise.MAX_ROWS` pixels in a batch.
Called by `train.fit`, after `norms.call_directly`. It swaps the classes of blocks and
normalisations; weights, buffers and `state_dict` stay.
Off: `MLOPS_FAST=off`.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from mlops_lib import checkpoint
from mlops_lib.fast.norms import DirectBatchNorm2d


class JoinedBatchNorm2d(DirectBatchNorm2d):
    """Batch normalisation on CUDA; what a block does next is done with it."""

    def forward(
        self, x: torch.Tensor, plus: torch.Tensor | None = None, relu: bool = False
    ) -> torch.Tensor:
        from mlops_lib.fast import normalise

        if self.training and x.numel() <= normalise.MAX_ROWS * x.size(1):
            return normalise.normalise(x, self, plus, relu)
        y = super().forward(x)
        if plus is not None:
            y += plus
        return F.relu(y, inplace=True) if relu else y


class JoinedBlock(nn.Module):
    """torchvision's BasicBlock or Bottleneck; normalisations add the shortcut and apply ReLU."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts: Any = self._modules
        shortcut = parts["downsample"](x) if "downsample" in parts else x
        *before, last = [number for number in "123" if "conv" + number in parts]
        y = x
        for number in before:
            y = parts["bn" + number](parts["conv" + number](y), relu=True)
        return parts["bn" + last](parts["conv" + last](y), plus=shortcut, relu=True)


@cache
def triton_runs(device: torch.device) -> bool:
    """Return whether a kernel in Triton can be compiled and run; that takes a C compiler, too."""
    try:
        from mlops_lib.fast import normalise

        norm = nn.BatchNorm2d(16, device=device)
        normalise.normalise(torch.zeros(2, 16, 1, 1, device=device), norm)
    except Exception as error:  # of the compiler, its cache, the driver
        reason = f"{type(error).__name__}: {checkpoint.first_line(error)}"
        print(f"no kernels in Triton, torch's own normalise batches: {reason}", flush=True)
        return False
    return True


def join(network: nn.Module) -> None:
    """Let the blocks of a ResNet do with each normalisation what follows it, in place."""
    from torchvision.models.resnet import BasicBlock, Bottleneck

    for module in network.modules():
        if type(module) is DirectBatchNorm2d:
            module.__class__ = JoinedBatchNorm2d
    for module in network.modules():
        norms = [type(part) for part in module.modules() if isinstance(part, nn.BatchNorm2d)]
        if type(module) in (BasicBlock, Bottleneck) and set(norms) == {JoinedBatchNorm2d}:
            module.__class__ = JoinedBlock

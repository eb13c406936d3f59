"""Operation counts.

Convention: fvcore's. One fused multiply-add counts as one operation, and a count is for the
forward pass of one image. Batch normalisation (two a number) and pooling (one) are in it, less
than a hundredth of a ResNet's; additions and ReLUs are not. A training step costs about three
forward passes: the gradient of each layer by its input and by its weights costs as much as the
layer itself.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

TRAINING_PASSES = 3
FLOPS_PER_MULTIPLY_ADD = 2  # how a matrix product's peak is counted


def count(network: nn.Module, in_channels: int, input_size: int) -> int:
    """Return the multiply-adds of one image (1, in_channels, input_size, input_size)."""
    training = network.training
    image = next(network.parameters()).new_zeros(1, in_channels, input_size, input_size)
    with warnings.catch_warnings(action="ignore", category=FutureWarning):  # of torch.jit
        from fvcore.nn import FlopCountAnalysis

        analysis = FlopCountAnalysis(network.eval(), image)
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        total = int(analysis.total())
    network.train(training)
    return total


def training_rate(flops: int, images_per_second: float) -> float:
    """Return what a training performs, in FLOP/s as a device's peak is counted."""
    return flops * TRAINING_PASSES * FLOPS_PER_MULTIPLY_ADD * images_per_second


def size(network: nn.Module, in_channels: int, input_size: int) -> dict[str, int]:
    """Return what a record says of a network: `parameters_total` and `flops`."""
    return {
        "parameters_total": sum(weights.numel() for weights in network.parameters()),
        "flops": count(network, in_channels, input_size),
    }

"""A ResNet's first ReLU after its pooling, where it has a quarter to do.

The largest of the positive parts is the positive part of the largest: outputs stay the same.

Gain: part of the benchmark "ResNet-18, 28x28, batch 16: times the plain loop".
Where: torchvision's ResNets on any device. Called by `resnet.remove_dead_taps`.
Off: `MLOPS_FAST=off`.
"""

from __future__ import annotations

from torch import nn


def pool_before_relu(network: nn.Module) -> None:
    """Put the first ReLU of a ResNet after its pooling, in place; leave other networks alone."""
    from torchvision.models import ResNet

    if isinstance(network, ResNet) and isinstance(network.relu, nn.ReLU):
        network.maxpool = nn.Sequential(network.maxpool, network.relu)
        network.relu = nn.Identity()

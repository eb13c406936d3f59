"""Batch normalisations called directly, that count their batches together.

torch's module checks its settings, and adds one to a counter of its own, at every call: as much
work as the normalisation of a small map.

Gain: part of the benchmark "ResNet-18, 28x28, batch 16: times the plain loop".
Where: any device, networks whose normalisations have all counted the same. Called by `train.fit`.
It swaps the class of each normalisation; weights, buffers and `state_dict` stay.
Off: `MLOPS_FAST=off`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class DirectBatchNorm2d(nn.BatchNorm2d):
    """torch's batch normalisation, without its checks before each call; it counts no batches."""

    momentum: float  # `call_directly` leaves those without alone

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.batch_norm(
            x, self.weight, self.bias, self.running_mean, self.running_var,
            self.training, self.momentum, self.eps, torch.backends.cudnn.enabled,
        )  # fmt: skip


def _count_batch(norm: nn.Module, _: object) -> None:
    """Count a batch in training: a hook before the first normalisation of a network."""
    if norm.training:
        norm.num_batches_tracked.add_(1)  # type: ignore[operator]


def call_directly(network: nn.Module) -> None:
    """Call the batch normalisations of a network directly, and let the first count for all.

    The network has to be on its device already. Nothing is changed where the normalisations have
    counted different numbers of batches.
    """
    norms: list[Any] = [  # torch annotates counts and momentum as if they might be missing
        module
        for module in network.modules()
        if type(module) is nn.BatchNorm2d
        and module.affine
        and module.track_running_stats
        and module.momentum is not None
    ]
    if len({int(norm.num_batches_tracked) for norm in norms}) != 1:
        return
    for norm in norms:
        norm.__class__ = DirectBatchNorm2d
        norm.num_batches_tracked = norms[0].num_batches_tracked
    norms[0].register_forward_pre_hook(_count_batch)

"""All weights cast to the precision of the forward pass together.

Autocast starts a kernel or two for each weight; here it is one kernel or two for all of them.

Gain: part of the benchmark "CUDA, ResNet-18, 28x28, batch 16: a step (ms)".
Where: CUDA in mixed precision. Called by `train.fit`.
Off: `MLOPS_FAST=off`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import nn
from torch.autograd.function import once_differentiable


class _Cast(torch.autograd.Function):
    """Weights in another precision, and their gradients back, in a kernel or two."""

    @staticmethod
    def forward(ctx, dtype, *weights):
        ctx.dtype = weights[0].dtype
        return tuple(_cast(weights, dtype))

    @staticmethod
    @once_differentiable
    def backward(ctx, *grads):
        return None, *_cast(grads, ctx.dtype)


def _cast(tensors: Iterable[torch.Tensor], dtype: torch.dtype) -> list[torch.Tensor]:
    made = [torch.empty_like(one, dtype=dtype) for one in tensors]
    torch._foreach_copy_(made, list(tensors))
    return made


def casting(network: nn.Module, dtype: torch.dtype) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the forward pass of a network, images → logits, with all weights cast together."""

    def forward(images: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(network, cast_weights(network, dtype), (images,))

    return forward


def cast_weights(network: nn.Module, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """Return the kernels and matrices of a network in `dtype`, by name, as autocast casts them.

    Vectors, which it leaves alone, are not in it. Gradients reach the network's own weights.
    """
    named = {name: one for name, one in network.named_parameters() if one.dim() > 1}
    return dict(zip(named, _Cast.apply(dtype, *named.values()), strict=True))

"""The weights' gradient of a convolution over few pixels in bfloat16, as one matrix product.

oneDNN spends most of its time bringing so large a result into order.

Gain: part of the benchmark "ResNet-18, 28x28, batch 16: times the plain loop" on CPUs that train
28x28 in bfloat16 (AMD's with AVX-512 BF16).
Where: a CPU in bfloat16, up to `MAX_PIXELS` output pixels for each output channel. Called by
`taps.LiveConv2d`.
Off: `MLOPS_FAST=off`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable

MAX_PIXELS = 4  # output pixels for each channel, in a batch


def gains(pixels: int, channels: int) -> bool:
    """Return whether the matrix product is faster: pixels of a batch's output, its channels."""
    return pixels <= MAX_PIXELS * channels


def convolve(x: torch.Tensor, weight: torch.Tensor, stride, padding) -> torch.Tensor:
    """Return the convolution of x (N, C_in, H, W) with weight (C_out, kh, kw, C_in)."""
    return _FewPixels.apply(x, weight, stride, padding)


class _FewPixels(torch.autograd.Function):
    """A convolution in bfloat16: x (N, C_in, H, W), weight (C_out, kh, kw, C_in)."""

    @staticmethod
    def forward(ctx, x, weight, stride, padding):
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv2d(x, as_kernel(weight), None, stride, padding)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        grad_x, _, _ = torch.ops.aten.convolution_backward(
            grad, x, as_kernel(weight), None, ctx.stride, ctx.padding, (1, 1), False, (0, 0), 1,
            (True, False, False),
        )  # fmt: skip
        rows = grad.permute(0, 2, 3, 1).flatten(0, 2)  # (N h w, C_out)
        patches = _patches(x, weight.shape[1:3], ctx.stride, ctx.padding)
        return grad_x, (rows.t() @ patches).view_as(weight), None, None


def _patches(x: torch.Tensor, size, stride, padding) -> torch.Tensor:
    """Return what a kernel (kh, kw) sees of x (N, C, H, W) in each place: (N h w, kh kw C)."""
    sides = padding[1], padding[1], padding[0], padding[0]
    maps = F.pad(x.permute(0, 2, 3, 1), (0, 0, *sides))
    seen = maps.unfold(1, size[0], stride[0]).unfold(2, size[1], stride[1])  # (N, h, w, C, kh, kw)
    return seen.permute(0, 1, 2, 4, 5, 3).flatten(3).flatten(0, 2)


def as_kernel(weight: torch.Tensor) -> torch.Tensor:
    """Turn (C_out, kh, kw, C_in) into (C_out, C_in, kh, kw), channels last in memory."""
    return weight.permute(0, 3, 1, 2)

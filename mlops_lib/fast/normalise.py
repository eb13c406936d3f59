"""Batch normalisation of small maps, and what a ResNet does next, as one kernel in Triton.

For small maps torch starts five kernels a layer, two more for ReLU and one for the shortcut, each
dominated by launch overhead. Here it is one kernel forward and one backward
(Ioffe & Szegedy, 2015, arXiv:1502.03167).

Gain: part of the benchmark "CUDA, ResNet-18, 28x28, batch 16: a step (ms)".
Where: CUDA with Triton. Called by the blocks of `fast.blocks`.
Off: `MLOPS_FAST=off`.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import triton
import triton.language as tl
from torch.autograd.function import once_differentiable

MAX_ROWS = 4096  # pixels of a channel, in a batch: a single block goes through them
LARGE, SMALL = (1024, 4), (256, 8)  # pixels and channels that a block holds at a time
WARPS = 8
UNSPECIALISED = ["rows", "plus_rows"]  # not compiled again for 1 and multiples of 16


def normalise(
    x: torch.Tensor,
    norm: torch.nn.BatchNorm2d,
    plus: torch.Tensor | None = None,
    relu: bool = False,
) -> torch.Tensor:
    """Normalise a training batch x (N, C, H, W) as `norm` does, then add `plus`, then apply ReLU.

    x is on CUDA, `plus` like it, in any precision; statistics are float32. Running mean and
    variance are updated; batches are not counted.
    """
    return _Normalised.apply(x, norm.weight, norm.bias, plus, norm, relu)


class _Normalised(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, plus, norm, relu):
        x = x.contiguous(memory_format=torch.channels_last)
        has_plus = plus is not None
        plus = plus.contiguous(memory_format=torch.channels_last) if has_plus else x
        y = torch.empty_like(x)
        mean, scale = torch.empty_like(weight), torch.empty_like(weight)
        _launch(
            _forward, x, plus, y, weight, bias, mean, scale, norm.running_mean, norm.running_var,
            norm.momentum, norm.eps, relu=relu, has_plus=has_plus,
        )  # fmt: skip
        ctx.save_for_backward(x, y if relu else None, weight, mean, scale)
        ctx.has_plus = has_plus
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        x, y, weight, mean, scale = ctx.saved_tensors
        grad = grad.contiguous(memory_format=torch.channels_last)
        grad_x, grad_plus = torch.empty_like(x), torch.empty_like(x) if ctx.has_plus else None
        grad_weight, grad_bias = torch.empty_like(weight), torch.empty_like(weight)
        _launch(
            _backward, x, grad, x if y is None else y, weight, mean, scale, grad_x,
            grad_x if grad_plus is None else grad_plus, grad_weight, grad_bias,
            relu=y is not None, has_plus=ctx.has_plus,
        )  # fmt: skip
        return grad_x, grad_weight, grad_bias, grad_plus, None, None


def _launch(kernel: Any, x: torch.Tensor, *arguments: Any, relu: bool, has_plus: bool) -> None:
    """Start a kernel with a block for every few channels."""
    channels = x.size(1)
    rows = x.numel() // channels
    height, width = LARGE if rows > SMALL[0] else SMALL
    kernel[(triton.cdiv(channels, width),)](
        x, *arguments, 0.0 if relu else -math.inf, rows, rows if has_plus else 0, channels,
        ROWS=height, CHANNELS=width, num_warps=WARPS,
    )  # fmt: skip


@triton.jit
def _tile(start, c, rows, plus_rows, channels, ROWS: tl.constexpr):
    """Return where pixels from `start` on lie, (ROWS, channels c), and which x and plus have."""
    row = start + tl.arange(0, ROWS)
    wanted = (c < channels)[None, :]
    at = row[:, None] * channels + c[None, :]
    return at, (row < rows)[:, None] & wanted, (row < plus_rows)[:, None] & wanted


@triton.jit
def _behind_relu(grad, y, inside, least):
    """Return the gradient of what y was before it was made at least `least`."""
    result = tl.load(y, mask=inside, other=0).to(tl.float32)
    return tl.where(result <= least, 0, tl.load(grad, mask=inside, other=0).to(tl.float32))


@triton.jit(do_not_specialize=UNSPECIALISED)
def _forward(
    x, plus, y, weight, bias, mean, scale, running_mean, running_var, momentum, eps,
    least, rows, plus_rows, channels, ROWS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """Compute y (rows, channels) from x and plus, like it; the others are float32 (channels,).

    y is at least `least`; `plus` is added to the first `plus_rows`: to all or to none.
    """
    c = tl.program_id(0) * CHANNELS + tl.arange(0, CHANNELS)
    wanted = c < channels
    first = tl.load(x + c, mask=wanted, other=0).to(tl.float32)  # near the mean: sums stay small
    total = tl.zeros([ROWS, CHANNELS], tl.float32)
    squares = tl.zeros([ROWS, CHANNELS], tl.float32)
    for start in range(0, rows, ROWS):
        at, inside, added = _tile(start, c, rows, plus_rows, channels, ROWS)
        value = tl.load(x + at, mask=inside, other=0).to(tl.float32)
        value = tl.where(inside, value - first[None, :], 0)
        total += value
        squares += value * value
    shift = tl.sum(total, 0) / rows
    average = first + shift
    variance = tl.sum(squares, 0) / rows - shift * shift
    variance = tl.where(variance < 0, 0, variance)
    factor = 1 / tl.sqrt(variance + eps)
    tl.store(mean + c, average, mask=wanted)
    tl.store(scale + c, factor, mask=wanted)
    old = tl.load(running_mean + c, mask=wanted, other=0)
    tl.store(running_mean + c, old + momentum * (average - old), mask=wanted)
    old = tl.load(running_var + c, mask=wanted, other=0)
    unbiased = variance * (rows / (rows - 1))
    tl.store(running_var + c, old + momentum * (unbiased - old), mask=wanted)
    factor *= tl.load(weight + c, mask=wanted, other=0)
    offset = tl.load(bias + c, mask=wanted, other=0) - average * factor
    for start in range(0, rows, ROWS):
        at, inside, added = _tile(start, c, rows, plus_rows, channels, ROWS)
        value = tl.load(x + at, mask=inside, other=0).to(tl.float32)
        value = value * factor[None, :] + offset[None, :]
        value += tl.load(plus + at, mask=added, other=0).to(tl.float32)
        value = tl.where(value < least, least, value)
        tl.store(y + at, value, mask=inside)


@triton.jit(do_not_specialize=UNSPECIALISED)
def _backward(
    x, grad, y, weight, mean, scale, grad_x, grad_plus, grad_weight, grad_bias,
    least, rows, plus_rows, channels, ROWS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """Compute the gradients of what `_forward` reads from that of y, (rows, channels)."""
    c = tl.program_id(0) * CHANNELS + tl.arange(0, CHANNELS)
    wanted = c < channels
    average = tl.load(mean + c, mask=wanted, other=0)
    factor = tl.load(scale + c, mask=wanted, other=0)
    total = tl.zeros([ROWS, CHANNELS], tl.float32)
    products = tl.zeros([ROWS, CHANNELS], tl.float32)
    for start in range(0, rows, ROWS):
        at, inside, added = _tile(start, c, rows, plus_rows, channels, ROWS)
        here = _behind_relu(grad + at, y + at, inside, least)
        value = tl.load(x + at, mask=inside, other=0).to(tl.float32)
        total += here
        products += here * (value - average[None, :])  # `here` is 0 outside
    of_bias = tl.sum(total, 0)
    of_weight = tl.sum(products, 0) * factor
    tl.store(grad_bias + c, of_bias, mask=wanted)
    tl.store(grad_weight + c, of_weight, mask=wanted)
    outer = tl.load(weight + c, mask=wanted, other=0) * factor
    for start in range(0, rows, ROWS):
        at, inside, added = _tile(start, c, rows, plus_rows, channels, ROWS)
        here = _behind_relu(grad + at, y + at, inside, least)
        value = tl.load(x + at, mask=inside, other=0).to(tl.float32)
        value = (value - average[None, :]) * factor[None, :]
        shared = (of_bias[None, :] + value * of_weight[None, :]) / rows
        tl.store(grad_x + at, outer[None, :] * (here - shared), mask=inside)
        tl.store(grad_plus + at, here, mask=added)

"""Convolutions over maps of a few pixels, as one matrix product for each live tap.

oneDNN's kernels multiply the padding too, and reorder the weights at every step.

Gain: part of the benchmark "ResNet-18, 28x28, batch 16: times the plain loop".
Where: a CPU in full precision, maps of up to four pixels. Called by `resnet.remove_dead_taps`.
Off: `MLOPS_FAST=off`.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import nn
from torch.autograd.function import once_differentiable

from mlops_lib.fast.taps import CutConv2d, LiveConv2d, axes_of, meetings

MAX_POSITIONS = 4  # of the output: up to here products of pixels and taps are faster on a CPU


def gains(live: LiveConv2d) -> bool:
    """Return whether products of pixels and taps are faster than this convolution, on a CPU."""
    return live.positions <= MAX_POSITIONS and not (live.is_linear or live.is_pointwise)


class SmallMapConv2d(CutConv2d):
    """A convolution over maps of a few pixels, as one matrix product a live tap.

    The kernel is stored as (live taps, C_in, C_out); taps that meet equally many pixels
    stand together and are multiplied together.
    """

    def __init__(self, conv: nn.Conv2d, height: int, width: int) -> None:
        rows, columns = itertools.starmap(meetings, axes_of(conv, height, width))
        self.taps, self.plan = _plan(rows, columns, width)
        super().__init__(conv)

    def cut(self, full: torch.Tensor) -> torch.Tensor:
        return full.permute(2, 3, 1, 0)[self.taps]

    def put(self, full: torch.Tensor, weight: torch.Tensor) -> None:
        full.permute(2, 3, 1, 0)[self.taps] = weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return _SmallMap.apply(x, self.weight, self.plan)


class Plan(NamedTuple):
    """Which pixel each live tap is multiplied with, and where the product is added."""

    shape: tuple[int, int]  # of the output
    pixels: torch.Tensor  # int (meetings,): positions in the flattened input map
    outputs: torch.Tensor  # int (meetings,): positions in the flattened output map
    taps: list[int]  # how many are multiplied together, as each meets equally many pixels
    meetings: list[int]  # how many these have


def _plan(rows: list, columns: list, width: int) -> tuple[tuple[torch.Tensor, torch.Tensor], Plan]:
    """Order the live taps of a kernel, as rows and columns, and plan their products.

    `rows` and `columns` are `meetings`; `width` is that of the input map.
    """
    shape = tuple(1 + max(o for met in axis for o, _ in met) for axis in (rows, columns))
    live = [
        (i, j, [(o * shape[1] + q, y * width + x) for o, y in rows[i] for q, x in columns[j]])
        for i, j in itertools.product(range(len(rows)), range(len(columns)))
        if rows[i] and columns[j]
    ]
    live.sort(key=lambda tap: len(tap[2]))
    groups = Counter(len(met) for *_, met in live)
    sizes = [*groups.values()], [met * taps for met, taps in groups.items()]
    taps = torch.tensor([i for i, *_ in live]), torch.tensor([j for _, j, _ in live])
    outputs, pixels = torch.tensor([pair for *_, met in live for pair in met]).unbind(1)
    return taps, Plan(shape, pixels.contiguous(), outputs.contiguous(), *sizes)


class _SmallMap(torch.autograd.Function):
    """The products of a plan: x (N, C_in, H, W), weight (taps, C_in, C_out) → (N, C_out, h, w)."""

    @staticmethod
    def forward(ctx, x, weight, plan):
        n, _, height, width = x.shape
        c_out = weight.shape[2]
        met = _positions(x).index_select(0, plan.pixels)  # (meetings, N C_in)
        products = x.new_empty(met.size(0), n * c_out)
        pixels, sums = (_by_tap(part, n, plan) for part in (met, products))
        for *factors, product in zip(pixels, weight.split(plan.taps), sums, strict=True):
            torch.bmm(*factors, out=product)
        ctx.save_for_backward(met, weight)
        ctx.plan, ctx.shape = plan, (n, height, width)
        y = x.new_zeros(math.prod(plan.shape), n * c_out).index_add_(0, plan.outputs, products)
        return _maps(y, n, *plan.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        met, weight = ctx.saved_tensors
        plan, (n, height, width) = ctx.plan, ctx.shape
        grad = _positions(grad).index_select(0, plan.outputs)  # (meetings, N C_out)
        grad_met, grad_weight = torch.empty_like(met), torch.empty_like(weight)
        rows = (_by_tap(part, n, plan) for part in (met, grad, grad_met))
        kernels = (part.split(plan.taps) for part in (weight, grad_weight))
        for pixels, here, grad_pixels, kernel, grad_kernel in zip(*rows, *kernels, strict=True):
            torch.bmm(pixels.mT, here, out=grad_kernel)
            torch.bmm(here, kernel.mT, out=grad_pixels)
        grad_x = met.new_zeros(height * width, n * weight.size(1))
        grad_x.index_add_(0, plan.pixels, grad_met)
        return _maps(grad_x, n, height, width), grad_weight, None


def _by_tap(rows: torch.Tensor, n: int, plan: Plan) -> Iterator[torch.Tensor]:
    """Yield the rows (meetings, N C) of each group as (taps, pixels of N images, C)."""
    for part, taps in zip(rows.split(plan.meetings), plan.taps, strict=True):
        yield part.view(taps, -1, rows.size(1) // n)


def _positions(maps: torch.Tensor) -> torch.Tensor:
    """Turn (N, C, H, W) into a row for each position: (H W, N C)."""
    return maps.permute(2, 3, 0, 1).flatten(2).flatten(0, 1)


def _maps(positions: torch.Tensor, n: int, height: int, width: int) -> torch.Tensor:
    """Turn (H W, N C) into (N, C, H, W), channels last in memory."""
    maps = positions.view(height, width, n, -1).permute(2, 3, 0, 1)
    return maps.contiguous(memory_format=torch.channels_last)

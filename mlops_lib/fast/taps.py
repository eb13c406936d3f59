"""Convolutions without the kernel taps that only ever see padding.

Small images shrink to maps of 1x1 on the way through a ResNet: most taps of the last 3x3 kernels
then only multiply the zero padding around the map. Such a tap gets no gradient and never changes
an output, so a kernel cut down to its live taps is the same function, computed faster.

Gain: most of the benchmark "ResNet-18, 28x28, batch 16: times the plain loop".
Where: any device, images below 224x224. Called by `resnet.remove_dead_taps`.
Off: `MLOPS_FAST=off`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from mlops_lib.fast import few_pixels


def meetings(size: int, kernel: int, stride: int, padding: int) -> list[list[tuple[int, int]]]:
    """List for every tap of a kernel over `size` pixels where it meets a real pixel.

    Output position o puts tap t on pixel o * stride - padding + t; a meeting is (o, pixel).
    A tap without a meeting is dead: it only ever sees the padding.
    """
    outputs = range((size + 2 * padding - kernel) // stride + 1)
    pixels = [[(o, o * stride - padding + tap) for o in outputs] for tap in range(kernel)]
    return [[(o, pixel) for o, pixel in row if 0 <= pixel < size] for row in pixels]


@dataclass(frozen=True)
class Taps:
    """The live taps of a kernel along one axis."""

    first: int
    last: int  # inclusive
    before: int  # zero padding still needed on either side
    after: int
    outputs: int  # output positions

    @property
    def span(self) -> slice:
        return slice(self.first, self.last + 1)


def live_taps(size: int, kernel: int, stride: int, padding: int) -> Taps:
    """Find the live taps of a kernel over `size` pixels."""
    live = [tap for tap, met in enumerate(meetings(size, kernel, stride, padding)) if met]
    outputs = (size + 2 * padding - kernel) // stride + 1
    first, last = live[0], live[-1]
    reach = (outputs - 1) * stride - padding + last  # the last pixel that a live tap asks for
    return Taps(first, last, max(0, padding - first), max(0, reach - size + 1), outputs)


class CutConv2d(nn.Module):
    """A bias-free convolution that keeps only live taps; `state_dict` holds its full kernel."""

    full: torch.Tensor

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.register_buffer("full", conv.weight.detach().clone(), persistent=False)
        live = self.cut(self.full)
        self.weight = nn.Parameter(live.clone(memory_format=torch.contiguous_format))

    def cut(self, full: torch.Tensor) -> torch.Tensor:
        """Return the live taps of a kernel (C_out, C_in, KH, KW), in the order they are stored."""
        raise NotImplementedError

    def put(self, full: torch.Tensor, weight: torch.Tensor) -> None:
        """Write the live taps into a full kernel."""
        raise NotImplementedError

    def _save_to_state_dict(self, destination, prefix, keep_vars):
        full = self.full.clone()
        self.put(full, self.weight.detach())
        destination[prefix + "weight"] = full

    def _load_from_state_dict(
        self, state_dict, prefix, metadata, strict, missing_keys, unexpected_keys, error_msgs
    ):
        key = prefix + "weight"
        full = state_dict.get(key)
        if full is None:
            missing_keys.append(key)
            return
        if full.shape != self.full.shape:
            shapes = f"{tuple(full.shape)} where the network has {tuple(self.full.shape)}"
            error_msgs.append(f"size mismatch for {key}: {shapes}")
            return
        self.full.copy_(full)
        with torch.no_grad():
            self.weight.copy_(self.cut(full))


class LiveConv2d(CutConv2d):
    """A convolution without its dead taps, for inputs of one size.

    The kernel is stored as (C_out, kh, kw, C_in), the order in which channels-last maps are
    multiplied.
    """

    def __init__(self, conv: nn.Conv2d, height: int, width: int, products: bool = True) -> None:
        self.rows, self.columns = (live_taps(*axis) for axis in axes_of(conv, height, width))
        super().__init__(conv)
        self.stride: Any = conv.stride
        # On both sides: less than a kernel of it is never too little behind, and adds no output.
        self.padding = (self.rows.before, self.columns.before)
        self.positions = self.rows.outputs * self.columns.outputs
        one_tap = self.weight.shape[1:3] == (1, 1)
        self.is_linear = self.positions == 1 and not any(self.padding)
        self.is_pointwise = one_tap and not any(self.padding)
        self.products = products

    def cut(self, full: torch.Tensor) -> torch.Tensor:
        live = full[:, :, self.rows.span, self.columns.span]
        return live.permute(0, 2, 3, 1)

    def put(self, full: torch.Tensor, weight: torch.Tensor) -> None:
        full[:, :, self.rows.span, self.columns.span] = weight.permute(0, 3, 1, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        maps = x.permute(0, 2, 3, 1)  # (N, H, W, C_in)
        if self.is_linear:
            patch = maps[:, : self.weight.shape[1], : self.weight.shape[2]].flatten(1)
            return self._of_one_position(patch)[:, :, None, None]
        bfloat16 = x.dtype == torch.bfloat16 and x.device.type == "cpu"
        if self.is_pointwise and (self.products or bfloat16):
            pixels = maps[:, :: self.stride[0], :: self.stride[1]]
            return self._of_pixels(pixels).permute(0, 3, 1, 2)  # (N, C_out, h, w)
        if bfloat16 and few_pixels.gains(len(x) * self.positions, len(self.weight)):
            return few_pixels.convolve(x, self.weight.to(x.dtype), self.stride, self.padding)
        return F.conv2d(x, few_pixels.as_kernel(self.weight), None, self.stride, self.padding)

    def _of_one_position(self, patch: torch.Tensor) -> torch.Tensor:
        """Map the only patch of each image, (N, kh kw C_in) → (N, C_out)."""
        kernel = self.weight.flatten(1)
        if patch.is_cuda:
            return F.linear(patch, kernel)
        # Few rows: MKL reads the kernel as it is stored this way, not in F.linear's.
        return (kernel @ patch.t()).t().contiguous()

    def _of_pixels(self, pixels: torch.Tensor) -> torch.Tensor:
        """Map every pixel by itself, (N, h, w, C_in) → (N, h, w, C_out)."""
        kernel = self.weight.flatten(1)  # all of it: a part's gradient would be padded with zeros
        return F.linear(pixels, kernel)


def axes_of(conv: nn.Conv2d, height: int, width: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield size, kernel, stride and padding of rows, then of columns."""
    padding: Any = conv.padding  # it may be a word elsewhere; not in these networks
    return zip((height, width), conv.kernel_size, conv.stride, padding, strict=True)

"""ResNet-18 and -50 for small grey images.

torchvision's networks, untrained, with as many input channels as asked for (He et al., 2016,
arXiv:1512.03385). Small images shrink to 1x1 maps on the way: most taps of the last kernels
then only ever see the zero padding around the map. Such a tap gets no gradient and never
changes an output, so a kernel cut down to its live taps is the same function, computed faster.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

SMALL_MAP = 4  # output positions up to which products of pixels and taps are faster on a CPU


def build(
    model: str, in_channels: int = 1, num_classes: int = 10, input_size: int = 28
) -> nn.Module:
    """Build `resnet18` or `resnet50`, randomly initialised from torch's generator.

    The network maps float (N, in_channels, input_size, input_size) to logits
    (N, num_classes); its `state_dict` has torchvision's names and shapes.
    Raises ValueError for an unknown model, or a size outside 28..224.
    """
    import torchvision

    constructors = {
        "resnet18": torchvision.models.resnet18,
        "resnet50": torchvision.models.resnet50,
    }
    if model not in constructors:
        raise ValueError(f"model={model!r} is not allowed: use {' or '.join(constructors)}")
    if not 28 <= input_size <= 224:
        raise ValueError(f"input_size={input_size} is not allowed: use 28 to 224")
    network = constructors[model](weights=None, num_classes=num_classes)
    if in_channels != network.conv1.in_channels:
        network.conv1 = nn.Conv2d(in_channels, 64, kernel_size=7, stride=2, padding=3, bias=False)
        nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
    return network


@dataclass(frozen=True)
class Taps:
    """The taps of a kernel along one axis that see a real pixel at some output position."""

    first: int
    last: int  # inclusive
    before: int  # zero padding still needed on either side
    after: int
    outputs: int  # output positions
    stride: int

    @property
    def span(self) -> slice:
        return slice(self.first, self.last + 1)

    def meet(self, output: int, size: int) -> tuple[slice, slice]:
        """Return which of the live taps meet a real pixel at an output position, and which."""
        start = output * self.stride - self.before  # the pixel under the first live tap
        low = max(0, -start)
        high = max(low, min(self.last - self.first + 1, size - start))  # equal: padding alone
        return slice(low, high), slice(start + low, start + high)


def live_taps(size: int, kernel: int, stride: int, padding: int) -> Taps:
    """Find the live taps of a kernel over `size` pixels.

    Output position o puts tap t on pixel o * stride - padding + t.
    """
    outputs = (size + 2 * padding - kernel) // stride + 1
    live = [
        tap
        for tap in range(kernel)
        if any(0 <= o * stride - padding + tap < size for o in range(outputs))
    ]
    first, last = live[0], live[-1]
    reach = (outputs - 1) * stride - padding + last  # the last pixel that a live tap asks for
    return Taps(first, last, max(0, padding - first), max(0, reach - size + 1), outputs, stride)


@dataclass(frozen=True)
class Product:
    """A part of a convolution on a small map: one kernel row at one output position."""

    row: int  # output position
    column: int
    kernel_row: int
    taps: slice
    input_row: int
    pixels: slice


def products(rows: Taps, columns: Taps, height: int, width: int) -> tuple[Product, ...]:
    """List the products of pixels and taps that make up a convolution, padding left out."""
    return tuple(
        Product(row, column, kernel_row, taps, input_row, pixels)
        for row, column in itertools.product(range(rows.outputs), range(columns.outputs))
        for kernel_row, input_row in zip(*map(_span, rows.meet(row, height)), strict=True)
        for taps, pixels in [columns.meet(column, width)]
    )


def _span(span: slice) -> range:
    return range(span.start, span.stop)


class _SmallMap(torch.autograd.Function):
    """A convolution over a map of a few pixels, as matrix products without any padding.

    oneDNN's kernels multiply the padding too, and reorder the weights at every step.
    Takes x (N, H, W, C_in) and weight (C_out, kh, kw, C_in); returns (N, h, w, C_out).
    """

    @staticmethod
    def forward(ctx, x, weight, shape, plan):
        ctx.save_for_backward(x, weight)
        ctx.plan = plan
        y = x.new_zeros(len(x), *shape, len(weight))
        for p in plan:
            kernel = weight[:, p.kernel_row, p.taps].flatten(1)
            y[:, p.row, p.column].addmm_(x[:, p.input_row, p.pixels].flatten(1), kernel.t())
        return y

    @staticmethod
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        grad = grad.contiguous()
        grad_x, grad_weight = torch.zeros_like(x), torch.zeros_like(weight)
        for p in ctx.plan:
            here = grad[:, p.row, p.column]  # (N, C_out)
            pixels = x[:, p.input_row, p.pixels].flatten(1)  # (N, taps C_in)
            kernel = weight[:, p.kernel_row, p.taps].flatten(1)  # (C_out, taps C_in)
            _view(grad_x[:, p.input_row, p.pixels]).addmm_(here, kernel)
            _view(grad_weight[:, p.kernel_row, p.taps]).addmm_(here.t(), pixels)
        return grad_x, grad_weight, None, None


def _view(block: torch.Tensor) -> torch.Tensor:
    """Return a block (a, b, c) as a matrix (a, b c) that shares its memory."""
    return block.view(len(block), -1)


class LiveConv2d(nn.Module):
    """A bias-free convolution without its dead taps, for inputs of one size.

    The kernel is stored as (C_out, kh, kw, C_in), the order in which channels-last maps are
    multiplied. `state_dict` holds it at full size, as torchvision's does.
    """

    def __init__(self, conv: nn.Conv2d, height: int, width: int) -> None:
        super().__init__()
        (kernel_h, kernel_w), self.stride = conv.kernel_size, conv.stride
        self.rows = live_taps(height, kernel_h, self.stride[0], conv.padding[0])
        self.columns = live_taps(width, kernel_w, self.stride[1], conv.padding[1])
        self.register_buffer("full", conv.weight.detach().clone(), persistent=False)
        self.weight = nn.Parameter(
            self._live(self.full).clone(memory_format=torch.contiguous_format)
        )
        self.shape = self.rows.outputs, self.columns.outputs
        # Padding still needed: left, right, top, bottom.
        self.pad = (self.columns.before, self.columns.after, self.rows.before, self.rows.after)
        self.symmetric = self.pad[0] == self.pad[1] and self.pad[2] == self.pad[3]
        self.is_pointwise = self.weight.shape[1:3] == (1, 1) and not any(self.pad)
        self.is_small = math.prod(self.shape) <= SMALL_MAP
        self.plan = products(self.rows, self.columns, height, width) if self.is_small else ()

    def _live(self, full: torch.Tensor) -> torch.Tensor:
        """Return a view of the live taps: (C_out, kh, kw, C_in)."""
        return full[:, :, self.rows.span, self.columns.span].permute(0, 2, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.shape == (1, 1) and not any(self.pad):
            patch = x.permute(0, 2, 3, 1)[:, : self.weight.shape[1], : self.weight.shape[2]]
            return F.linear(patch.flatten(1), self.weight.flatten(1))[:, :, None, None]
        if self.is_pointwise and self._is_plain_cpu(x):
            pixels = x.permute(0, 2, 3, 1)[:, :: self.stride[0], :: self.stride[1]]
            return F.linear(pixels, self.weight[:, 0, 0]).permute(0, 3, 1, 2)  # (N, C_out, h, w)
        if self.is_small and self._is_plain_cpu(x):
            maps = x.permute(0, 2, 3, 1).contiguous()  # (N, H, W, C_in)
            maps = _SmallMap.apply(maps, self.weight, self.shape, self.plan)
            return maps.permute(0, 3, 1, 2)  # (N, C_out, h, w)
        kernel = self.weight.permute(0, 3, 1, 2)  # (C_out, C_in, kh, kw), channels last
        if self.symmetric:
            return F.conv2d(x, kernel, None, self.stride, (self.pad[2], self.pad[0]))
        return F.conv2d(F.pad(x, self.pad), kernel, None, self.stride)

    def _is_plain_cpu(self, x: torch.Tensor) -> bool:
        """Say whether this is a CPU in full precision, where oneDNN's kernels can be beaten."""
        return x.device.type == "cpu" and not torch.is_autocast_enabled("cpu")

    def _save_to_state_dict(self, destination, prefix, keep_vars):
        full = self.full.clone()
        self._live(full).copy_(self.weight.detach())
        destination[prefix + "weight"] = full

    def _load_from_state_dict(self, state_dict, prefix, *args):
        full = state_dict[prefix + "weight"]
        self.full.copy_(full)
        with torch.no_grad():
            self.weight.copy_(self._live(full))


def remove_dead_taps(network: nn.Module, in_channels: int, input_size: int) -> dict[str, int]:
    """Cut every convolution of `network`, in place, down to the taps that see a real pixel.

    Outputs, gradients and `state_dict` stay what they were, up to float rounding, for inputs
    of this size: (N, in_channels, input_size, input_size).
    Returns the number of weights removed, by layer; layers that lose none are not named.
    """
    removed = {}
    for name, (height, width) in _input_sizes(network, in_channels, input_size).items():
        conv = network.get_submodule(name)
        live = LiveConv2d(conv, height, width)
        dead = conv.weight.numel() - live.weight.numel()
        network.set_submodule(name, live)
        if dead:
            removed[name] = dead
    return removed


def _input_sizes(
    network: nn.Module, in_channels: int, input_size: int
) -> dict[str, tuple[int, int]]:
    """Return the height and width that each plain convolution sees, by its name."""
    sizes: dict[str, tuple[int, int]] = {}
    hooks = [
        module.register_forward_hook(
            lambda _, inputs, __, name=name: sizes.update({name: tuple(inputs[0].shape[2:])})
        )
        for name, module in network.named_modules()
        if _is_plain(module)
    ]
    training = network.training
    parameter = next(network.parameters())
    with torch.no_grad():
        network.eval()(parameter.new_zeros(1, in_channels, input_size, input_size))
    network.train(training)
    for hook in hooks:
        hook.remove()
    return sizes


def _is_plain(module: nn.Module) -> bool:
    return (
        isinstance(module, nn.Conv2d)
        and module.bias is None
        and module.groups == 1
        and module.dilation == (1, 1)
        and module.padding_mode == "zeros"
        and not isinstance(module.padding, str)
    )

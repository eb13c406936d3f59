"""ResNet-18 and -50 for small grey images.

torchvision's networks, untrained, with as many input channels as asked for (He et al., 2016,
arXiv:1512.03385). Small images shrink to 1x1 maps on the way: most taps of the last kernels
then only ever see the zero padding around the map. Such a tap gets no gradient and never
changes an output, so a kernel cut down to its live taps is the same function, computed faster.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple, get_args

import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd.function import once_differentiable

from mlops_lib import checkpoint
from mlops_lib.params import Model

SMALL_MAP = 4  # output positions up to which products of pixels and taps are faster on a CPU
FEW_PIXELS = 4  # output pixels for each channel, in a batch, up to which `_FewPixels` is faster


def build(
    model: str, in_channels: int = 1, num_classes: int = 10, input_size: int = 28
) -> nn.Module:
    """Build one of torchvision's networks, randomly initialised from torch's generator.

    The network maps float (N, in_channels, input_size, input_size) to logits
    (N, num_classes); its `state_dict` has torchvision's names and shapes.
    Raises ValueError for a model that is not among the parameters', a size outside 28..224, or no
    channels or classes.
    """
    from torchvision.models import get_model

    if model not in get_args(Model):
        raise ValueError(f"model={model!r} is not allowed: use {' or '.join(get_args(Model))}")
    if not 28 <= input_size <= 224:
        raise ValueError(f"input_size={input_size} is not allowed: use 28 to 224")
    for name, number in (("in_channels", in_channels), ("num_classes", num_classes)):
        if number < 1:
            raise ValueError(f"{name}={number} is not allowed: use 1 or more")
    network = get_model(model, weights=None, num_classes=num_classes)
    convolutions = (pair for pair in network.named_modules() if isinstance(pair[1], nn.Conv2d))
    place, first = next(convolutions)
    if in_channels != first.in_channels:
        network.set_submodule(place, _with_inputs(first, in_channels))
    return network


def _with_inputs(conv: nn.Conv2d, in_channels: int) -> nn.Conv2d:
    """Return a new convolution like `conv`, with other input channels."""
    like: Any = conv  # torch annotates its sizes as tuples of any length
    new = nn.Conv2d(
        in_channels, conv.out_channels, like.kernel_size, like.stride, like.padding,
        bias=conv.bias is not None,
    )  # fmt: skip
    nn.init.kaiming_normal_(new.weight, mode="fan_out", nonlinearity="relu")
    return new


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


class _CutConv2d(nn.Module):
    """A bias-free convolution that keeps only live taps; `state_dict` holds its full kernel."""

    full: torch.Tensor

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.register_buffer("full", conv.weight.detach().clone(), persistent=False)
        live = self._cut(self.full)
        self.weight = nn.Parameter(live.clone(memory_format=torch.contiguous_format))

    def _cut(self, full: torch.Tensor) -> torch.Tensor:
        """Return the live taps of a kernel (C_out, C_in, KH, KW), in the order they are stored."""
        raise NotImplementedError

    def _put(self, full: torch.Tensor, weight: torch.Tensor) -> None:
        """Write the live taps into a full kernel."""
        raise NotImplementedError

    def _save_to_state_dict(self, destination, prefix, keep_vars):
        full = self.full.clone()
        self._put(full, self.weight.detach())
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
            self.weight.copy_(self._cut(full))


class LiveConv2d(_CutConv2d):
    """A convolution without its dead taps, for inputs of one size.

    The kernel is stored as (C_out, kh, kw, C_in), the order in which channels-last maps are
    multiplied.
    """

    def __init__(self, conv: nn.Conv2d, height: int, width: int, products: bool = True) -> None:
        self.rows, self.columns = (live_taps(*axis) for axis in _axes(conv, height, width))
        super().__init__(conv)
        self.stride: Any = conv.stride
        # On both sides: less than a kernel of it is never too little behind, and adds no output.
        self.padding = (self.rows.before, self.columns.before)
        self.positions = self.rows.outputs * self.columns.outputs
        one_tap = self.weight.shape[1:3] == (1, 1)
        self.is_linear = self.positions == 1 and not any(self.padding)
        self.is_pointwise = one_tap and not any(self.padding)
        self.products = products

    def _cut(self, full: torch.Tensor) -> torch.Tensor:
        live = full[:, :, self.rows.span, self.columns.span]
        return live.permute(0, 2, 3, 1)

    def _put(self, full: torch.Tensor, weight: torch.Tensor) -> None:
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
        if bfloat16 and len(x) * self.positions <= FEW_PIXELS * len(self.weight):
            return _FewPixels.apply(x, self.weight.to(x.dtype), self.stride, self.padding)
        return F.conv2d(x, _kernel(self.weight), None, self.stride, self.padding)

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


class SmallMapConv2d(_CutConv2d):
    """A convolution over maps of a few pixels, as one matrix product a live tap.

    oneDNN's kernels multiply the padding too, and reorder the weights at every step.
    The kernel is stored as (live taps, C_in, C_out); taps that meet equally many pixels
    stand together and are multiplied together.
    """

    def __init__(self, conv: nn.Conv2d, height: int, width: int) -> None:
        rows, columns = itertools.starmap(meetings, _axes(conv, height, width))
        self.taps, self.plan = _plan(rows, columns, width)
        super().__init__(conv)

    def _cut(self, full: torch.Tensor) -> torch.Tensor:
        return full.permute(2, 3, 1, 0)[self.taps]

    def _put(self, full: torch.Tensor, weight: torch.Tensor) -> None:
        full.permute(2, 3, 1, 0)[self.taps] = weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return _SmallMap.apply(x, self.weight, self.plan)


class _BatchNorm2d(nn.BatchNorm2d):
    """torch's batch normalisation, without its checks before each call; it counts no batches."""

    momentum: float  # `lighten` leaves those without alone

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.batch_norm(
            x, self.weight, self.bias, self.running_mean, self.running_var,
            self.training, self.momentum, self.eps, torch.backends.cudnn.enabled,
        )  # fmt: skip


class _JoinedBatchNorm2d(_BatchNorm2d):
    """Batch normalisation on CUDA; what a block does next is done with it."""

    def forward(
        self, x: torch.Tensor, plus: torch.Tensor | None = None, relu: bool = False
    ) -> torch.Tensor:
        from mlops_lib.fast import normalise

        if self.training and x.numel() <= normalise.MOST_ROWS * x.size(1):
            return normalise.normalise(x, self, plus, relu)
        y = super().forward(x)
        if plus is not None:
            y += plus
        return F.relu(y, inplace=True) if relu else y


class _JoinedBlock(nn.Module):
    """torchvision's BasicBlock or Bottleneck; normalisations add the shortcut and apply ReLU."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts: Any = self._modules
        shortcut = parts["downsample"](x) if "downsample" in parts else x
        *before, last = [number for number in "123" if "conv" + number in parts]
        y = x
        for number in before:
            y = parts["bn" + number](parts["conv" + number](y), relu=True)
        return parts["bn" + last](parts["conv" + last](y), plus=shortcut, relu=True)


def _count_batch(norm: nn.Module, _: object) -> None:
    """Count a batch in training: a hook, before the first normalisation of a network."""
    if norm.training:
        norm.num_batches_tracked.add_(1)  # type: ignore[operator]


def _axes(conv: nn.Conv2d, height: int, width: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield size, kernel, stride and padding of rows, then of columns."""
    padding: Any = conv.padding  # it may be a word elsewhere; not in these networks
    return zip((height, width), conv.kernel_size, conv.stride, padding, strict=True)


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


class _FewPixels(torch.autograd.Function):
    """A convolution in bfloat16: x (N, C_in, H, W), weight (C_out, kh, kw, C_in).

    The weight's gradient is one matrix product: of few pixels, oneDNN spends most of its time
    bringing so large a result into order.
    """

    @staticmethod
    def forward(ctx, x, weight, stride, padding):
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv2d(x, _kernel(weight), None, stride, padding)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        grad_x, _, _ = torch.ops.aten.convolution_backward(
            grad, x, _kernel(weight), None, ctx.stride, ctx.padding, (1, 1), False, (0, 0), 1,
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


def _kernel(weight: torch.Tensor) -> torch.Tensor:
    """Turn (C_out, kh, kw, C_in) into (C_out, C_in, kh, kw), channels last in memory."""
    return weight.permute(0, 3, 1, 2)


def _positions(maps: torch.Tensor) -> torch.Tensor:
    """Turn (N, C, H, W) into a row for each position: (H W, N C)."""
    return maps.permute(2, 3, 0, 1).flatten(2).flatten(0, 1)


def _maps(positions: torch.Tensor, n: int, height: int, width: int) -> torch.Tensor:
    """Turn (H W, N C) into (N, C, H, W), channels last in memory."""
    maps = positions.view(height, width, n, -1).permute(2, 3, 0, 1)
    return maps.contiguous(memory_format=torch.channels_last)


def remove_dead_taps(
    network: nn.Module, in_channels: int, input_size: int, *, products: bool = True
) -> dict[str, int]:
    """Cut every convolution of `network`, in place, down to the taps that see a real pixel.

    Outputs, gradients and `state_dict` stay what they were, up to float rounding, for inputs
    of this size: (N, in_channels, input_size, input_size).
    `products` computes those over small maps as products of pixels and taps, which is faster on a
    CPU in full precision (the only place it is meant for). A ResNet's first ReLU is put behind its
    pooling, where it has a quarter to do: the largest of the positive parts is the positive part of
    the largest.
    Returns the number of weights removed, by layer; layers that lose none are not named.
    """
    from torchvision.models import ResNet

    removed = {}
    for name, (height, width) in _input_sizes(network, in_channels, input_size).items():
        conv: Any = network.get_submodule(name)
        live: Any = LiveConv2d(conv, height, width, products)
        if products and live.positions <= SMALL_MAP and not (live.is_linear or live.is_pointwise):
            live = SmallMapConv2d(conv, height, width)
        dead = conv.weight.numel() - live.weight.numel()
        network.set_submodule(name, live)
        if dead:
            removed[name] = dead
    if isinstance(network, ResNet) and isinstance(network.relu, nn.ReLU):
        network.maxpool = nn.Sequential(network.maxpool, network.relu)
        network.relu = nn.Identity()
    return removed


def lighten(network: nn.Module) -> None:
    """Call the batch normalisations of a network directly, and let the first count for all.

    On CUDA, a ResNet's blocks do with each what follows it, where Triton is installed.
    The network has to be on its device already. Nothing is changed where they have counted unlike
    numbers.
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
        norm.__class__ = _BatchNorm2d
        norm.num_batches_tracked = norms[0].num_batches_tracked
    norms[0].register_forward_pre_hook(_count_batch)
    if norms[0].weight.is_cuda and triton_runs(norms[0].weight.device):
        join(network)


@cache
def triton_runs(device: torch.device) -> bool:
    """Say whether a kernel in Triton can be compiled and run; that takes a C compiler, too."""
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
    """Let the blocks of a lightened ResNet do with each normalisation what follows it."""
    from torchvision.models.resnet import BasicBlock, Bottleneck

    for module in network.modules():
        if type(module) is _BatchNorm2d:
            module.__class__ = _JoinedBatchNorm2d
    for module in network.modules():
        norms = [type(part) for part in module.modules() if isinstance(part, nn.BatchNorm2d)]
        if type(module) in (BasicBlock, Bottleneck) and set(norms) == {_JoinedBatchNorm2d}:
            module.__class__ = _JoinedBlock


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


def cast_weights(network: nn.Module, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """Return the kernels and matrices of a network in `dtype`, by name, as autocast casts them.

    Vectors, which it leaves alone, are not in it. Gradients reach the network's own weights.
    """
    named = {name: one for name, one in network.named_parameters() if one.dim() > 1}
    return dict(zip(named, _Cast.apply(dtype, *named.values()), strict=True))


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
        and all(pad < size for pad, size in zip(module.padding, module.kernel_size, strict=True))
    )

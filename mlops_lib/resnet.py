"""ResNet-18 and -50 for small grey images: the network, and the call that prepares it.

torchvision's networks, untrained, with as many input channels as asked for (He et al., 2016,
arXiv:1512.03385).
"""

from __future__ import annotations

from typing import Any, get_args

import torch
from torch import nn

from mlops_lib import fast
from mlops_lib.fast import pooling, small_maps
from mlops_lib.fast.taps import LiveConv2d
from mlops_lib.params import Model

Sizes = dict[str, tuple[int, int]]  # height and width, by the name of a layer


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
    name, first = next(
        (name, part) for name, part in network.named_modules() if isinstance(part, nn.Conv2d)
    )
    if in_channels != first.in_channels:
        network.set_submodule(name, _with_inputs(first, in_channels))
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


def remove_dead_taps(
    network: nn.Module, in_channels: int, input_size: int, *, products: bool = True
) -> dict[str, int]:
    """Cut every convolution of `network`, in place, down to the taps that see a real pixel.

    Outputs, gradients and `state_dict` stay what they were, up to float rounding, for inputs
    of this size: (N, in_channels, input_size, input_size). With `MLOPS_FAST=off` the network is
    left as it is; the numbers are the same.
    `products` computes those over small maps as products of pixels and taps, which is faster on a
    CPU in full precision (the only place it is meant for).
    Returns the number of weights removed, by layer; layers that lose none are not named.
    """
    removed, cuts = {}, fast.is_on()
    for name, (height, width) in _input_sizes(network, in_channels, input_size).items():
        conv: Any = network.get_submodule(name)
        live: Any = LiveConv2d(conv, height, width, products)
        if dead := conv.weight.numel() - live.weight.numel():
            removed[name] = dead
        if cuts and products and small_maps.gains(live):
            live = small_maps.SmallMapConv2d(conv, height, width)
        if cuts:
            network.set_submodule(name, live)
    if cuts:
        pooling.pool_before_relu(network)
    return removed


def _input_sizes(network: nn.Module, in_channels: int, input_size: int) -> Sizes:
    """Return the height and width that each plain convolution sees, by its name."""
    sizes: Sizes = {}
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
    """Return whether a module is a convolution without bias, groups, dilation or odd padding."""
    return (
        isinstance(module, nn.Conv2d)
        and module.bias is None
        and module.groups == 1
        and module.dilation == (1, 1)
        and module.padding_mode == "zeros"
        and not isinstance(module.padding, str)
        and all(pad < size for pad, size in zip(module.padding, module.kernel_size, strict=True))
    )

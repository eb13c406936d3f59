import functools
import itertools

import pytest
import torch
from torch import nn

from mlops_lib.fast.small_maps import SmallMapConv2d
from mlops_lib.fast.taps import LiveConv2d, live_taps

# As a CPU in full precision cuts them, and as all else does.
CUTS = [LiveConv2d, SmallMapConv2d, functools.partial(LiveConv2d, products=False)]


def test_live_taps_worked_out_by_hand():
    one_pixel = live_taps(size=1, kernel=3, stride=1, padding=1)
    assert (one_pixel.first, one_pixel.last, one_pixel.before, one_pixel.after) == (1, 1, 0, 0)
    two_by_stride = live_taps(size=2, kernel=3, stride=2, padding=1)
    assert (two_by_stride.first, two_by_stride.last) == (1, 2)
    assert (two_by_stride.before, two_by_stride.after) == (0, 0)
    all_live = live_taps(size=7, kernel=3, stride=2, padding=1)
    assert (all_live.first, all_live.last, all_live.before, all_live.after) == (0, 2, 1, 1)
    even = live_taps(size=4, kernel=3, stride=2, padding=1)
    assert (even.first, even.last, even.before, even.after) == (0, 2, 1, 0)


def test_the_padding_before_may_stand_behind_too():
    shapes = itertools.product(range(1, 40), range(1, 10), range(1, 6))
    for size, kernel, stride in shapes:
        for padding in range(max(0, -(-(kernel - size) // 2)), kernel):
            taps = live_taps(size, kernel, stride, padding)
            length = taps.last - taps.first + 1
            assert taps.after <= taps.before
            assert (size + 2 * taps.before - length) // stride + 1 == taps.outputs


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 8])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding"), [(3, 1, 1), (3, 2, 1), (7, 2, 3), (1, 2, 0), (5, 3, 2)]
)
@pytest.mark.parametrize("cut", CUTS)
def test_a_cut_convolution_gives_the_same_outputs(size, kernel, stride, padding, cut):
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 5, kernel, stride, padding, bias=False).double()
    x = torch.randn(2, 3, size, size, dtype=torch.float64)
    assert torch.allclose(cut(conv, size, size)(x), conv(x), atol=1e-12)


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize(("size", "stride"), [(2, 1), (4, 2), (1, 1), (7, 2), (8, 1)])
@pytest.mark.parametrize("kernel", [1, 3])
def test_gradients_of_a_cut_convolution_are_the_same(size, stride, kernel, cut):
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 5, kernel, stride, kernel // 2, bias=False).double()
    live = cut(conv, size, size)
    x = torch.randn(2, 3, size, size, dtype=torch.float64, requires_grad=True)
    weights = torch.randn_like(conv(x))
    expected = torch.autograd.grad((conv(x) * weights).sum(), (x, conv.weight))
    found = torch.autograd.grad((live(x) * weights).sum(), (x, live.weight))
    assert torch.allclose(found[0], expected[0], atol=1e-12)
    assert torch.allclose(found[1], live.cut(expected[1]), atol=1e-12)

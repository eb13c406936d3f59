import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mlops_lib.fast import few_pixels
from mlops_lib.fast.taps import LiveConv2d


@pytest.mark.parametrize(("size", "kernel", "stride"), [(7, 3, 1), (6, 3, 2), (7, 1, 1), (8, 1, 2)])
def test_gradients_in_bfloat16_are_those_in_float32(monkeypatch, size, kernel, stride):
    torch.manual_seed(0)
    conv = nn.Conv2d(32, 48, kernel, stride, kernel // 2, bias=False)
    live = LiveConv2d(conv, size, size, products=False)
    used = []
    product, linear = few_pixels._FewPixels.apply, F.linear
    monkeypatch.setattr(few_pixels._FewPixels, "apply", lambda *x: used.append(3) or product(*x))
    monkeypatch.setattr(F, "linear", lambda *x: used.append(1) or linear(*x))
    x = torch.randn(3, 32, size, size).contiguous(memory_format=torch.channels_last)
    sides = []
    for mixed in (False, True):
        images = x.to(torch.bfloat16 if mixed else torch.float32).requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            y = live(images)
        sides.append((y, *torch.autograd.grad(y.float().square().sum(), (images, live.weight))))
    assert used == [kernel]  # in bfloat16, and not in float32
    for exact, rounded in zip(*sides, strict=True):
        most = float(exact.detach().abs().max())
        assert torch.allclose(exact, rounded.float(), rtol=0.02, atol=0.02 * most)


def test_of_many_pixels_onednn_makes_the_gradient(monkeypatch):
    live = LiveConv2d(nn.Conv2d(4, 4, 3, padding=1, bias=False), 8, 8, products=False)
    monkeypatch.setattr(few_pixels._FewPixels, "apply", None)
    with torch.autocast("cpu", torch.bfloat16):
        assert live(torch.randn(1, 4, 8, 8).bfloat16()).shape == (1, 4, 8, 8)

"""Batch normalisation as one kernel is torch's; without a CUDA device Triton interprets it."""

import copy

import pytest
import torch
from torch import nn

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"  # there conftest lets Triton interpret
pytest.importorskip("triton")

from mlops_lib.fast import normalise  # noqa: E402


def distance(a, b):
    return float((a - b).detach().norm() / b.detach().norm())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("has_plus", [False, True])
@pytest.mark.parametrize("shape", [(16, 24, 7, 7), (16, 40, 1, 1), (6, 10, 7, 7), (48, 3, 7, 7)])
def test_it_computes_what_torch_does(shape, has_plus, relu, dtype):
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(shape[1], device=DEVICE)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    norms = norm, copy.deepcopy(norm)
    maps, shortcut, grad = (torch.randn(shape, device=DEVICE).to(dtype) for _ in range(3))
    inputs = [
        [one.to(kind, copy=True).requires_grad_() for one in (5 + 3 * maps, shortcut)]
        for kind in (dtype, torch.float32)
    ]
    (x, plus), (x_torch, plus_torch) = inputs
    own = normalise.normalise(x, norms[0], plus if has_plus else None, relu)
    of_torch = norms[1](x_torch) + (plus_torch if has_plus else 0)
    of_torch = of_torch.relu() if relu else of_torch
    own.backward(grad)
    of_torch.backward(grad.float())
    assert own.dtype == dtype
    near = {torch.float32: 1e-5, torch.bfloat16: 6e-3}[dtype]
    assert distance(own, of_torch) < near
    assert distance(x.grad, x_torch.grad) < near
    for name in ("running_mean", "running_var"):
        assert distance(*(getattr(one, name) for one in norms)) < 1e-5
    for name in ("weight", "bias"):
        assert distance(*(getattr(one, name).grad for one in norms)) < 1e-5
    if has_plus:
        assert distance(plus.grad, plus_torch.grad) < near


def test_what_is_not_finite_stays_so():
    maps = torch.ones(4, 3, 2, 2, device=DEVICE)
    maps[0, 1] = float("nan")
    y = normalise.normalise(maps, nn.BatchNorm2d(3, device=DEVICE), relu=True)
    assert y.isnan().any(dim=(0, 2, 3)).tolist() == [False, True, False]

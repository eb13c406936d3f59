"""Batch normalisation as one kernel is torch's; without a CUDA device Triton interprets it."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"  # there conftest lets Triton interpret
pytest.importorskip("triton")

from mlops_lib import resnet  # noqa: E402
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


def test_without_triton_torch_normalises(monkeypatch, capsys):
    def refuse(*arguments):
        raise RuntimeError("Failed to find C compiler\nat all")

    monkeypatch.setattr(normalise, "normalise", refuse)
    resnet.triton_runs.cache_clear()
    assert not resnet.triton_runs(torch.device(DEVICE))
    assert "RuntimeError: Failed to find C compiler\n" in capsys.readouterr().out
    monkeypatch.undo()
    resnet.triton_runs.cache_clear()
    assert resnet.triton_runs(torch.device(DEVICE))


def test_what_is_not_finite_stays_so():
    maps = torch.ones(4, 3, 2, 2, device=DEVICE)
    maps[0, 1] = float("nan")
    y = normalise.normalise(maps, nn.BatchNorm2d(3, device=DEVICE), relu=True)
    assert y.isnan().any(dim=(0, 2, 3)).tolist() == [False, True, False]


@pytest.mark.parametrize("model", ["resnet18", "resnet50"])
def test_joined_blocks_are_the_same_network(model, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    if DEVICE == "cpu":  # blocks are interpreted one after the other
        monkeypatch.setattr(normalise, "SMALL", (256, 256))
    torch.manual_seed(0)
    plain = resnet.build(model)
    resnet.remove_dead_taps(plain, 1, 28, products=False)
    plain.to(DEVICE)
    joined = copy.deepcopy(plain)
    resnet.lighten(joined)
    resnet.join(joined)
    images = torch.randn(16, 1, 28, 28, device=DEVICE)
    losses = [
        F.cross_entropy(one(images), torch.arange(16, device=DEVICE) % 10)
        for one in (joined, plain)
    ]
    assert losses[0].item() == pytest.approx(losses[1].item(), rel=1e-3)
    for loss in losses:
        loss.backward()
    apart = [
        distance(one.grad, two.grad)
        for one, two in zip(joined.parameters(), plain.parameters(), strict=True)
    ]
    assert max(apart) < 0.1  # float32's rounding grows so far on the way through ResNet-50
    states = joined.state_dict(), plain.state_dict()
    for name, tensor in states[1].items():
        assert torch.allclose(states[0][name], tensor, rtol=0.02, atol=0.01), name
    assert states[0].keys() == states[1].keys()
    with torch.no_grad():
        assert torch.allclose(joined.eval()(images), plain.eval()(images), atol=0.05)


def test_weights_are_cast_as_autocast_does():
    torch.manual_seed(0)
    network = resnet.build("resnet18")
    resnet.remove_dead_taps(network, 1, 28, products=False)
    images = torch.randn(8, 1, 28, 28)
    grads = []
    for cast in (False, True):
        network.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            weights = resnet.cast_weights(network, torch.bfloat16) if cast else {}
            assert {one.dtype for one in weights.values()} <= {torch.bfloat16}
            logits = torch.func.functional_call(network, weights, (images,))
            F.cross_entropy(logits, torch.arange(8)).backward()
        grads.append([one.grad.clone() for one in network.parameters()])
    assert all(map(torch.equal, *grads))
    assert {one.dtype for one in grads[1]} == {torch.float32}

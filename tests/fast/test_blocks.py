import copy

import pytest
import torch
import torch.nn.functional as F
from test_normalise import DEVICE, distance

from mlops_lib import resnet
from mlops_lib.fast import blocks, norms

normalise = pytest.importorskip("mlops_lib.fast.normalise")


def test_without_triton_torch_normalises(monkeypatch, capsys):
    def refuse(*arguments):
        raise RuntimeError("Failed to find C compiler\nat all")

    monkeypatch.setattr(normalise, "normalise", refuse)
    blocks.triton_runs.cache_clear()
    assert not blocks.triton_runs(torch.device(DEVICE))
    assert "RuntimeError: Failed to find C compiler\n" in capsys.readouterr().out
    monkeypatch.undo()
    blocks.triton_runs.cache_clear()
    assert blocks.triton_runs(torch.device(DEVICE))


@pytest.mark.parametrize("model", ["resnet18", "resnet50"])
def test_joined_blocks_are_the_same_network(model, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    if DEVICE == "cpu":  # blocks are interpreted one after the other
        monkeypatch.setattr(normalise, "LARGE", (1024, 256))
        monkeypatch.setattr(normalise, "SMALL", (256, 256))
    torch.manual_seed(0)
    plain = resnet.build(model)
    for name in ("layer1", "layer2", "layer3", "layer4"):  # a block of each kind
        plain.set_submodule(name, plain.get_submodule(name)[:2])
    resnet.remove_dead_taps(plain, 1, 28, products=False)
    plain.to(DEVICE)
    joined = copy.deepcopy(plain)
    norms.call_directly(joined)
    blocks.join(joined)
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

import copy

import pytest
import torch
from test_train import fit, small_network, source
from torch import nn

from mlops_lib import train
from mlops_lib.fast import adam


@pytest.mark.parametrize("large", [1, 100, 10**6])
def test_lean_adam_is_adam_to_the_bit(monkeypatch, large):
    """Both train on the same gradients; halfway, both resume from a state dict."""
    monkeypatch.setattr(adam.LeanAdam, "LARGE", large)  # numbers in a weight: 10, 16, 16, 160
    ours, theirs = small_network(), small_network()
    lean = adam.in_backward(train.make_optimizer("adam", ours, 0.05))
    plain = torch.optim.Adam(theirs.parameters(), lr=0.05, fused=True)
    assert type(lean) is adam.LeanAdam
    for number in range(6):
        if number == 3:
            lean.load_state_dict(copy.deepcopy(plain.state_dict()))
        for network, optimizer in ((ours, lean), (theirs, plain)):
            optimizer.zero_grad()
            images, labels = source().batch(torch.arange(8))
            nn.functional.cross_entropy(network(images), labels).backward()
            optimizer.step()
        for own, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            assert torch.equal(own, other)
        for own, other in zip(lean.state.values(), plain.state.values(), strict=True):
            assert all(torch.equal(own[name], other[name]) for name in other)


def stopped_by(error):
    def stop(*_):
        raise error

    return stop


@pytest.mark.parametrize("stopped", [None, KeyboardInterrupt])
def test_an_optimizer_lets_go_of_its_network(monkeypatch, stopped):
    """In a notebook a training is interrupted, and the cell run again."""
    monkeypatch.setattr(adam.LeanAdam, "LARGE", 1)
    network = small_network()
    if stopped:
        monkeypatch.setattr(train, "_validate", stopped_by(stopped))
        with pytest.raises(stopped):
            fit(network)
        monkeypatch.undo()
    else:
        fit(network)
    assert not any(weight._post_accumulate_grad_hooks for weight in network.parameters())
    before = copy.deepcopy(network.state_dict())
    with pytest.raises(RuntimeError, match="trained already"):
        fit(network)
    assert all(torch.equal(before[name], part) for name, part in network.state_dict().items())


def test_other_optimizers_stay_as_they_are():
    network = small_network()
    for optimizer in (
        train.make_optimizer("sgd", network, 0.1),
        torch.optim.Adam(network.parameters()),  # not fused
        torch.optim.AdamW(network.parameters(), fused=True),
    ):
        assert adam.in_backward(optimizer) is optimizer

"""`MLOPS_FAST=off` trains with plain torch and scikit-learn; both ways give the same network."""

import numpy as np
import pytest
import torch
from sklearn.svm import SVC
from torch import nn

from mlops_lib import batches, fast, hardware, record, resnet, svm, train
from mlops_lib.params import ParameterError, Q1a, Q1b


class Doubled(batches.Preparation):
    """Double precision, so that no rounding that a training amplifies hides a difference."""

    def __call__(self, images):
        return super().__call__(images).double()


def trained(monkeypatch, switch, optimizer, steps=3):
    """Train a ResNet-18 as a template does; return device, network, dead weights and history."""
    monkeypatch.setenv("MLOPS_FAST", switch)
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 10, 8 * steps)
    noise = generator.integers(0, 100, (len(labels), 28, 28))
    images = (noise + 15 * labels[:, None, None]).astype(np.uint8)
    device = hardware.prepare("cpu", amp="off")
    network = resnet.build("resnet18")
    dead = resnet.remove_dead_taps(network, 1, 28, products=device.is_plain_cpu)
    data = batches.Resident(
        images, labels, Doubled.fitted(images), batch_size=8, device=device.device
    )
    fitted = train.fit(network.double(), data, data, device, optimizer=optimizer, lr=1e-3)
    return device, network, dead, fitted


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_both_ways_train_the_same_network(monkeypatch, optimizer):
    on, off = (trained(monkeypatch, switch, optimizer) for switch in ("on", "off"))
    assert on[2] == off[2] and sum(on[2].values()) == 6_946_816
    assert on[3].step_losses == pytest.approx(off[3].step_losses, rel=1e-6)
    weights = [network.state_dict() for _, network, *_ in (on, off)]
    assert weights[0].keys() == weights[1].keys()
    for name, tensor in weights[1].items():
        assert torch.allclose(weights[0][name], tensor, rtol=1e-4, atol=1e-6), name


def test_what_is_off_is_torchs_own(monkeypatch):
    device, network, _, _ = trained(monkeypatch, "off", "adam", steps=1)
    assert (device.fast, device.allocator, device.describe()["fast"]) == (False, "default", False)
    assert {type(one).__module__.split(".")[0] for one in network.modules()} == {
        "torch",
        "torchvision",
    }
    assert {type(one) for one in network.modules() if isinstance(one, nn.Conv2d)} == {nn.Conv2d}
    made = train.make_optimizer("adam", network, 1e-3)
    assert type(made) is torch.optim.Adam


def test_an_svm_is_scikit_learns_own(monkeypatch, digits):
    (features, labels), (unseen, _) = digits
    ours = svm.fit(features, labels, kernel="rbf", C=10)
    monkeypatch.setenv("MLOPS_FAST", "off")
    plain = svm.fit(features, labels, kernel="rbf", C=10)
    assert type(plain) is SVC
    assert np.array_equal(plain.predict(unseen), ours.predict(unseen))
    assert svm.choose_backend("auto") == "libsvm"
    with pytest.raises(ParameterError, match=r"MLOPS_FAST=off leaves .* out; use 'auto'"):
        svm.require("intelex")


def test_the_record_says_which_it_was(monkeypatch):
    assert record.environment()["fast"] is True
    monkeypatch.setenv("MLOPS_FAST", "off")
    assert record.environment()["fast"] is False
    assert record.environment(fast=True)["fast"] is True


@pytest.mark.parametrize("parameters", [Q1a(), Q1b()])
def test_another_value_is_refused_before_any_work(monkeypatch, parameters):
    monkeypatch.setenv("MLOPS_FAST", "no")
    with pytest.raises(ParameterError, match="MLOPS_FAST='no' is not allowed: use 'on' or 'off'"):
        record.require(parameters)
    monkeypatch.setenv("MLOPS_FAST", "")
    assert fast.is_on()

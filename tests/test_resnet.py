import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mlops_lib import resnet
from mlops_lib.fast import norms

DEAD_AT_28 = {"resnet18": 6_946_816, "resnet50": 5_505_024}


def twins(model="resnet18", in_channels=1, size=28, products=True):
    torch.manual_seed(0)
    full = resnet.build(model, in_channels, input_size=size)
    live = copy.deepcopy(full)
    return full, live, resnet.remove_dead_taps(live, in_channels, size, products=products)


@pytest.mark.parametrize("model", ["resnet18", "resnet50"])
def test_weights_have_torchvisions_names_and_shapes(model):
    import torchvision

    reference = getattr(torchvision.models, model)(weights=None, num_classes=10).state_dict()
    built = resnet.build(model, in_channels=3).state_dict()
    assert {k: v.shape for k, v in built.items()} == {k: v.shape for k, v in reference.items()}
    grey = resnet.build(model).state_dict()
    assert grey["conv1.weight"].shape == (64, 1, 7, 7)


def test_any_size_from_28_to_224_gives_ten_logits():
    network = resnet.build("resnet18").eval()
    for size in (28, 33, 64):
        assert network(torch.zeros(2, 1, size, size)).shape == (2, 10)


def test_what_can_not_be_built_is_refused():
    with pytest.raises(ValueError, match="model='resnet19'"):
        resnet.build("resnet19")
    for size in (27, 225):
        with pytest.raises(ValueError, match=f"input_size={size} is not allowed"):
            resnet.build("resnet18", input_size=size)
    with pytest.raises(ValueError, match="num_classes=0 is not allowed: use 1 or more"):
        resnet.build("resnet18", num_classes=0)


def test_a_convolution_padded_by_more_than_its_kernel_is_left_alone():
    network = nn.Sequential(nn.Conv2d(1, 2, 2, stride=2, padding=2, bias=False))
    resnet.remove_dead_taps(network, 1, 1)
    assert type(network[0]) is nn.Conv2d


@pytest.mark.parametrize("model", ["resnet18", "resnet50"])
def test_dead_weights_are_those_without_a_gradient(model):
    full, _, removed = twins(model)
    assert sum(removed.values()) == DEAD_AT_28[model]
    # Double precision, so that no live gradient vanishes in rounding.
    F.cross_entropy(full.double()(torch.randn(4, 1, 28, 28).double()), torch.arange(4)).backward()
    for name, module in full.named_modules():
        if isinstance(module, nn.Conv2d):
            without = (module.weight.grad.abs().amax((0, 1)) == 0).sum() * module.weight[
                :, :, 0, 0
            ].numel()
            assert without == removed.get(name, 0), name


def test_at_224_nothing_is_dead():
    network = resnet.build("resnet18", 3, input_size=224)
    assert resnet.remove_dead_taps(network, 3, 224) == {}


@pytest.mark.parametrize("products", [True, False])
@pytest.mark.parametrize(("in_channels", "size"), [(1, 28), (3, 30)])
def test_training_with_and_without_dead_taps_is_the_same(in_channels, size, products):
    full, live, removed = twins("resnet18", in_channels, size, products)
    assert removed
    full, live = full.double(), live.double()
    norms.call_directly(live)
    optimizers = [torch.optim.Adam(network.parameters(), lr=1e-3) for network in (full, live)]
    for step in range(2):
        torch.manual_seed(step)
        x = torch.randn(4, in_channels, size, size).double()
        y = torch.randint(10, (4,))
        losses = []
        for network, optimizer in zip((full, live), optimizers, strict=True):
            optimizer.zero_grad()
            loss = F.cross_entropy(network(x), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[0] == pytest.approx(losses[1], rel=1e-8)
    for name, weights in full.state_dict().items():
        assert torch.allclose(weights, live.state_dict()[name], atol=1e-7), name


def test_cut_weights_load_into_the_full_network_and_back():
    full, live, _ = twins()
    with torch.no_grad():
        for weights in live.parameters():
            weights.add_(0.01)
    full.load_state_dict(live.state_dict())
    _, other, _ = twins()
    other.load_state_dict(full.state_dict())
    x = torch.randn(2, 1, 28, 28)
    expected = live.eval()(x)
    assert torch.allclose(full.eval()(x), expected, atol=1e-5)
    assert torch.equal(other.eval()(x), expected)


def test_weights_that_do_not_fit_are_refused():
    _, live, _ = twins()
    _, colour, _ = twins(in_channels=3)
    with pytest.raises(
        RuntimeError, match=r"size mismatch for conv1.weight: \(64, 1, 7, 7\) where"
    ):
        colour.load_state_dict(live.state_dict())
    weights = live.state_dict()
    del weights["layer4.1.conv2.weight"]
    with pytest.raises(RuntimeError, match=r"Missing key.*layer4\.1\.conv2"):
        live.load_state_dict(weights)
    assert live.load_state_dict(weights, strict=False).missing_keys == ["layer4.1.conv2.weight"]


def test_kept_weights_do_not_follow_later_training():
    _, live, _ = twins()
    kept = {name: tensor.clone() for name, tensor in live.state_dict().items()}
    saved = live.state_dict()["layer4.1.conv2.weight"]
    with torch.no_grad():
        live.layer4[1].conv2.weight.add_(1)
    assert torch.equal(saved, kept["layer4.1.conv2.weight"])

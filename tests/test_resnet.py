import copy
import functools
import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mlops_lib import resnet
from mlops_lib.resnet import LiveConv2d, SmallMapConv2d, live_taps

DEAD_AT_28 = {"resnet18": 6_946_816, "resnet50": 5_505_024}


# As a CPU in full precision cuts them, and as all else does.
CUTS = [LiveConv2d, SmallMapConv2d, functools.partial(LiveConv2d, products=False)]


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


def test_a_convolution_padded_by_more_than_its_kernel_is_left_alone():
    network = nn.Sequential(nn.Conv2d(1, 2, 2, stride=2, padding=2, bias=False))
    resnet.remove_dead_taps(network, 1, 1)
    assert type(network[0]) is nn.Conv2d


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


@pytest.mark.parametrize(("size", "kernel", "stride"), [(7, 3, 1), (6, 3, 2), (7, 1, 1), (8, 1, 2)])
def test_gradients_in_bfloat16_are_those_in_float32(monkeypatch, size, kernel, stride):
    torch.manual_seed(0)
    conv = nn.Conv2d(32, 48, kernel, stride, kernel // 2, bias=False)
    live = LiveConv2d(conv, size, size, products=False)
    used = []
    product, linear = resnet._FewPixels.apply, F.linear
    monkeypatch.setattr(resnet._FewPixels, "apply", lambda *x: used.append(3) or product(*x))
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
    monkeypatch.setattr(resnet._FewPixels, "apply", None)
    with torch.autocast("cpu", torch.bfloat16):
        assert live(torch.randn(1, 4, 8, 8).bfloat16()).shape == (1, 4, 8, 8)


def test_the_first_relu_works_on_the_pooled_maps():
    full, live, _ = twins()
    sides = []
    for network in (full.double(), live.double()):
        sizes = []
        network.get_submodule("maxpool" if network is live else "relu").register_forward_hook(
            lambda _, __, y, sizes=sizes: sizes.append(tuple(y.shape))
        )
        x = torch.randn(2, 1, 28, 28, generator=torch.Generator().manual_seed(1)).double()
        x.requires_grad_()
        sides.append((sizes, *torch.autograd.grad(network(x).square().sum(), x)))
    assert [sizes for sizes, _ in sides] == [[(2, 64, 14, 14)], [(2, 64, 7, 7)]]
    assert isinstance(live.relu, nn.Identity)  # and no longer on the large ones
    assert torch.allclose(sides[0][1], sides[1][1], atol=1e-12)


def test_a_small_map_is_multiplied_without_its_padding():
    conv = nn.Conv2d(1, 1, 3, padding=1, bias=False)
    plan = SmallMapConv2d(conv, 2, 2).plan
    assert len(plan.pixels) == 16  # of 4 outputs x 9 taps the pairs that hold a pixel
    assert (plan.taps, plan.meetings) == ([4, 4, 1], [4, 8, 4])  # corners, edges, the centre


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
    assert torch.allclose(found[1], live._cut(expected[1]), atol=1e-12)


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
    resnet.lighten(live)
    optimizers = [torch.optim.Adam(network.parameters(), lr=1e-3) for network in (full, live)]
    for step in range(6):
        torch.manual_seed(step)
        x = torch.randn(8, in_channels, size, size).double()
        y = torch.randint(10, (8,))
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


def test_batch_normalisations_count_together():
    full, live, _ = twins()
    resnet.lighten(live)
    for network in (full, live):
        network.train()(torch.randn(2, 1, 28, 28))
    counts = [name for name in full.state_dict() if name.endswith("num_batches_tracked")]
    assert {int(live.state_dict()[name]) for name in counts} == {1}
    assert live.state_dict().keys() == full.state_dict().keys()
    assert sum(len(m._forward_pre_hooks) for m in live.modules()) == 1
    resnet.lighten(full)  # as all have counted one
    full.bn1.num_batches_tracked += 1
    assert int(full.layer1[0].bn1.num_batches_tracked) == 2


def test_batch_normalisations_that_count_otherwise_are_left_alone():
    for norms in (
        [nn.BatchNorm2d(3), nn.BatchNorm2d(3)],  # with unlike counts
        [nn.BatchNorm2d(3, momentum=None)],
        [nn.BatchNorm2d(3, track_running_stats=False)],
    ):
        if len(norms) == 2:
            norms[1].num_batches_tracked += 1
        resnet.lighten(nn.Sequential(*norms))
        assert {type(norm) for norm in norms} == {nn.BatchNorm2d}


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

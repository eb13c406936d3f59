import pandas as pd
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mlops_lib import flops, paths, resnet


def test_a_multiply_add_counts_as_one():
    layer = nn.Sequential(nn.Conv2d(2, 3, 3, bias=False))
    assert flops.count(layer, in_channels=2, input_size=5) == 3 * 3 * 3 * (2 * 3 * 3)


@pytest.mark.parametrize(
    ("model", "channels", "size", "billions"),
    [
        ("resnet18", 1, 28, 0.033),
        ("resnet50", 1, 28, 0.078),
        ("resnet18", 3, 224, 1.819),
        ("resnet50", 3, 224, 4.109),
    ],
)
def test_counts_are_fvcores_and_half_of_torchs(model, channels, size, billions):
    from fvcore.nn import FlopCountAnalysis

    network = resnet.build(model, channels, input_size=size).eval()
    image = torch.zeros(1, channels, size, size)
    counted = flops.count(network, channels, size)
    assert round(counted / 1e9, 3) == billions
    reference = FlopCountAnalysis(network, image)
    assert counted == reference.unsupported_ops_warnings(False).total()
    with FlopCounterMode(display=False) as torchs:
        network(image)
    assert counted == pytest.approx(torchs.get_total_flops() / 2, rel=0.01)


def normalised_elements(network, channels, pixels):
    """Return how many numbers the batch normalisations of one forward pass yield."""
    counts = []
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.register_forward_hook(lambda _, __, output: counts.append(output.numel()))
    with torch.inference_mode():
        network.eval()(torch.zeros(1, channels, pixels, pixels))
    return sum(counts)


def test_the_book_has_the_sizes_of_the_networks():
    found = pd.read_csv(paths.BOOK / "networks.csv")
    for row in found.to_dict("records"):
        channels, pixels = row["channels"], row["pixels"]
        network = resnet.build(row["model"], channels, input_size=pixels)
        counted = flops.size(network, channels, pixels)
        assert row["norm_elements"] == normalised_elements(network, channels, pixels)
        dead = sum(resnet.remove_dead_taps(network, channels, pixels).values())
        assert row["weights"] == counted["parameters_total"]
        assert row["multiply_adds"] == counted["flops"]
        assert row["dead_weights"] == dead


def test_counting_leaves_the_network_as_it_was():
    network = resnet.build("resnet18").train()
    before = network.bn1.running_mean.clone()
    size = flops.size(network, 1, 28)
    assert network.training
    assert torch.equal(network.bn1.running_mean, before)
    assert size["parameters_total"] == sum(p.numel() for p in network.parameters()) == 11_175_370


def test_training_is_three_passes_of_two_operations():
    assert flops.training_rate(10, images_per_second=2.0) == 10 * 3 * 2 * 2

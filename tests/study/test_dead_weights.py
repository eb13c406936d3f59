from mlops_lib import resnet, tables
from mlops_lib.study import dead_weights


def counted(model):
    """Return a row for each convolution of a network, counted from its weights."""
    network = resnet.build(model)
    sizes = {name: weight.numel() for name, weight in network.named_parameters()}
    dead = resnet.remove_dead_taps(network, 1, 28)
    layers = {name.removesuffix(".weight"): size for name, size in sizes.items()}
    return [
        {"model": tables.title(model), "layer": layer, "weights": size, "dead": dead.get(layer, 0)}
        for layer, size in layers.items()
        if "conv" in layer or "downsample.0" in layer
    ]


def test_dead_weights_by_layer():
    layers = dead_weights.by_layer()
    assert layers.to_dict("records") == [*counted("resnet18"), *counted("resnet50")]
    sums = dead_weights.by_model(layers)
    assert sums["dead"].to_dict() == {"ResNet-18": 6_946_816, "ResNet-50": 5_505_024}
    # The last convolution of ResNet-18 works on one pixel: 8 of its 9 taps see padding alone.
    last = layers[layers["model"] == "ResNet-18"].iloc[-1]
    assert (last["layer"], last["weights"]) == ("layer4.1.conv2", 512 * 512 * 9)
    assert last["dead"] == 512 * 512 * 8
    assert dead_weights.table(layers).loc["ResNet-18", "Share"] == "62.2 %"


def test_the_figure_has_a_panel_for_each_network():
    drawn = dead_weights.draw(dead_weights.by_layer(), "Most never learn")
    assert [axis.get_title("left") for axis in drawn.figure.axes] == ["ResNet-18", "ResNet-50"]
    assert "6,946,816 of 11,160,640" in drawn.alt

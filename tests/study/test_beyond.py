import numpy as np
import pytest

from mlops_lib import data, record, resnet, tables
from mlops_lib.study import beyond, figures
from mlops_lib.study.table_cells import NOT_YET


@pytest.fixture
def runs(smoke):
    """Return the smoke runs as if they were of all images, and had the processor to themselves."""
    return tables.all_runs(smoke[0].slot.folder.parent).assign(train_images=49_000, alone=True)


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
    layers = beyond.dead_weights()
    assert layers.to_dict("records") == [*counted("resnet18"), *counted("resnet50")]
    sums = layers.groupby("model")["dead"].sum()
    assert sums.to_dict() == {"ResNet-18": 6_946_816, "ResNet-50": 5_505_024}
    # The last convolution of ResNet-18 works on one pixel: 8 of its 9 taps see padding alone.
    last = layers[layers["model"] == "ResNet-18"].iloc[-1]
    assert (last["layer"], last["weights"]) == ("layer4.1.conv2", 512 * 512 * 9)
    assert last["dead"] == 512 * 512 * 8
    assert "6,946,816 of 11,160,640" in figures.layers(layers).alt


def test_growth_has_a_row_for_each_method_and_number_of_images(runs):
    svms = runs[runs["template"] == "q1b"].assign(best_C=10.0, kernel="rbf", search=[[{}], [{}]])
    table = beyond.growth(svms)
    assert list(table["method"]) == ["SVM (RBF, C=10)"] * 2
    assert table["accuracy"].between(90, 100).all()
    assert figures.growth(table).png()
    assert beyond.growth(runs.iloc[:0]).empty
    busy = beyond.growth(svms.assign(alone=False))
    assert busy["seconds"].isna().all() and busy["accuracy"].notna().all()


def test_a_run_that_another_beats_is_not_on_the_front(runs):
    trained = runs[runs["template"] == "q1a"].assign(seconds=[1.0, 2.0], test_accuracy=[0.9, 0.8])
    table = beyond.cost(trained)
    assert list(table["best"]) == [True, False]
    assert figures.cost(table).png()
    assert beyond.front(trained)["Accuracy (%)"].tolist() == ["90.00"]
    assert list(beyond.cost(trained.assign(threads=[1, 2]))["best"]) == [True, True]
    assert list(beyond.cost(trained.assign(threads=[2, 1]))["machine"].str[-9:]) == [
        "2 threads", " 1 thread",
    ]  # fmt: skip


def test_what_the_cost_leaves_out_is_said(runs):
    trained = runs[runs["template"] == "q1a"].assign(alone=[True, False], test_accuracy=[0.8, 0.9])
    said = beyond.left_out(trained).data
    assert "1 of 2 runs" in said and "90.00" in said
    assert beyond.left_out(trained.assign(alone=True)).data == "Every run on all images is shown."
    busy = runs.assign(alone=runs["template"] != "q1b", test_accuracy=0.7)
    assert "2 of 4 runs" in beyond.left_out(busy).data and "SVM" in beyond.left_out(busy).data


def test_images_that_no_run_gets_right(runs):
    right = [record.unpack_correct(run) for run in runs.to_dict("records")]
    expected = [i for i in range(len(right[0])) if not any(r[i] for r in right)]
    assert beyond.never_right(runs, "digits").tolist() == expected
    assert beyond.never_right(runs, "digits", seed=9).tolist() == []


def test_without_the_images_their_number_is_said(runs, monkeypatch):
    monkeypatch.setattr(beyond, "never_right", lambda runs, dataset: np.array([1, 2]))
    monkeypatch.setattr(data, "local", lambda name: None)
    assert "2 test images of digits" in beyond.hardest(runs, "digits").data
    assert beyond.hardest(runs, "mnist").data == NOT_YET

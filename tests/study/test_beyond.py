import numpy as np
import pandas as pd
import pytest

from mlops_lib import data, plots, record, tables
from mlops_lib.study import beyond


@pytest.fixture
def runs(smoke):
    """Return the smoke runs as if they were of all images, and had the processor to themselves."""
    return tables.all_runs(smoke[0].slot.folder.parent).assign(train_images=49_000, alone=True)


def test_dead_weights_by_layer():
    layers = beyond.dead_weights()
    sums = layers.groupby("model")["dead"].sum()
    assert sums.to_dict() == {"ResNet-18": 6_946_816, "ResNet-50": 5_505_024}
    # The last convolution of ResNet-18 works on one pixel: 8 of its 9 taps see padding alone.
    last = layers[layers["model"] == "ResNet-18"].iloc[-1]
    assert (last["layer"], last["weights"]) == ("layer4.1.conv2", 512 * 512 * 9)
    assert last["dead"] == 512 * 512 * 8
    assert "6,946,816 of 11,160,640" in plots.layers(layers).alt


def test_growth_has_a_row_for_each_method_and_number_of_images(runs):
    svms = runs[runs["template"] == "q1b"].assign(best_C=10.0, kernel="rbf", search=[[{}], [{}]])
    table = beyond.growth(svms)
    assert list(table["method"]) == ["SVM (RBF, C=10)"] * 2
    assert table["accuracy"].between(90, 100).all()
    assert plots.growth(table).png()
    assert beyond.growth(runs.iloc[:0]).empty
    busy = beyond.growth(svms.assign(alone=False))
    assert busy["seconds"].isna().all() and busy["accuracy"].notna().all()


def test_a_run_that_another_beats_is_not_on_the_front(runs):
    trained = runs[runs["template"] == "q1a"].assign(seconds=[1.0, 2.0], test_accuracy=[0.9, 0.8])
    table = beyond.cost(trained)
    assert list(table["best"]) == [True, False]
    assert plots.cost(table).png()
    assert "90.00" in beyond.front(trained).data
    assert "80.00" not in beyond.front(trained).data
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


def test_a_training_that_was_repeated_is_shown(runs):
    one = runs[runs["template"] == "q1a"].iloc[:1]
    assert "No training" in beyond.repeats(one).data
    two = one.loc[one.index.repeat(2)].assign(template=["q1a", "q2"], test_accuracy=[0.9, 0.8])
    assert "epochs: 2, images: 49,000: 90.00, 80.00 %" in beyond.repeats(two).data
    assert beyond.repeats(runs.iloc[:0]).data == beyond.NOT_YET


def test_first_epochs_that_lie_apart_are_listed(runs):
    one = runs[runs["template"] == "q1a"].iloc[:1]
    one = one.assign(device_name="a CPU", threads=2, amp_dtype="float32")
    assert "No training" in beyond.first_epochs(one).data
    begun = [[{"val_accuracy": share, "seconds": 1.0}] for share in (0.70, 0.80, 0.80, 0.795)]
    several = one.loc[one.index.repeat(4)].assign(
        history=begun, epochs=[1, 2, 2, 2], template=["q2", "q1a", "q1a", "q1a"],
        threads=[1, 2, 2, 2], seed=[0, 0, 0, 1],
    )  # fmt: skip
    said = beyond.first_epochs(several).data
    assert "Of 1 trainings" in said and "up to 10.0 points apart, and at least 1 point in 1" in said
    assert "80.00 on a CPU, 2 threads, float32; 70.00 on a CPU, 1 thread, float32" in said
    assert said.count("80.00") == 1  # once, though it was begun twice so
    near = several.assign(seed=[0, 1, 2, 2])
    assert "at least 1 point in 0" in beyond.first_epochs(near).data
    assert beyond.first_epochs(runs.iloc[:0]).data == beyond.NOT_YET


def test_spread_over_seeds(runs):
    one = runs[runs["template"] == "q1a"].iloc[:1]
    assert "No configuration" in beyond.seeds(one).data
    two = one.loc[one.index.repeat(2)].assign(seed=[0, 1], test_accuracy=[0.90, 0.92])
    assert "- digits, ResNet-18: 1.41 points (pooled over 1 conf" in beyond.seeds(two).data
    # Deviations of 1.41 and 0 points, of two and of three seeds: sqrt((2 * 1 + 0 * 2) / 3).
    other = one.loc[one.index.repeat(3)].assign(seed=[0, 1, 2], lr=0.5)
    both = pd.concat([two, other])
    assert (
        "0.82 points (pooled over 2 configurations, each on a device), 1.41 at most"
        in beyond.seeds(both).data
    )
    deeper = beyond.seeds(pd.concat([two, other.assign(model="resnet50")])).data
    assert "ResNet-18: 1.41 points" in deeper and "ResNet-50: 0.00 points" in deeper
    elsewhere = two.assign(device=["cpu", "cuda"])
    assert "No configuration" in beyond.seeds(elsewhere).data


def test_pairs_are_shown_each_time_that_they_were_run(runs):
    one = runs[runs["template"] == "q1a"].iloc[:1].assign(dataset="mnist", epochs=5, correct=None)
    one = one.assign(lr=1e-3, batch_size=16, confusion_matrix=[[[14_000]]])
    sides = [
        one.assign(seed=seed, optimizer=optimizer, test_accuracy=accuracy)
        for seed, optimizer, accuracy in (
            (0, "adam", 0.99), (0, "sgd", 0.90), (1, "adam", 0.95), (1, "sgd", 0.951),
        )
    ]  # fmt: skip
    pairs = beyond.repeated_pairs(pd.concat(sides))
    assert set(pairs["compared"]) == {"Adam over SGD"}
    assert set(pairs["both"]) == {"MNIST, ResNet-18, rate 0.001, batch 16"}
    assert pairs["difference"].round(2).tolist() == [9, -0.1]
    assert pairs["beyond_chance"].tolist() == [1, 0]
    said = beyond.repeated_pairs_in_brief(pairs).data
    assert "Of 1 pairs" in said and "every time in 0. In 1 it changes (1 of MNIST): in 1 of" in said
    assert "in none two runs show such" in said
    opposed = beyond.repeated_pairs_in_brief(pairs.assign(beyond_chance=[1, -1])).data
    assert "in 1 two runs show such" in opposed
    table = beyond.repeated_pairs_table(pairs).data
    assert ">+9.00*<" in table and ">-0.10<" in table and ">CPU, seed 1<" in table
    alike = beyond.repeated_pairs(pd.concat([*sides[:3], sides[3].assign(test_accuracy=0.949)]))
    assert "every time in 1. In 0 it changes:" in beyond.repeated_pairs_in_brief(alike).data
    for too_few in (pd.concat(sides[:2]), pd.concat(sides[:3]), runs.iloc[:0]):
        none = beyond.repeated_pairs(too_few)
        assert "No pair" in beyond.repeated_pairs_in_brief(none).data
        assert beyond.repeated_pairs_table(none).data == beyond.NOT_YET


def test_images_that_no_run_gets_right(runs):
    right = [record.unpack_correct(run) for run in runs.to_dict("records")]
    expected = [i for i in range(len(right[0])) if not any(r[i] for r in right)]
    assert beyond.never_right(runs, "digits").tolist() == expected
    assert beyond.never_right(runs, "digits", seed=9).tolist() == []


def test_without_the_images_their_number_is_said(runs, monkeypatch):
    monkeypatch.setattr(beyond, "never_right", lambda runs, dataset: np.array([1, 2]))
    monkeypatch.setattr(data, "local", lambda name: None)
    assert "2 test images of digits" in beyond.hardest(runs, "digits").data
    assert beyond.hardest(runs, "mnist").data == beyond.NOT_YET

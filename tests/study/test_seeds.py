import base64

import numpy as np
import pandas as pd
import pytest

from mlops_lib import record, tables
from mlops_lib.study import seeds
from mlops_lib.study.table_cells import NOT_YET


@pytest.fixture
def runs(smoke):
    """Return the smoke runs as if they were of all images, and had the processor to themselves."""
    return tables.all_runs(smoke[0].slot.folder.parent).assign(train_images=49_000, alone=True)


def test_a_training_that_was_repeated_is_shown(runs):
    one = runs[runs["template"] == "q1a"].iloc[:1]
    assert "No training" in seeds.repeats(one).data
    two = one.loc[one.index.repeat(2)].assign(template=["q1a", "q2"], test_accuracy=[0.9, 0.8])
    assert "epochs: 2, images: 49,000: 90.00, 80.00 %" in seeds.repeats(two).data
    assert seeds.repeats(runs.iloc[:0]).data == NOT_YET


def test_first_epochs_that_lie_apart_are_listed(runs):
    one = runs[runs["template"] == "q1a"].iloc[:1]
    one = one.assign(device_name="a CPU", threads=2, amp_dtype="float32")
    assert "No training" in seeds.first_epochs(one).data
    begun = [[{"val_accuracy": share, "seconds": 1.0}] for share in (0.70, 0.80, 0.80, 0.795)]
    several = one.loc[one.index.repeat(4)].assign(
        history=begun, epochs=[1, 2, 2, 2], template=["q2", "q1a", "q1a", "q1a"],
        threads=[1, 2, 2, 2], seed=[0, 0, 0, 1],
    )  # fmt: skip
    said = seeds.first_epochs(several).data
    assert "Of 1 trainings" in said and "up to 10.0 points apart, and at least 1 point in 1" in said
    assert "80.00 on a CPU, 2 threads, float32; 70.00 on a CPU, 1 thread, float32" in said
    assert said.count("80.00") == 1  # once, though it was begun twice so
    near = several.assign(seed=[0, 1, 2, 2])
    assert "at least 1 point in 0" in seeds.first_epochs(near).data
    assert seeds.first_epochs(runs.iloc[:0]).data == NOT_YET


def test_spread_over_seeds(runs):
    one = runs[runs["template"] == "q1a"].iloc[:1]
    assert "No configuration" in seeds.spread(one).data
    two = one.loc[one.index.repeat(2)].assign(seed=[0, 1], test_accuracy=[0.90, 0.92])
    assert "- digits, ResNet-18: 1.41 points (pooled over 1 conf" in seeds.spread(two).data
    # Deviations of 1.41 and 0 points, of two and of three seeds: sqrt((2 * 1 + 0 * 2) / 3).
    other = one.loc[one.index.repeat(3)].assign(seed=[0, 1, 2], lr=0.5)
    both = pd.concat([two, other])
    assert (
        "0.82 points (pooled over 2 configurations, each on a device), 1.41 at most"
        in seeds.spread(both).data
    )
    deeper = seeds.spread(pd.concat([two, other.assign(model="resnet50")])).data
    assert "ResNet-18: 1.41 points" in deeper and "ResNet-50: 0.00 points" in deeper
    elsewhere = two.assign(device=["cpu", "cuda"])
    assert "No configuration" in seeds.spread(elsewhere).data


def test_pairs_are_shown_each_time_that_they_were_run(runs):
    one = runs[runs["template"] == "q1a"].iloc[:1].assign(dataset="mnist", epochs=5, correct=None)
    one = one.assign(lr=1e-3, batch_size=16, confusion_matrix=[[[14_000]]])
    sides = [
        one.assign(seed=seed, optimizer=optimizer, test_accuracy=accuracy)
        for seed, optimizer, accuracy in (
            (0, "adam", 0.99), (0, "sgd", 0.90), (1, "adam", 0.95), (1, "sgd", 0.951),
        )
    ]  # fmt: skip
    pairs = seeds.repeated_pairs(pd.concat(sides))
    assert set(pairs["compared"]) == {"Adam over SGD"}
    assert set(pairs["both"]) == {"MNIST, ResNet-18, rate 1e-3, batch 16"}
    assert pairs["difference"].round(2).tolist() == [9, -0.1]
    assert pairs["significantly_ahead"].tolist() == [1, 0]
    said = seeds.repeated_pairs_in_brief(pairs).data
    assert "Of 1 pairs" in said and "every time in 0. In 1 it changes (1 of MNIST): in 1 of" in said
    assert "in none two runs show such" in said
    opposed = seeds.repeated_pairs_in_brief(pairs.assign(significantly_ahead=[1, -1])).data
    assert "in 1 two runs show such" in opposed
    table = seeds.repeated_pairs_table(pairs)
    assert table["CPU, seed 0"].tolist() == ["+9.00*"]
    assert table["CPU, seed 1"].tolist() == ["-0.10"]
    alike = seeds.repeated_pairs(pd.concat([*sides[:3], sides[3].assign(test_accuracy=0.949)]))
    assert "every time in 1. In 0 it changes:" in seeds.repeated_pairs_in_brief(alike).data
    for too_few in (pd.concat(sides[:2]), pd.concat(sides[:3]), runs.iloc[:0]):
        none = seeds.repeated_pairs(too_few)
        assert "No pair" in seeds.repeated_pairs_in_brief(none).data
        assert seeds.repeated_pairs_table(none).empty


def test_trainings_on_both_devices_are_compared(folder):
    runs = tables.all_runs(folder).assign(amp_dtype="float32")
    for few in (runs, tables.all_runs(folder / "none")):
        assert "No configuration" in seeds.devices_in_brief(seeds.devices(few)).data
    assert seeds.devices_table(seeds.devices(runs)).empty
    gpu = runs.iloc[:4].assign(device="cuda", amp_dtype="bfloat16")
    right = record.unpack_correct(gpu.iloc[0].to_dict())
    wrong = base64.b64encode(np.packbits(right & (np.arange(len(right)) > 50))).decode()
    worse = gpu.iloc[:3].assign(test_accuracy=gpu["test_accuracy"] - 0.05, correct=wrong)
    shorter = gpu.iloc[3:].assign(epochs=1)
    again = worse.assign(seed=1, test_accuracy=0.5)
    both = seeds.devices(pd.concat([runs, worse, shorter, again]))
    assert both["difference"].round(2).tolist() == [-5.0] * 3
    assert both["significantly_ahead"].tolist() == [-1] * 3
    one = runs.iloc[:1].assign(seed=1)  # of all on the GPU, of one on the CPU
    unlike = seeds.devices(pd.concat([runs, one, worse, again]))
    assert unlike["difference"].round(2).tolist() == [-5.0] * 3
    alike = seeds.devices(pd.concat([runs, worse.assign(correct=gpu["correct"])]))
    assert alike["significantly_ahead"].tolist() == [0] * 3
    assert "lower in 3 (3 beyond chance)" in seeds.devices_in_brief(both).data
    texts = seeds.devices_table(both).to_string()
    assert texts.count("bfloat16") == texts.count("yes") == 3

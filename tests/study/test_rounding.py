import pandas as pd
from test_full_tables import SPREAD
from test_tables import make

from mlops_lib.study import rounding


def test_a_training_that_was_repeated_is_shown(runs):
    one = runs(make(epochs=2))
    assert rounding.repeats(one).empty and rounding.repeats(one.iloc[:0]).empty
    two = one.loc[one.index.repeat(2)].assign(template=["q1a", "q2"], test_accuracy=[0.9, 0.8])
    (row,) = rounding.repeats(two).to_dict("records")
    assert row["Training"] == "MNIST, ResNet-18, Adam 1e-3, batch 32"
    assert row["Accuracy (%)"].startswith("[90.00](") and "[80.00](" in row["Accuracy (%)"]


def test_first_epochs_that_lie_apart_are_listed(runs):
    one = runs(make()).assign(device_name="a CPU", amp_dtype="float32")
    begun = [[{"val_accuracy": share, "seconds": 1.0}] for share in (0.70, 0.80, 0.80, 0.795)]
    several = one.loc[one.index.repeat(4)].assign(
        history=begun, epochs=[1, 2, 2, 2], template=["q2", "q1a", "q1a", "q1a"],
        threads=[1, 2, 2, 2], seed=[0, 0, 0, 1],
    )  # fmt: skip
    found = rounding.first_epochs(several)
    assert found["runs"].tolist() == [3] and found["apart"].round(2).tolist() == [10]
    each = "80.00 on a CPU, 2 threads, float32; 70.00 on a CPU, 1 thread, float32"
    assert found["each"][0] == each  # once, though it was begun twice so
    assert len(rounding.far_apart(found)) == 1
    assert rounding.far_apart(found.assign(apart=0.9)).empty
    assert rounding.first_epochs(one.iloc[:0]).empty


def test_trainings_on_both_devices_are_compared_over_the_seeds_of_both(runs):
    cpu = runs(*[make(epochs=5, seed=seed) for seed in (0, 1)])
    gpu = cpu.assign(device="cuda", test_accuracy=[0.97, 0.5], seed=[0, 2])
    (row,) = rounding.devices(pd.concat([cpu, gpu]), SPREAD).to_dict("records")
    assert (row["seeds"], round(row["difference"], 2), row["significant"]) == (1, -1.57, -1)
    both = rounding.devices(pd.concat([cpu, gpu]), SPREAD)
    assert rounding.devices_facts(both)["lower"] == 1
    assert rounding.devices_table(both)["GPU less CPU (points)"].tolist() == ["−1.57*"]
    alone = rounding.devices(cpu, SPREAD)
    assert alone.empty and rounding.devices_facts(alone) == {}
    assert rounding.devices(runs().iloc[:0], SPREAD).empty

import pandas as pd
import pytest
from test_tables import make

from mlops_lib.study import full_tables, selection
from mlops_lib.study.protocol import NOT_RUN
from mlops_lib.study.table_cells import NOTHING, accuracy_cell

KIND = pd.MultiIndex.from_tuples([("mnist", "resnet18")], names=["dataset", "model"])
SPREAD = pd.DataFrame({"std": [0.2], "df": [8], "settings": [8]}, index=KIND)


def test_tables_have_a_row_for_each_published_one_and_say_what_was_not_run(runs):
    empty = runs()
    for table, rows, columns in (
        (full_tables.q1a(empty, SPREAD), 16, 2),
        (full_tables.q1b(empty), 4, 1),
        (full_tables.q2(empty), 12, 1),  # once a row
    ):
        said = table.map(lambda text: text.startswith(NOT_RUN))
        assert len(table) == rows and said.to_numpy().sum() == columns * rows
        assert not table.isna().any(axis=None)


def test_a_run_fills_its_cell_and_no_other(runs):
    table = full_tables.q1a(runs(make(optimizer="sgd", lr=1e-4, batch_size=16, epochs=5)), SPREAD)
    cells = table[("ResNet-18", "measured here")]
    assert cells["MNIST", 16, "SGD", "1e-4"] == "98.57 (98.36–98.76) [seed 0](runs/suite/q1a/0)"
    assert (cells == NOT_RUN).sum() == 15
    assert (table[("ResNet-50", "measured here")] == NOT_RUN).all()
    # Two trainings differ by 0.2 * 2.306 * sqrt(2) = 0.65 points.
    assert table[("ResNet-18", "A")]["MNIST", 16, "SGD", "1e-4"] == "98.40 (−0.17)"
    assert table[("ResNet-18", "B")]["MNIST", 16, "SGD", "1e-4"] == "97.70 (−0.87*)"
    assert table[("ResNet-18", "A")]["MNIST", 32, "SGD", "1e-4"] == "98.30"


def test_a_shorter_run_says_so(runs):
    table = full_tables.q1a(runs(make(train_images=9000, batch_size=16)), SPREAD)
    assert "(" not in table[("ResNet-18", "A")]["MNIST", 16, "Adam", "1e-3"]
    cell = table[("ResNet-18", "measured here")]["MNIST", 16, "Adam", "1e-3"]
    assert cell.endswith("; 1 epoch of 5; 9,000 images of 49,000")


def test_the_fullest_run_is_shown_and_seeds_are_averaged(runs):
    small = make(right=14_000, train_images=100)
    table = runs(small, make(right=13_860, seed=0), make(right=13_720, seed=1))
    here = selection.fullest(table)
    assert sorted(here["seed"]) == [0, 1]
    cell = accuracy_cell(here)
    assert cell.startswith("98.50 (98.28–98.69); mean of 2 seeds [seed 0](")  # Wilson's
    third = runs(small, *[make(right=13_860 - 70 * seed, seed=seed) for seed in range(3)])
    cell = accuracy_cell(selection.fullest(third))
    assert cell.startswith("98.50 (97.26–99.74); mean of 3 seeds [")  # Student's


def test_a_diverged_training_says_so(runs):
    diverged = {"epochs": [{"val_accuracy": 0.9, "seconds": 1.0}] * 2, "diverged": True}
    table = full_tables.q1a(runs(make(results=diverged, batch_size=16, epochs=5)), SPREAD)
    cell = table[("ResNet-18", "measured here")]["MNIST", 16, "Adam", "1e-3"]
    assert cell.endswith("; diverged in epoch 2")


def test_svm_and_device_rows(runs):
    best = {"best": {"C": 10.0, "degree": 2, "gamma": 0.03}}
    asked = {"optimizer": "sgd", "batch_size": 16}
    fast = {"images_per_second": 8000.0}
    table = runs(
        make("q1b", kernel="poly", right=13_500, results=best),
        make("q2", environment={"device": "cuda"}, results=fast, **asked),
    )
    svm = full_tables.q1b(table).loc[("MNIST", "polynomial")]
    assert svm["Measured here", "accuracy"].startswith("96.43")
    assert svm["Measured here", "fit (s)"] == "12.5"
    assert svm["Measured here", "best"] == "C 10; degree 2; gamma 0.03"
    assert svm["Report A", "best"] == "C 10; degree 2"
    assert svm["Report B", "best"] == "C 10"
    speed = full_tables.q2(table).loc[("A", "GPU", "ResNet-18", "SGD", "28×28")]
    assert speed["Measured here", "images/s"] == "8,000"
    assert speed["Measured here", "share of peak"] == "25.0 %"
    old = full_tables.q2(table.drop(columns="peak_share"))["Measured here", "share of peak"]
    assert set(old) == {NOTHING}
    missing = full_tables.q2(table).loc[("A", "GPU", "ResNet-50", "SGD", "28×28")]["Measured here"]
    assert missing["accuracy"] == "not run: needs a GPU"
    assert set(missing.drop("accuracy")) == {NOTHING}


@pytest.mark.parametrize("other", [{"amp": "off"}, {"input_pipeline": "dataloader"}])
def test_only_runs_by_the_protocol_fill_the_table_of_devices(runs, other):
    run = make("q2", optimizer="sgd", batch_size=16, device="cpu", **other)
    row = full_tables.q2(runs(run)).loc[("A", "CPU", "ResNet-18", "SGD", "28×28")]
    assert row["Measured here", "accuracy"] == NOT_RUN


def test_a_benchmark_beside_other_work_is_in_brackets(runs):
    used = {"train_seconds": 60.0, "train_cpu_seconds": 65.0, "images_per_second": 800.0}
    run = make("q2", environment={"device": "cpu", "threads": 2}, device="cpu", results=used,
               optimizer="sgd", batch_size=16)  # fmt: skip
    row = full_tables.q2(runs(run)).loc[("A", "CPU", "ResNet-18", "SGD", "28×28")]["Measured here"]
    assert (row["time (s)"], row["images/s"]) == ("(60)", "(800)")
    assert not row["GFLOPs"].startswith("(")


def test_rows_of_q2_are_of_the_images_of_their_report(runs):
    coloured = {"input_size": 224, "in_channels": 3, "batch_size": 16}
    unlike = {"in_channels": 1, "epochs": 9}
    table = runs(make("q2", **coloured), make("q2", right=13_300, **coloured | unlike))
    shown = full_tables.q2(table).to_string()
    assert "98.57 (" in shown and "95.00 (" not in shown

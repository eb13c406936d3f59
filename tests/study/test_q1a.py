import pytest
from test_tables import make

from mlops_lib.publish import html_tables
from mlops_lib.study import all_runs, beyond, q1a, q1b, q2, selection, sources
from mlops_lib.study.protocol import NOT_RUN
from mlops_lib.study.table_cells import accuracy_cell


def test_tables_have_a_row_for_each_published_configuration(runs):
    empty = runs()
    assert len(q1a.table(empty)) == 16
    assert len(q1b.table(empty)) == 4
    assert len(q2.table(empty)) == 12


def test_a_run_fills_its_cell_and_no_other(runs):
    table = q1a.table(runs(make(optimizer="sgd", lr=1e-4, batch_size=16, epochs=5)))
    cells = table[("ResNet-18", "measured here")]
    assert cells["MNIST", 16, "SGD", "1e-4"] == "98.57 (98.36–98.76) [seed 0](runs/suite/q1a/0)"
    assert (cells == NOT_RUN).sum() == 15
    assert (table[("ResNet-50", "measured here")] == NOT_RUN).all()
    assert table[("ResNet-18", "A")]["MNIST", 16, "SGD", "1e-4"] == "98.40 (-0.17)"
    assert table[("ResNet-18", "B")]["MNIST", 16, "SGD", "1e-4"] == "97.70 (-0.87*)"
    assert table[("ResNet-18", "A")]["MNIST", 32, "SGD", "1e-4"] == "98.30"


def test_a_shorter_run_says_so(runs):
    table = q1a.table(runs(make(train_images=9000, batch_size=16)))
    assert "(" not in table[("ResNet-18", "A")]["MNIST", 16, "Adam", "1e-3"]
    cell = table[("ResNet-18", "measured here")]["MNIST", 16, "Adam", "1e-3"]
    assert cell.endswith("; 1 epoch of 5; 9,000 images of 49,000")


def test_the_fullest_run_is_shown_and_seeds_are_averaged(runs):
    small = make(right=14_000, train_images=100)
    table = runs(small, make(right=13_860, seed=0), make(right=13_720, seed=1))
    here = selection.fullest(table)
    assert sorted(here["seed"]) == [0, 1]
    assert accuracy_cell(selection.fullest(table)).startswith(
        "98.50 (98.28–98.69); mean of 2 seeds ["
    )  # Wilson's
    third = runs(small, *[make(right=13_860 - 70 * seed, seed=seed) for seed in range(3)])
    assert accuracy_cell(selection.fullest(third)).startswith(
        "98.50 (97.26–99.74); mean of 3 seeds ["
    )  # Student's


def test_a_diverged_training_says_so_and_counts_with_its_best_epoch(runs):
    epoch = {"val_accuracy": 0.9, "seconds": 1.0}
    diverged = {"epochs": [epoch] * 2, "diverged": True}
    asked = {"batch_size": 16, "epochs": 5}
    table = runs(make(results=diverged, **asked), make(seed=1, **asked))
    shown = q1a.table(table)
    cell = shown[("ResNet-18", "measured here")]["MNIST", 16, "Adam", "1e-3"]
    assert "mean of 2 seeds" in cell and cell.endswith("; diverged in epoch 2")
    assert shown[("ResNet-18", "A")]["MNIST", 16, "Adam", "1e-3"].startswith("99.00 (")
    assert html_tables.page(all_runs.table(table)).data.count("diverged in epoch 2") == 1
    assert len(selection.complete(sources.ours(table).q1a)) == 1
    costs = beyond.cost(table).set_index("run")["operations"]
    assert costs.index[0].endswith("diverged in epoch 2")
    assert costs.iloc[0] == pytest.approx(2 / 5 * costs.iloc[1])  # of the epochs that it did


def test_the_best_is_of_the_published_protocol(runs):
    cell = {"dataset": "mnist", "batch_size": 16}
    other = make(right=13_990, input_size=64, epochs=5, **cell)
    whole = make(right=13_800, epochs=5, **cell), make(right=13_700, seed=1, epochs=5, **cell)
    table = runs(*whole, other)
    found = q1a.finding(table).data.partition("\n")[0]
    assert "best: 98.21 (" in found and "batch 16 (mean of 2 seeds). Run with all" in found
    alone = q1a.finding(table[table["input_size"] == 64]).data.partition("\n")[0]
    assert "99.93 (99.87–99.96) %" in alone and "batch 16 (input_size 64). Run with" in alone
    assert "0 of 16 configurations. The" in alone


def test_where_some_configurations_have_more_seeds_the_best_of_those_is_named(runs):
    cell = {"dataset": "mnist", "epochs": 5}
    first = make(right=13_900, batch_size=16, **cell)
    lucky = [make(right=right, seed=s, lr=1e-4, **cell) for s, right in enumerate((13_950, 13_400))]
    even = [make(right=right, seed=s, **cell) for s, right in enumerate((13_800, 13_780))]
    table = runs(first, *lucky, *even)
    found = q1a.finding(table).data.partition("\n")[0]
    assert "best: 99.64 (" in found and "Adam 1e-4" in found.partition(";")[0]
    assert "Of 2 configurations with 2 seeds, the best by their mean: 98.50 (" in found
    assert "batch 32; the seeds tell 0 of the 1 others" in found.partition("by their mean")[2]
    worse = [
        make(right=right, seed=s, optimizer="sgd", **cell)
        for s, right in enumerate((13_000, 12_981))
    ]
    told = q1a.finding(runs(first, *lucky, *even, *worse)).data
    assert "the seeds tell 1 of the 2 others from it" in told
    alone = table[(table["lr"] == 1e-4) | (table["batch_size"] == 16)]
    assert "their mean" not in q1a.finding(alone).data


def test_settings_that_are_as_good_within_chance_are_named_with_the_best(runs):
    cell = {"dataset": "mnist", "batch_size": 16, "epochs": 5}
    table = runs(
        make(right=13_800, **cell),
        make(right=13_795, optimizer="sgd", **cell),
        make(right=13_500, optimizer="sgd", **cell | {"batch_size": 32}),
        make(right=13_799, momentum=0.0, **cell | {"epochs": 1}),
    )
    found = q1a.finding(table).data.partition("\n")[0]
    assert "within chance of it: ResNet-18, SGD 1e-3, batch 16. Run" in found
    assert "with all published epochs: 3 of 16 configurations (ResNet-18). The" in found


def test_points_of_the_figure_have_intervals_where_measured(runs):
    points = q1a.accuracies(runs(make(batch_size=32, epochs=5), make(batch_size=16)))
    assert len(points) == 66
    measured = points[points.source == "measured here"].iloc[0]
    assert measured.configuration.endswith("batch 32")
    assert measured.low < measured.accuracy < measured.high
    (shorter,) = points[points.source == "measured here on less"].to_dict("records")
    assert shorter["configuration"].endswith("batch 16")

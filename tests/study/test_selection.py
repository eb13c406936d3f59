import pandas as pd
import pytest
from test_full_tables import SPREAD
from test_tables import make

from mlops_lib.study import full_tables, selection, sources


def test_a_search_of_more_candidates_comes_first(runs):
    tried = {"val_accuracy": 0.9, "fit_seconds": 20.0}
    table = runs(
        make("q1b", right=13_700, results={"search": [tried]}),
        make("q1b", right=13_800, results={"search": [tried] * 3}),
        make("q1b", right=13_900, results={"search": [tried] * 9}, train_images=20_000),
    )
    assert selection.fullest(table)["test_accuracy"].tolist() == [13_800 / 14_000]
    shown = full_tables.q1b(table)["Measured here", "accuracy"]
    assert shown.str.startswith("98.57").sum() == 1


def test_runs_of_another_device_are_not_taken_together(runs):
    table = runs(make(seed=0), make(seed=1), make(seed=2, environment={"device": "cuda"}))
    assert selection.fullest(table)["seed"].tolist() == [0, 1]


def test_a_fit_on_one_thread_needs_the_time_of_one(runs):
    used = {"fit_seconds": 50.0, "fit_cpu_seconds": 49.0}
    for backend, counts in (("libsvm", 1), ("intelex", 0)):
        made = make("q1b", results={"backend": backend} | used, environment={"threads": 2})
        assert len(selection.alone(runs(made))) == counts


@pytest.mark.parametrize(
    ("device", "threads", "used", "alone"),
    [("cpu", 2, 95.0, True), ("cpu", 2, 60.0, False), ("cuda", 16, 50.0, True),
     ("cpu", 1, None, True), ("cpu", None, 1.0, True), ("shared cuda", 16, 50.0, False)],
)  # fmt: skip
def test_a_time_counts_where_the_processor_did_nothing_else(runs, device, threads, used, alone):
    results = {"train_seconds": 50.0, "train_cpu_seconds": used}
    shared, device = "shared" in device, device.removeprefix("shared ")
    machine = {"device": device, "device_name": "a device", "threads": threads}
    machine["device_shared"] = shared
    table = runs(make(results=results, environment=machine, lr=1e-3, batch_size=32))
    assert table["seconds"].item() == 50
    assert len(selection.alone(table)) == alone
    ours = sources.ours(table).q1a.iloc[0]
    assert (ours["train_seconds"] == 50) == alone


def test_tables_show_the_device_that_verdicts_rest_on(runs):
    """Of what both devices have, that with more of the study is shown; else what there is."""
    whole = {"dataset": "mnist", "batch_size": 16, "epochs": 5}
    gpu = {"device": "cuda", "device_name": "a GPU"}
    table = runs(
        make(right=13_700, **whole),
        make(right=13_800, environment=gpu, **whole),
        make(right=13_900, environment=gpu, **whole | {"optimizer": "sgd"}),
        make(right=13_600, **whole | {"epochs": 1, "model": "resnet50"}),
    )
    assert selection.main_device(table) == "cuda"
    assert selection.main_device_first(table)["device"].tolist() == ["cuda", "cuda", "cpu", "cpu"]
    shown = full_tables.q1a(table, SPREAD).to_string()
    assert "98.57 (" in shown and "97.86 (" not in shown  # 13,800 and 13,700 of 14,000
    assert "97.14 (" in shown  # of the CPU alone
    longer = table.assign(epochs=5)
    assert selection.main_device(longer[longer["optimizer"] == "adam"]) == "cpu"
    assert selection.main_device(table.iloc[:0]) is None
    equal = runs(make(**whole), make(environment=gpu, **whole))
    again = runs(make(**whole), make(environment=gpu, **whole), make(seed=1, **whole))
    assert (selection.main_device(equal), selection.main_device(again)) == ("cuda", "cpu")
    short = [make(seed=seed, **whole | {"epochs": 1}) for seed in range(1, 4)]
    assert (
        selection.main_device(runs(make(**whole), make(environment=gpu, **whole), *short)) == "cuda"
    )


def test_times_are_of_the_device_that_has_most_of_whole_trainings_beside_svms(runs):
    gpu = {"device": "cuda", "device_name": "a GPU", "cpu": "of the GPU"}
    cell = {"dataset": "mnist", "batch_size": 16, "epochs": 5}
    on_gpu = [make(environment=gpu, seed=seed, **cell) for seed in (0, 1)]
    on_cpu = make(environment={"cpu": "a CPU"}, **cell)

    def timed(*made):
        source = sources.ours(runs(*made))
        assert source.q1a["device"].tolist() == ["cuda"]
        return source.timed["device"].item()

    assert timed(*on_gpu, on_cpu) == "cuda"
    svm = make("q1b", dataset="mnist", environment={"cpu": "a CPU"})
    assert timed(*on_gpu, on_cpu, svm) == "cpu"
    shared = [make(environment=gpu | {"device_shared": True}, seed=s, **cell) for s in (0, 1)]
    assert timed(*shared, on_cpu) == "cpu"


def test_seeds_of_the_device_that_verdicts_rest_on_are_shown(runs):
    """A lower seed on another device does not take their place."""
    cell = {"dataset": "mnist", "batch_size": 16, "epochs": 5}
    gpu = {"device": "cuda", "device_name": "a GPU"}
    table = runs(
        make(right=13_300, environment=gpu, seed=0, **cell),
        make(right=13_800, seed=1, **cell),
        make(right=13_800, seed=2, **cell),
        make(right=13_700, seed=1, **cell | {"optimizer": "sgd"}),
    )
    assert selection.main_device(table) == "cpu"
    shown = full_tables.q1a(table, SPREAD).to_string()
    assert "98.57 (" in shown and "95.00 (" not in shown


@pytest.mark.parametrize(
    "unlike",
    [{"epochs": 20}, {"in_channels": 3}, {"amp": "off"}, {"input_pipeline": "dataloader"}],
)
def test_only_runs_of_the_published_protocol_are_in_the_published_tables(runs, unlike):
    cell = {"dataset": "mnist", "batch_size": 16, "epochs": 5}
    other = make(right=13_300, **cell | unlike)  # read first
    table = runs(other, make(right=13_800, **cell))
    shown = full_tables.q1a(table, SPREAD).to_string()
    assert "98.57 (" in shown and "95.00 (" not in shown
    assert sources.ours(table).q1a["test_accuracy"].tolist() == [13_800 / 14_000]


def test_images_of_another_dataset_are_not_compared_with_the_protocol(runs):
    row = runs(make(dataset="digits", train_images=1_257)).iloc[0]
    assert selection.extent(row) == "1,257 images"


def test_runs_on_less_than_published_are_not_judged():
    rows = {"dataset": ["mnist", "mnist", "mnist", "fashion_mnist"], "epochs": [5, 1, 5, 10],
            "train_images": [49_000, 49_000, 20_000, 49_000], "number": range(4)}  # fmt: skip
    assert selection.complete(pd.DataFrame(rows))["number"].tolist() == [0, 3]
    del rows["epochs"]
    assert selection.complete(pd.DataFrame(rows))["number"].tolist() == [0, 1, 3]


def test_verdicts_rest_on_the_seeds_that_all_configurations_have(complete):
    """One configuration with a second seed is judged by the first; all of them, by the mean."""
    first = complete[complete["seed"] != 1]
    again = complete[complete["seed"] == 1]
    one = sources.ours(pd.concat([again[:1], first], ignore_index=True)).q1a  # read before seed 0
    assert set(one["seed"]) == {0} and set(one["trainings"]) == {1}
    both = sources.ours(pd.concat([again, first], ignore_index=True)).q1a
    assert set(both["trainings"]) == {2} and all(set(of) == {0, 1} for of in both["by_seed"])
    mean = complete[complete["title"] == both["title"][0]]["test_accuracy"].mean()
    assert both["accuracy_pct"][0] == 100 * mean  # not rounded to whole images


def test_without_a_common_seed_that_of_most_is_judged(complete):
    first, again = (complete[complete["seed"] == seed] for seed in (0, 1))
    resnets = first[first["template"] == "q1a"]
    table = sources.ours(pd.concat([again[:1], resnets[1:]], ignore_index=True)).q1a
    assert set(table["seed"]) == {0} and len(table) == 31


def test_resnets_of_one_device_are_judged(complete):
    """Runs of one model on a GPU and all on a CPU: the whole grid of the CPU counts."""
    some = complete[complete["model"] == "resnet18"].assign(device="cuda", device_name="a GPU")
    table = sources.ours(pd.concat([some, complete], ignore_index=True)).q1a
    assert set(table["device"]) == {"cpu"} and len(table) == 32

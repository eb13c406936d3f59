import json

import numpy as np
import pandas as pd
import pytest

from mlops_lib import tables
from mlops_lib.params import TEMPLATES
from mlops_lib.record import Record
from mlops_lib.study import beyond, layouts, sources, speed


def matrix(right, total):
    """Return a confusion matrix with this many right answers."""
    counts = np.zeros((10, 10), int)
    counts[0, 0], counts[0, 1] = right, total - right
    return counts.tolist()


def make(
    template="q1a", right=13_800, train_images=49_000, environment=None, results=None, **parameters
):
    total = 14_000
    q1b = template == "q1b"
    if not q1b:
        parameters = {"lr": 1e-3, "batch_size": 32, "epochs": 1} | parameters
    timing = {"fit_seconds": 12.5} if q1b else {"train_seconds": 60.0, "images_per_second": 800.0}
    values = {
        "test_accuracy": right / total,
        "confusion_matrix": matrix(right, total),
        "train_images": train_images,
        "flops": 33_000_000,
        "peak_share": 0.25,
        "best": {"C": 10.0},
    }
    return Record(
        template=template,
        key="0" * 64,
        parameters=TEMPLATES[template](**parameters).model_dump(mode="json"),
        results=values | timing | (results or {}),
        environment={"device": "cpu", "device_name": "a CPU"} | (environment or {}),
        started_at="2026-01-01T00:00:00Z",
        duration_seconds=70,
    )


def test_a_damaged_record_is_left_out_with_a_warning(runs, tmp_path):
    (tmp_path / "suite" / "q1a").mkdir(parents=True)
    (tmp_path / "suite" / "q1a" / "bad.json").write_text("{")
    with pytest.warns(UserWarning, match=r"left out: .*bad\.json"):
        table = runs(make())
    assert len(table) == 1


def test_precision_and_recall_by_hand():
    counts = np.array([[8, 2], [1, 9]])
    table = tables.per_class(counts, ("a", "b"))
    assert table.loc["a"].tolist() == pytest.approx([0.8889, 0.8, 10])
    assert table.loc["b"].tolist() == pytest.approx([0.8182, 0.9, 10])


def test_the_published_tables_are_complete():
    q1a = tables.published("q1a")
    assert len(q1a) == 64
    assert q1a.accuracy_pct.between(0, 100).all()
    assert len(tables.published("q1b")) == 8
    assert len(tables.published("q2")) == 12


def test_two_runs_are_compared_by_what_differs():
    table = tables.compare(make(lr=0.1), make(lr=0.2, right=13_000))
    assert table.loc["parameters.lr"].tolist() == [0.1, 0.2]
    assert "results.test_accuracy" in table.index
    assert "parameters.dataset" not in table.index
    assert tables.compare(make(), make()).empty
    other = make().model_copy(update={"key": "f" * 64})
    assert tables.compare(make(), other).index.tolist() == ["key of the code"]
    svms = tables.compare(make("q1b", gamma=["scale"]), make("q1b", gamma=["scale", 0.1]))
    assert svms.loc["parameters.gamma"].tolist() == [["scale"], ["scale", 0.1]]
    unlike = tables.compare(make(), make("q1b"))
    assert unlike.loc["template"].tolist() == ["q1a", "q1b"]
    assert unlike.loc["parameters.lr"].tolist() == [1e-3, ""]


def test_the_best_candidate_comes_first():
    rows = [
        {"C": 1.0, "degree": None, "gamma": "scale", "val_accuracy": 0.5, "fit_seconds": 1.0},
        {"C": 2.0, "degree": None, "gamma": "scale", "val_accuracy": 0.75, "fit_seconds": 1.0},
    ]
    table = tables.search(rows)
    assert table.index.tolist() == [2.0, 1.0]
    assert table["val_accuracy"].tolist() == ["75.00 %", "50.00 %"]
    assert isinstance(table, pd.DataFrame)


def test_the_benchmark_says_what_falls_short(tmp_path):
    figure = {"low": 2.0, "high": 4.0, "n": 5}
    figures = {
        "faster": figure | {"median": 3.0, "least": 2.5},
        "slower": figure | {"median": 3.0, "most": 2.0},
    }
    path = tmp_path / "result.json"
    better = {"faster": figures["faster"], "slower": figure | {"median": 1.0, "most": 2.0}}
    path.write_text(json.dumps({"one machine": figures, "another": better}))
    table = speed.benchmarks(path)
    assert table["wanted"].tolist() == ["at least 2.5"] * 2 + ["at most 2"] * 2
    assert table[""].tolist() == ["", "", "short", ""]
    assert table.index.tolist()[2:] == [("slower", "one machine"), ("slower", "another")]
    assert speed.read(tmp_path / "none.json") == {}
    assert speed.benchmarks(tmp_path / "none.json").empty


def test_small_hyperparameters_are_shown_as_they_are():
    rows = [{"C": 0.001, "gamma": 0.003, "val_accuracy": 0.5, "fit_seconds": 1.234}]
    table = tables.search(rows)
    assert table.index.tolist() == [0.001]
    assert table.loc[0.001, ["gamma", "fit_seconds"]].tolist() == [0.003, 1.23]


def test_a_search_of_more_candidates_comes_first(runs):
    tried = {"val_accuracy": 0.9, "fit_seconds": 20.0}
    table = runs(
        make("q1b", right=13_700, results={"search": [tried]}),
        make("q1b", right=13_800, results={"search": [tried] * 3}),
        make("q1b", right=13_900, results={"search": [tried] * 9}, train_images=20_000),
    )
    assert tables.fullest(table)["test_accuracy"].tolist() == [13_800 / 14_000]
    shown = layouts.q1b(table)["Measured here", "accuracy"]
    assert shown.str.startswith("98.57").sum() == 1
    costs = beyond.cost(table).set_index("seconds")["run"]
    assert costs.index.tolist() == [20, 60]
    assert costs[60].endswith("SVM, RBF kernel, 3 candidates")


def test_runs_of_another_device_are_not_taken_together(runs):
    table = runs(make(seed=0), make(seed=1), make(seed=2, environment={"device": "cuda"}))
    assert tables.fullest(table)["seed"].tolist() == [0, 1]


def test_a_fit_on_one_thread_needs_the_time_of_one(runs):
    used = {"fit_seconds": 50.0, "fit_cpu_seconds": 49.0}
    for backend, counts in (("libsvm", 1), ("intelex", 0)):
        made = make("q1b", results={"backend": backend} | used, environment={"threads": 2})
        assert len(tables.alone(runs(made))) == counts


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
    assert len(tables.alone(table)) == alone
    assert len(beyond.cost(table)) == alone
    ours = sources.ours(table).q1a.iloc[0]
    assert (ours["train_seconds"] == 50) == alone


def test_a_gain_names_the_devices_that_it_is_of(runs):
    gpu = {"device": "cuda", "device_name": "a GPU", "threads": 16}
    table = runs(
        make("q2", environment={"threads": 2}),
        make("q2", environment=gpu, results={"train_seconds": 6.0, "images_per_second": 8000.0}),
        make("q2", seed=1, environment={"threads": 1}, results={"images_per_second": 5.0}),
        make("q2", optimizer="sgd"),  # on a CPU alone
    )
    (found,) = tables.gpu_ratios(sources.ours(table).q2).to_dict("records")
    assert found["ratio"] == pytest.approx(10)
    assert found["devices"] == "a GPU against a CPU, 2 threads"
    told = tables.gpu_ratios(sources.report("A").q2)
    assert len(told) == 4 and set(told["devices"]) == {""}


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
    assert tables.main_device(table) == "cuda"
    assert tables.main_device_first(table)["device"].tolist() == ["cuda", "cuda", "cpu", "cpu"]
    shown = layouts.q1a(table).to_string()
    assert "98.57 (" in shown and "97.86 (" not in shown  # 13,800 and 13,700 of 14,000
    assert "97.14 (" in shown  # of the CPU alone
    longer = table.assign(epochs=5)
    assert tables.main_device(longer[longer["optimizer"] == "adam"]) == "cpu"
    assert tables.main_device(table.iloc[:0]) is None
    equal = runs(make(**whole), make(environment=gpu, **whole))
    again = runs(make(**whole), make(environment=gpu, **whole), make(seed=1, **whole))
    assert (tables.main_device(equal), tables.main_device(again)) == ("cuda", "cpu")
    short = [make(seed=seed, **whole | {"epochs": 1}) for seed in range(1, 4)]
    assert tables.main_device(runs(make(**whole), make(environment=gpu, **whole), *short)) == "cuda"


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
    assert tables.main_device(table) == "cpu"
    shown = layouts.q1a(table).to_string()
    assert "98.57 (" in shown and "95.00 (" not in shown


@pytest.mark.parametrize(
    "unlike",
    [{"epochs": 20}, {"in_channels": 3}, {"amp": "off"}, {"input_pipeline": "dataloader"}],
)
def test_only_runs_of_the_published_protocol_are_in_the_published_tables(runs, unlike):
    cell = {"dataset": "mnist", "batch_size": 16, "epochs": 5}
    other = make(right=13_300, **cell | unlike)  # read first
    table = runs(other, make(right=13_800, **cell))
    shown = layouts.q1a(table).to_string()
    assert "98.57 (" in shown and "95.00 (" not in shown
    assert sources.ours(table).q1a["test_accuracy"].tolist() == [13_800 / 14_000]


def test_rows_of_q2_are_of_the_images_of_their_report(runs):
    coloured = {"input_size": 224, "in_channels": 3, "batch_size": 16}
    unlike = {"in_channels": 1, "epochs": 9}
    table = runs(make("q2", **coloured), make("q2", right=13_300, **coloured | unlike))
    shown = layouts.q2(table).to_string()
    assert "98.57 (" in shown and "95.00 (" not in shown

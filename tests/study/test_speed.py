import json

from test_tables import make

from mlops_lib import machine, tables
from mlops_lib.study import speed


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


def test_the_table_of_machines_has_runs_and_benchmarks(runs, tmp_path):
    def measured(name, rate, **parameters):
        environment = {"device_name": name, "amp_dtype": "float32"}
        return make(environment=environment, results={"images_per_second": rate}, **parameters)

    alike = {"batch_size": 16, "model": "resnet18"}
    table = runs(
        *(measured("A", rate, seed=number, **alike) for number, rate in enumerate((1e3, 3e3))),
        measured("A", 9e9, batch_size=32), measured("A", 9e9, model="resnet50", batch_size=16),
        measured("A", 9e9, input_size=224, amp="on", **alike), make("q1b", seed=1),
    )  # fmt: skip
    path = tmp_path / "benchmarks.json"
    path.write_text(json.dumps({
        "2 cores of A": {"x": {"commit": "1234567890"}, "y": {"commit": "1234567890+"}},
        "16 cores of A, a GPU": {"x": {}},
    }))  # fmt: skip
    found = speed.machines(table, path)
    untrained = dict.fromkeys(found, "") | {"ResNet-18, images/s": "–"}
    assert found.to_dict("index") == {
        "A": {
            "runs": "suite: 5", "precision": "28×28: float32",
            "ResNet-18, images/s": "2,000 (n=2)", "benchmarks": "2 at 1234567, 1234567+",
        },
        "a CPU": untrained | {"runs": "suite: 1"},
        "a GPU": untrained | {"benchmarks": "1"},
    }  # fmt: skip
    assert speed.machines(tables.rows({}), tmp_path / "none.json").empty


def test_gains_have_their_range_over_machines(tmp_path):
    path = tmp_path / "benchmarks.json"
    name = "ResNet-{}, 28x28, batch 16: times the plain loop"
    figures = {
        "A": {name.format(18): {"median": 3.04}, "CUDA, " + name.format(18): {"median": 19.0}},
        "B": {name.format(50): {"median": 2.5}, "two ResNet-18 side by side": {"median": 9}},
    }
    path.write_text(json.dumps(figures))
    assert speed.gains(path) == {"cpu": "2.5 to 3.0", "cuda": "19.0"}
    assert speed.gains(tmp_path / "none.json") == {}


def test_processors_of_one_name_are_told_apart_by_their_instructions(runs):
    environment = {"device_name": "A", "instructions": "AVX2"}
    table = runs(make(environment=environment), make(seed=1), make("q2", environment=environment))
    assert {"A (AVX2)", "a CPU"} <= set(speed.machines(table).index)


def test_the_time_of_the_book_is_that_of_such_a_machine_or_the_longest(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "cpu_name", lambda: "here")
    monkeypatch.setattr(machine, "instructions", lambda: "AVX2")
    monkeypatch.setattr(machine, "cores", lambda: [0, 1])
    path = tmp_path / "benchmarks.json"
    assert speed.book_seconds(False, path) is None
    figures = {
        f"{count} cores of {name}": {speed.BOOK_NEW: {"median": seconds}}
        for count, name, seconds in ((4, "here (AVX2)", 9), (2, "A", 50), (2, "B", 40))
    }
    path.write_text(json.dumps(figures))
    assert speed.book_seconds(True, path) is None
    assert speed.book_seconds(False, path) == (50, "2 cores of A")
    figures["2 cores of here (AVX2), a GPU"] = {speed.BOOK_NEW: {"median": 30}}
    path.write_text(json.dumps(figures))
    assert speed.book_seconds(False, path) == (30, "2 cores of here (AVX2), a GPU")

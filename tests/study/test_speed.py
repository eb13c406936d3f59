import json

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

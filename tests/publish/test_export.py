import json
import shutil
import sys

import pandas as pd
import pytest
from mlflow import MlflowClient
from test_tables import make

from mlops_lib import record
from mlops_lib.params import ParameterError
from mlops_lib.publish import export


@pytest.fixture
def folder(smoke):
    return smoke[0].slot.folder.parent


def test_a_store_gets_every_run_once(folder, smoke, tmp_path):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    assert export.write(uri, folder) == (5, [])
    assert export.write(uri, folder) == (0, [])
    client = MlflowClient(uri, registry_uri=uri)
    experiment = client.get_experiment_by_name(export.EXPERIMENT).experiment_id
    runs = {run.info.run_name: run for run in client.search_runs([experiment])}
    slot, made = smoke[0].slot, smoke[0].record
    logged = (
        runs[slot.title]
        if len(runs) == 5
        else client.search_runs(
            [experiment], f"tags.`mlops.identity` = '{made.key} {made.started_at}'"
        )[0]
    )
    assert logged.data.metrics["test_accuracy"] == made.results["test_accuracy"]
    assert logged.data.params["lr"] == str(made.parameters["lr"])
    assert logged.data.tags["environment.torch"] == made.environment["torch"]
    history = client.get_metric_history(logged.info.run_id, "epoch.val_loss")
    assert [(m.step, m.value) for m in history] == [
        (number, epoch["val_loss"]) for number, epoch in enumerate(made.results["epochs"], 1)
    ]


def test_what_a_run_does_not_have_is_missing_in_a_table(folder, tmp_path):
    export.write(str(tmp_path / "runs.parquet"), folder)
    table = pd.read_parquet(tmp_path / "runs.parquet")
    trained = table["template"] != "q1b"
    assert table["search"].isna().tolist() == trained.tolist()
    assert table["history"].notna().tolist() == trained.tolist()


def test_a_run_that_was_repeated_is_written_again(folder, smoke, tmp_path):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    copy = tmp_path / "runs" / "smoke" / "q1a" / "run.json"
    made = smoke[0].record
    for started_at in ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"):
        record.write(made.model_copy(update={"started_at": started_at}), copy)
        assert export.write(uri, tmp_path / "runs") == (1, [])


ODD_RECORDS = {  # by whether MLflow takes them
    "names": (
        {"results": {"error rate (%)": 0.5, "error rate [%]": 1, "": 2, "../x": 3, "a/": 4}},
        True,
    ),
    "values": ({"results": {"x": float("nan"), "y": float("inf"), "z": None, "b": True}}, True),
    "nested": (
        {"results": {"x": [{"y": [None]}]}, "environment": {"note": {"a": "x" * 9000}}},
        True,
    ),
    "long": (
        {"results": {"y" * 999: 1, "epochs": [{"val_accuracy": 0.5, "seconds": 1.0}] * 900}},
        True,
    ),
    "many": ({"environment": {f"variable {number}": "x" for number in range(150)}}, True),
    "huge": ({"results": {"x": 10**400}}, False),
    "early": ({"started_at": "1950-01-01T00:00:00Z"}, False),
    "endless": ({"duration_seconds": 1e308}, False),
    "no time": ({"started_at": "2026-99-99T00:00:00Z"}, False),
}


@pytest.fixture
def odd(tmp_path):
    """Write records that are odd, each in its own way, and one that is cut off; return a folder."""
    folder = tmp_path / "runs" / "suite" / "q1a"
    for number, (name, (changes, _)) in enumerate(ODD_RECORDS.items()):
        content = make().model_dump(mode="json") | {"started_at": f"2026-01-01T00:00:{number:02}Z"}
        for part, values in changes.items():
            is_part = isinstance(values, dict)
            content[part] = content[part] | values if is_part else values
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.json").write_text(json.dumps(content))
    (folder / "cut.json").write_text('{"schema')
    return folder.parents[1]


def test_an_odd_record_costs_nothing_but_itself_in_a_store(odd, tmp_path):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    shutil.copy(odd / "suite" / "q1a" / "names.json", odd / "suite" / "q1a" / "names-Copy1.json")
    bad = sorted(["cut", *(name for name, (_, taken) in ODD_RECORDS.items() if not taken)])
    for written in (len(ODD_RECORDS) + 1 - len(bad), 0):
        said = export.write(uri, odd)
        assert said[0] == written
        assert sorted(line.partition(".json ")[0].rpartition("/")[2] for line in said[1]) == bad
    client = MlflowClient(uri, registry_uri=uri)
    (experiment,) = client.search_experiments(filter_string=f"name = '{export.EXPERIMENT}'")
    runs = client.search_runs([experiment.experiment_id])
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert len(runs) == len(ODD_RECORDS) + 1 - len(bad)
    named = [run.data.metrics for run in runs if "error rate ___" in run.data.metrics]
    (metrics,) = named
    assert (metrics["error rate ___"], metrics["error rate ____"]) == (0.5, 1)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_an_odd_record_costs_nothing_but_itself_in_a_table(odd, tmp_path, suffix):
    target = tmp_path / f"runs{suffix}"
    written, left_out = export.write(str(target), odd)
    assert written == len(ODD_RECORDS) - 1
    assert [line.partition(".json ")[0].rpartition("/")[2] for line in left_out] == [
        "cut",
        "no time",
    ]
    table = pd.read_csv(target) if suffix == ".csv" else pd.read_parquet(target)
    assert len(table) == written
    assert '[{"y": [null]}]' in set(table["x"]) and str(10**400) in set(table["x"])


@pytest.mark.parametrize("target", ["runs.xls", "nonsense://x", "http://127.0.0.1:9"])
def test_a_target_that_can_not_be_used_is_named(folder, target):
    with pytest.raises(ParameterError, match=target):
        export.write(target, folder)


def test_without_mlflow_it_says_how_to_install_it(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(ParameterError, match="pip install mlflow"):
        export.write("sqlite:///x.db", folder)


def test_what_a_parquet_file_needs_is_named(monkeypatch):
    monkeypatch.setattr(export, "find_spec", lambda name: None)
    with pytest.raises(ParameterError, match=r"target='runs\.parquet' needs PyArrow"):
        export.write("runs.parquet")

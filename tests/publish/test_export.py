import sys

import pandas as pd
import pytest
from mlflow import MlflowClient

from mlops_lib import record
from mlops_lib.params import ParameterError
from mlops_lib.publish import export


@pytest.fixture
def folder(smoke):
    return smoke[0].slot.folder.parent


def test_a_store_gets_every_run_once(folder, smoke, tmp_path):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    assert export.write(uri, folder) == 5
    assert export.write(uri, folder) == 0
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
        assert export.write(uri, tmp_path / "runs") == 1


@pytest.mark.parametrize("target", ["runs.xls", "nonsense://x", "http://127.0.0.1:9"])
def test_a_target_that_can_not_be_used_is_named(folder, target):
    with pytest.raises(ParameterError, match=target):
        export.write(target, folder)


def test_without_mlflow_it_says_how_to_install_it(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(ParameterError, match="pip install mlflow"):
        export.write("sqlite:///x.db", folder)

import os
from pathlib import Path

import pytest

from mlops_lib import paths
from mlops_lib.params import ParameterError


def test_a_folder_is_where_its_variable_says(monkeypatch, tmp_path):
    monkeypatch.delenv("MLOPS_RUNS", raising=False)
    assert paths.runs() == paths.BOOK / "runs"
    monkeypatch.setenv("MLOPS_RUNS", str(tmp_path))
    assert paths.runs() == tmp_path
    monkeypatch.setenv("MLOPS_RUNS", "~/runs")
    assert paths.runs() == Path.home() / "runs"
    monkeypatch.setenv("MLOPS_RUNS", "~nobody-of-this-name/runs")
    with pytest.raises(ParameterError, match=r"MLOPS_RUNS='~nobody\S+ is not allowed"):
        paths.runs()


def test_relative_settings_hold_for_processes_that_work_elsewhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLOPS_CHECKPOINTS", "checkpoints")
    monkeypatch.delenv("MLOPS_RUNS", raising=False)
    paths.make_absolute()
    assert os.environ["MLOPS_CHECKPOINTS"] == str(tmp_path / "checkpoints")
    assert "MLOPS_RUNS" not in os.environ

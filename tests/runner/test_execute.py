import dataclasses
import json
import threading
from types import SimpleNamespace

import nbformat
import pytest

from mlops_lib import paths, record
from mlops_lib.params import Q1b
from mlops_lib.runner import execute, suite
from mlops_lib.runner.slot import Slot


def test_every_smoke_run_leaves_a_notebook_and_a_record(smoke):
    assert len(smoke) == 5
    for outcome in smoke:
        assert outcome.error is None
        slot = outcome.slot
        made = record.read(slot.record)
        assert made == outcome.record
        assert made.parameters == slot.run.parameters.model_dump(mode="json")
        assert made.key == record.key(slot.run.parameters, slot.run.template)
        assert slot.status() == "done"


def test_records_hold_the_fields_of_the_design(executed):
    training = {"test_accuracy", "last_test_accuracy", "epochs", "train_seconds",
                "images_per_second", "confusion_matrix", "correct", "parameters_total",
                "parameters_dead", "flops", "diverged"}  # fmt: skip
    fields = {
        "q1a": training,
        "q2": training,
        "q1b": {"search", "best", "test_accuracy", "fit_seconds", "predict_seconds", "n_support",
                "backend", "confusion_matrix", "correct"},
    }  # fmt: skip
    for template, expected in fields.items():
        results = executed[template][1].results
        assert expected <= set(results), template
        assert record.unpack_correct(results).mean() == pytest.approx(results["test_accuracy"])


def test_pages_are_titled_after_their_run_and_hold_no_path(smoke):
    titles = set()
    for outcome in smoke:
        notebook = nbformat.read(outcome.slot.notebook, 4)
        titles.add(notebook.cells[0].source.splitlines()[0])
        assert str(paths.PROJECT) not in json.dumps(notebook)
        assert '"text/html": [' not in outcome.slot.notebook.read_text()  # a list takes more room
    assert "# digits, ResNet-18, Adam 3e-4, batch 16" in titles
    assert "# digits, SVM, RBF kernel" in titles


def test_figures_are_images(executed):
    for template, figures in (("q1a", 4), ("q1b", 4), ("q2", 0)):
        outputs = [
            output
            for cell in nbformat.read(executed[template][0].notebook, 4).cells
            for output in cell.get("outputs", ())
        ]
        assert sum("image/png" in output.get("data", {}) for output in outputs) == figures


def test_a_failure_leaves_an_earlier_result(executed, tmp_path):
    done, made = executed["q1a"]
    slot = Slot(done.run, tmp_path)
    slot.record.parent.mkdir()
    slot.notebook.write_text(done.notebook.read_text())
    for damage in ("{", ""):
        slot.record.write_text(damage)
        execute.keep(slot, execute.Performed("{}", "made up", 0.0), slot.key)
        assert slot.notebook.read_text() == done.notebook.read_text()
        assert slot.read().results == made.results


def test_a_rerun_that_fails_costs_no_earlier_result(tmp_path, executed):
    done, _ = executed["q1b"]
    slot = Slot(done.run, tmp_path / "any")
    execute.keep(slot, execute.Performed(done.notebook.read_text(), None, 1.0), "0" * 64)
    assert slot.status() == "stale"
    before = slot.notebook.read_text(), slot.record.read_text()
    assert execute.keep(slot, execute.Performed("{}", "made up", 0.0), slot.key) is None
    assert (slot.notebook.read_text(), slot.record.read_text()) == before


def test_what_a_killed_runner_had_begun_to_write_is_removed(tmp_path, executed):
    done, _ = executed["q1b"]
    slot = Slot(done.run, tmp_path / "any")
    slot.notebook.parent.mkdir(parents=True)
    for path in (slot.notebook, slot.record, slot.record.with_stem("other")):
        path.with_name(f".{path.name}.x1y2").write_text("{")
    execute.keep(slot, execute.Performed(done.notebook.read_text(), None, 1.0), slot.key)
    left = {path.name for path in slot.record.parent.iterdir()}
    assert left == {slot.notebook.name, slot.record.name, ".other.json.x1y2"}


def test_a_notebook_without_a_record_costs_no_earlier_result(tmp_path, executed):
    done, _ = executed["q1b"]
    slot = Slot(done.run, tmp_path / "any")
    execute.keep(slot, execute.Performed(done.notebook.read_text(), None, 1.0), slot.key)
    before = slot.notebook.read_text(), slot.record.read_text()
    with pytest.raises(record.RecordError, match="no cell shows one"):
        execute.keep(slot, execute.Performed('{"cells": []}', None, 1.0), slot.key)
    assert (slot.notebook.read_text(), slot.record.read_text()) == before


def test_a_checkpoint_stays_until_the_record_is_written(tmp_path, executed, monkeypatch):
    def refuse(*_):
        raise OSError("No space left on device")

    done, made = executed["q1b"]
    slot = Slot(done.run, tmp_path / "any")
    monkeypatch.setenv("MLOPS_CHECKPOINTS", str(tmp_path))
    kept = record.checkpoint_path(made.key)
    kept.touch()
    performed = execute.Performed(done.notebook.read_text(), None, 1.0)
    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr(record, "write", refuse)
        execute.keep(slot, performed, slot.key)
    assert kept.exists()
    execute.keep(slot, performed, slot.key)
    assert not kept.exists()


def test_a_fresh_task_goes_on_from_no_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setenv("MLOPS_CHECKPOINTS", str(tmp_path))
    monkeypatch.setattr("papermill.execute_notebook", lambda *_, **__: None)
    task = execute.Task.of(Slot(suite.Run("q1b", Q1b(dataset="digits")), tmp_path / "any"))
    for fresh in (False, True):
        left = record.checkpoint_path(task.key)
        left.touch()
        execute.perform(dataclasses.replace(task, fresh=fresh))
        assert left.exists() != fresh


def test_a_notebook_on_its_own_removes_its_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setenv("MLOPS_CHECKPOINTS", str(tmp_path))
    begun = record.begin("q1b", {"dataset": "digits"})
    begun.checkpoint.touch()
    monkeypatch.setenv(record.RUNNER, "1")
    begun.finish({})
    assert begun.checkpoint.exists()
    monkeypatch.delenv(record.RUNNER)
    begun.finish({})
    assert not begun.checkpoint.exists()


def test_an_alarm_rings_until_it_is_heard():
    rings = threading.Semaphore(0)
    kernel = SimpleNamespace(end=rings.release)
    late = threading.Event()
    with execute._alarm(0.01, late, kernel):
        assert all(rings.acquire(timeout=10) for _ in range(2))
    assert late.is_set()
    late.clear()
    with execute._alarm(60, late, kernel):
        pass
    assert not late.is_set()


def test_the_newest_line_of_progress_is_handed_on():
    lines = []
    tap = execute._Tap(lines.append)
    tap.write("a\rb\r")
    tap.write("\n")
    assert lines == ["b"]

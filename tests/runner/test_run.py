import dataclasses
import json
import re
import threading
from types import SimpleNamespace

import nbformat
import pytest

from mlops_lib import machine, paths, record
from mlops_lib.params import ParameterError, Q1a, Q1b
from mlops_lib.runner import execute as run
from mlops_lib.runner import grid, suite
from mlops_lib.runner import repeat as again


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
    assert "# digits, ResNet-18, Adam 0.0003, batch 16" in titles
    assert "# digits, SVM, RBF kernel" in titles


def test_figures_are_images(executed):
    for template, figures in (("q1a", 4), ("q1b", 4), ("q2", 0)):
        outputs = [
            output
            for cell in nbformat.read(executed[template][0].notebook, 4).cells
            for output in cell.get("outputs", ())
        ]
        assert sum("image/png" in output.get("data", {}) for output in outputs) == figures


def test_what_is_done_is_skipped(smoke):
    again = list(grid.execute_all([outcome.slot for outcome in smoke]))
    assert all(outcome.skipped for outcome in again)
    assert [outcome.record for outcome in again] == [outcome.record for outcome in smoke]


def test_a_changed_template_makes_its_runs_stale(executed, monkeypatch):
    slot, _ = executed["q1a"]
    monkeypatch.setattr(record, "key", lambda parameters, template: "f" * 64)
    assert slot.status() == "stale"
    assert next(grid.execute_all([slot])).skipped


def test_a_damaged_record_counts_as_not_done(executed, tmp_path):
    slot = run.Slot(executed["q1a"][0].run, tmp_path)
    assert slot.status() == "missing"
    slot.record.parent.mkdir()
    slot.record.write_text("{")
    slot.notebook.write_text("{}")
    assert slot.status() == "damaged"
    assert not slot.restore()
    run.keep(slot, run.Performed('{"x": 1}', "made up", 0.0), slot.key)
    assert (slot.record.read_text(), slot.notebook.read_text()) == ("{", '{"x": 1}')


def test_a_failure_leaves_an_earlier_result(executed, tmp_path):
    done, made = executed["q1a"]
    slot = run.Slot(done.run, tmp_path)
    slot.record.parent.mkdir()
    slot.notebook.write_text(done.notebook.read_text())
    for damage in ("{", ""):
        slot.record.write_text(damage)
        run.keep(slot, run.Performed("{}", "made up", 0.0), slot.key)
        assert slot.notebook.read_text() == done.notebook.read_text()
        assert slot.read().results == made.results


def test_a_damaged_record_is_written_anew_from_its_notebook(executed, tmp_path):
    done, made = executed["q1a"]
    slot = run.Slot(done.run, tmp_path / "any")
    slot.record.parent.mkdir(parents=True)
    assert not slot.restore()  # there is no notebook
    slot.notebook.write_text(done.notebook.read_text())
    assert slot.status() == "failed" and slot.restore()  # a record that is gone
    slot.record.write_text("<<<<<<< HEAD")
    (row,) = again.failures(tmp_path).itertuples()
    assert row.run == slot.title and "can't be read" in row.error
    assert "can't be read" in again.problem(slot.notebook)
    assert slot.restore() and slot.status() == "done"
    assert slot.read().results == made.results
    assert again.failures(tmp_path).empty


def test_a_run_that_fails_is_kept_and_leaves_the_others_alone(tmp_path, executed):
    bad = suite.Run("q1a", Q1a(dataset="digits", train_size=1500))
    slots = [run.Slot(bad, tmp_path / "any"), executed["q1b"][0]]
    said = []
    how = grid.Options(on_output=lambda slot, text: said.append(text))
    failed, other = grid.execute_all(slots, how)
    assert "train_size=1500 is not allowed: the training split holds 1257 images" in failed.error
    assert failed.slot.status() == "failed"
    assert "train_size=1500" in failed.slot.notebook.read_text()
    title, error = again.failure(failed.slot.notebook)
    assert title == failed.slot.title
    assert error == failed.error
    (row,) = again.failures(tmp_path).itertuples()
    assert row.command == f"mlops run path/to/any.yaml --only q1a/{bad.slug}"
    assert not failed.slot.restore()  # its notebook holds no record
    assert other.record is not None
    elsewhere = tmp_path / "other" / "q1a" / failed.slot.record.name
    elsewhere.parent.mkdir(parents=True)
    elsewhere.touch()  # another suite has recorded the run since
    assert again.failures(tmp_path).empty


def test_a_rerun_that_fails_costs_no_earlier_result(tmp_path, executed):
    done, _ = executed["q1b"]
    slot = run.Slot(done.run, tmp_path / "any")
    run.keep(slot, run.Performed(done.notebook.read_text(), None, 1.0), "0" * 64)
    assert slot.status() == "stale"
    before = slot.notebook.read_text(), slot.record.read_text()
    assert run.keep(slot, run.Performed("{}", "made up", 0.0), slot.key) is None
    assert (slot.notebook.read_text(), slot.record.read_text()) == before


def test_what_a_killed_runner_had_begun_to_write_is_removed(tmp_path, executed):
    done, _ = executed["q1b"]
    slot = run.Slot(done.run, tmp_path / "any")
    slot.notebook.parent.mkdir(parents=True)
    for path in (slot.notebook, slot.record, slot.record.with_stem("other")):
        path.with_name(f".{path.name}.x1y2").write_text("{")
    run.keep(slot, run.Performed(done.notebook.read_text(), None, 1.0), slot.key)
    left = {path.name for path in slot.record.parent.iterdir()}
    assert left == {slot.notebook.name, slot.record.name, ".other.json.x1y2"}


def test_a_notebook_without_a_record_costs_no_earlier_result(tmp_path, executed):
    done, _ = executed["q1b"]
    slot = run.Slot(done.run, tmp_path / "any")
    run.keep(slot, run.Performed(done.notebook.read_text(), None, 1.0), slot.key)
    before = slot.notebook.read_text(), slot.record.read_text()
    with pytest.raises(record.RecordError, match="no cell shows one"):
        run.keep(slot, run.Performed('{"cells": []}', None, 1.0), slot.key)
    assert (slot.notebook.read_text(), slot.record.read_text()) == before


def test_a_checkpoint_stays_until_the_record_is_written(tmp_path, executed, monkeypatch):
    def refuse(*_):
        raise OSError("No space left on device")

    done, made = executed["q1b"]
    slot = run.Slot(done.run, tmp_path / "any")
    monkeypatch.setenv("MLOPS_CHECKPOINTS", str(tmp_path))
    kept = record.checkpoint_path(made.key)
    kept.touch()
    performed = run.Performed(done.notebook.read_text(), None, 1.0)
    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr(record, "write", refuse)
        run.keep(slot, performed, slot.key)
    assert kept.exists()
    run.keep(slot, performed, slot.key)
    assert not kept.exists()


def test_a_fresh_task_goes_on_from_no_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setenv("MLOPS_CHECKPOINTS", str(tmp_path))
    monkeypatch.setattr("papermill.execute_notebook", lambda *_, **__: None)
    task = run.Task.of(run.Slot(suite.Run("q1b", Q1b(dataset="digits")), tmp_path / "any"))
    for fresh in (False, True):
        left = record.checkpoint_path(task.key)
        left.touch()
        run.perform(dataclasses.replace(task, fresh=fresh))
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
    with run._alarm(0.01, late, kernel):
        assert all(rings.acquire(timeout=10) for _ in range(2))
    assert late.is_set()
    late.clear()
    with run._alarm(60, late, kernel):
        pass
    assert not late.is_set()


def test_runs_of_one_title_are_told_apart(tmp_path):
    some = ({"input_size": 28, "seed": 0}, {"input_size": 28, "seed": 1}, {"lr": 1e-3, "seed": 1})
    runs = [suite.Run("q1a", Q1a(**values)) for values in some] + [suite.Run("q1b", Q1b())]
    slots = run.slots("some", runs, tmp_path)
    assert [slot.label for slot in slots] == [
        "MNIST, ResNet-18, Adam 0.0003, batch 128, seed 0",
        "MNIST, ResNet-18, Adam 0.0003, batch 128, seed 1",
        "MNIST, ResNet-18, Adam 0.001, batch 128",
        "MNIST, SVM, RBF kernel",
    ]
    assert slots[0] == run.Slot(runs[0], slots[0].folder)


def test_a_suite_keeps_the_dots_of_its_name(tmp_path):
    for asked in ("quick.v2", "some/where/quick.v2.yaml", "quick.v2.yml"):
        (slot,) = run.slots(asked, [suite.Run("q1b", Q1b())], tmp_path)
        assert slot.folder == tmp_path / "quick.v2"


def test_conditions_choose_runs(tmp_path):
    slots = run.slots("smoke", suite.read("smoke"), tmp_path)
    assert len(run.where(slots, [])) == 5
    assert [s.run.parameters.optimizer for s in run.where(slots, ["optimizer=sgd"])] == ["sgd"]
    assert len(run.where(slots, ["lr=3e-4"])) == 3
    assert len(run.where(slots, ["kernel=rbf", "kernel=poly"])) == 2
    assert [s.run.template for s in run.where(slots, ["template=q2"])] == ["q2"]
    assert len(run.where(slots, ["template=q1a", "optimizer=sgd"])) == 1
    assert run.where(slots, ["kernel=rbf", "optimizer=sgd"]) == []
    for condition in ("pin_memory=false", "pin_memory=False"):
        assert len(run.where(slots, [condition])) > 0
    assert run.where([], ["template=q2"]) == []  # of a suite for another machine


@pytest.mark.parametrize(
    ("condition", "says"),
    [
        ("optimiser=sgd", "did you mean 'optimizer'"),
        ("optimizer", "write key=value"),
        ("optimizer=sdg", "optimizer is adam or sgd; did you mean 'sgd'"),
        ("lr=0.1", "among the suite's runs, whose lr is 0.0003"),
        ("template=q1c", "template is q1a or q1b or q2"),
        ("templat=q1a", "did you mean 'template'"),
    ],
)
def test_a_condition_that_no_run_meets_is_refused(tmp_path, condition, says):
    slots = run.slots("smoke", suite.read("smoke"), tmp_path)
    with pytest.raises(ParameterError, match=re.escape(says)):
        run.where(slots, [condition])


def test_a_device_that_is_not_here_is_refused_before_anything_runs(monkeypatch):
    monkeypatch.setattr(machine, "cuda_is_present", lambda: False)
    with pytest.raises(ParameterError, match="device='cuda'"):
        run.check([suite.Run("q1a", Q1a(device="cuda"))])


def test_the_newest_line_of_progress_is_handed_on():
    lines = []
    tap = run._Tap(lines.append)
    tap.write("a\rb\r")
    tap.write("\n")
    assert lines == ["b"]

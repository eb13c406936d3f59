import os
import re

import pytest
from tiny_runs import tiny, tiny_slots

from mlops_lib import downloads, machine, record
from mlops_lib.params import ParameterError, Q1a, Q1b
from mlops_lib.runner import execute, grid, slot, suite
from mlops_lib.runner.slot import Slot, find_slots


def test_a_changed_template_makes_its_runs_stale(executed, monkeypatch):
    slot, _ = executed["q1a"]
    monkeypatch.setattr(record, "keys", lambda parameters, template: {"f" * 64})
    assert slot.status() == "stale"
    assert next(grid.execute_all([slot])).skipped


def test_a_damaged_record_counts_as_not_done(executed, tmp_path):
    slot = Slot(executed["q1a"][0].run, tmp_path)
    assert slot.status() == "missing"
    slot.record.parent.mkdir()
    slot.record.write_text("{")
    slot.notebook.write_text("{}")
    assert slot.status() == "damaged"
    assert not slot.restore()
    execute.keep(slot, execute.Performed('{"x": 1}', "made up", 0.0), slot.key)
    assert (slot.record.read_text(), slot.notebook.read_text()) == ("{", '{"x": 1}')


def test_runs_of_one_title_are_told_apart(tmp_path):
    some = ({"input_size": 28, "seed": 0}, {"input_size": 28, "seed": 1}, {"lr": 1e-3, "seed": 1})
    runs = [suite.Run("q1a", Q1a(**values)) for values in some] + [suite.Run("q1b", Q1b())]
    slots = find_slots("some", runs, tmp_path)
    assert [slot.label for slot in slots] == [
        "MNIST, ResNet-18, Adam 3e-4, batch 128, seed 0",
        "MNIST, ResNet-18, Adam 3e-4, batch 128, seed 1",
        "MNIST, ResNet-18, Adam 1e-3, batch 128",
        "MNIST, SVM, RBF kernel",
    ]
    assert slots[0] == Slot(runs[0], slots[0].folder)


def test_a_suite_keeps_the_dots_of_its_name(tmp_path):
    for asked in ("quick.v2", "some/where/quick.v2.yaml", "quick.v2.yml"):
        (slot,) = find_slots(asked, [suite.Run("q1b", Q1b())], tmp_path)
        assert slot.folder == tmp_path / "quick.v2"


@pytest.mark.parametrize("suffix", [".json", ".ipynb"])
def test_a_run_with_its_former_name_is_found(tmp_path, suffix):
    run = suite.Run("q1a", Q1a(lr=1e-5))
    (new,) = find_slots("one", [run], tmp_path)
    former = run.slug.replace("1e-05", "1e05")
    assert (new.run.slug, new.status()) == (run.slug, "missing") and former != run.slug
    path = tmp_path / "one" / "q1a" / f"{former}{suffix}"
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    (found,) = find_slots("one", [run], tmp_path)
    assert path in (found.record, found.notebook)
    assert found.run == run and slot.only([found], [f"q1a/{former}"]) == [found]


def test_conditions_choose_runs(tmp_path):
    slots = find_slots("smoke", suite.read("smoke"), tmp_path)
    assert len(slot.where(slots, [])) == 5
    assert [s.run.parameters.optimizer for s in slot.where(slots, ["optimizer=sgd"])] == ["sgd"]
    assert len(slot.where(slots, ["lr=3e-4"])) == 3
    assert len(slot.where(slots, ["kernel=rbf", "kernel=poly"])) == 2
    assert [s.run.template for s in slot.where(slots, ["template=q2"])] == ["q2"]
    assert len(slot.where(slots, ["template=q1a", "optimizer=sgd"])) == 1
    assert slot.where(slots, ["kernel=rbf", "optimizer=sgd"]) == []
    for condition in ("pin_memory=false", "pin_memory=False"):
        assert len(slot.where(slots, [condition])) > 0
    assert slot.where([], ["template=q2"]) == []  # of a suite for another machine
    all_images = find_slots("quick", [suite.Run("q1b", Q1b())], tmp_path)
    for condition in ("train_size=null", "train_size=none", "train_size=None", "C=1,10"):
        assert slot.where(all_images, [condition]) == all_images


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
    slots = find_slots("smoke", suite.read("smoke"), tmp_path)
    with pytest.raises(ParameterError, match=re.escape(says)):
        slot.where(slots, [condition])


def test_a_device_that_is_not_here_is_refused_before_anything_runs(monkeypatch):
    monkeypatch.setattr(machine, "cuda_is_present", lambda: False)
    with pytest.raises(ParameterError, match="device='cuda'"):
        slot.require_all([suite.Run("q1a", Q1a(device="cuda"))])


def test_a_single_class_of_pictures_is_refused_before_anything_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("MLOPS_DATA", str(tmp_path))
    monkeypatch.setattr(downloads, "OWN_DATASETS", ["digits"])
    (tmp_path / "digits" / "only").mkdir(parents=True)
    (tmp_path / "digits" / ".ipynb_checkpoints").mkdir()
    with pytest.raises(ParameterError, match=r"2 to 10 classes, .*, not 1"):
        slot.require_all([suite.Run("q1b", Q1b(dataset="digits"))])
    slot.require_all([suite.Run("q1b", Q1b(dataset="digits"))], here=False)


def test_suites_share_their_runs(tmp_path):
    (first,) = grid.execute_all(find_slots("one", tiny(1), tmp_path))
    (slot,) = find_slots("two", tiny(1), tmp_path)
    assert slot.record == first.slot.record
    assert next(grid.execute_all([slot])).skipped


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_all_that_writing_takes_is_tried_before_the_work(tmp_path, monkeypatch, call):
    def refuse(*_):
        raise OSError(22, "Invalid argument")

    (slot,) = tiny_slots(tmp_path, 1)
    slot.require_writable()
    with monkeypatch.context() as patch:
        patch.setattr(os, call, refuse)
        with pytest.raises(OSError, match=re.escape(str(slot.notebook.parent))):
            slot.require_writable()
    assert not list(slot.notebook.parent.iterdir())

import shlex

import pytest
from test_tables import make

from mlops_lib.params import TEMPLATES, Q1a
from mlops_lib.runner import grid, repeat, suite
from mlops_lib.runner.slot import Slot


def test_a_damaged_record_is_rewritten_from_its_notebook(executed, tmp_path):
    done, made = executed["q1a"]
    slot = Slot(done.run, tmp_path / "any")
    slot.record.parent.mkdir(parents=True)
    assert not slot.restore()  # there is no notebook
    slot.notebook.write_text(done.notebook.read_text())
    assert slot.status() == "failed" and slot.restore()  # a record that is gone
    slot.record.write_text("<<<<<<< HEAD")
    (row,) = repeat.failures(tmp_path).itertuples()
    assert row.run == slot.title and "can't be read" in row.error
    assert "can't be read" in repeat.problem(slot.notebook)
    assert slot.restore() and slot.status() == "done"
    assert slot.read().results == made.results
    assert repeat.failures(tmp_path).empty


def test_a_run_that_fails_is_kept_and_leaves_the_others_alone(tmp_path, executed):
    bad = suite.Run("q1a", Q1a(dataset="digits", train_size=1500))
    slots = [Slot(bad, tmp_path / "any"), executed["q1b"][0]]
    said = []
    how = grid.Options(on_output=lambda slot, text: said.append(text))
    failed, other = grid.execute_all(slots, how)
    assert "train_size=1500 is not allowed: the training split holds 1257 images" in failed.error
    assert failed.slot.status() == "failed"
    assert "train_size=1500" in failed.slot.notebook.read_text()
    title, error = repeat.failure(failed.slot.notebook)
    assert title == failed.slot.title
    assert error == failed.error
    (row,) = repeat.failures(tmp_path).itertuples()
    assert row.command == f"mlops run path/to/any.yaml --only q1a/{bad.slug}"
    assert not failed.slot.restore()  # its notebook holds no record
    assert other.record is not None
    elsewhere = tmp_path / "other" / "q1a" / failed.slot.record.name
    elsewhere.parent.mkdir(parents=True)
    elsewhere.touch()  # another suite has recorded the run since
    assert repeat.failures(tmp_path).empty


@pytest.mark.parametrize(
    ("place", "is_run"),
    [
        ("smoke/q1a/{slug}", True),
        ("smoke/q1a/{slug}-Copy1", False),
        ("smoke/q1a/digits-resnet18-00000000", False),  # which the suite no longer has
        ("mine/q1a/{slug}", True),
        ("mine/q1a/{slug}-Copy1", False),
        ("mine/q1a/Untitled", False),
    ],
)
def test_a_notebook_where_no_run_belongs_is_no_failed_run(tmp_path, place, is_run):
    slug = suite.read("smoke")[0].slug
    path = tmp_path / f"{place.format(slug=slug)}.ipynb"
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    assert repeat.strays(tmp_path) == [path] * (not is_run)
    assert len(repeat.failures(tmp_path)) == is_run
    path.with_suffix(".json").write_text("{}")  # a damaged record is named wherever it lies
    assert repeat.strays(tmp_path) == []
    (row,) = repeat.failures(tmp_path).itertuples()
    assert row.command.startswith("mlops run") == is_run


def test_the_command_that_repeats_a_run_gives_its_parameters():
    made = make(dataset="digits", optimizer="sgd", lr=1e-2, environment={"threads": 2})
    words = shlex.split(repeat.papermill_command(made))
    assert words[:4] == ["OMP_NUM_THREADS=2", "papermill", "book/q1a.ipynb", "out.ipynb"]
    given = dict(zip(words[5::3], words[6::3], strict=True))
    assert TEMPLATES["q1a"](**given).model_dump(mode="json") == made.parameters

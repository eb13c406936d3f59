"""The runs that are committed with the book: valid, small, of the templates as they are now."""

import code_blocks
import pytest

from mlops_lib import paths, record
from mlops_lib.runner import repeat, suite
from mlops_lib.runner.slot import find_slots

SUITES = ("full", "seeds", "ablations", "cpu", "recovery")  # quick and smoke stay out of git
SLOTS = [slot for name in SUITES for slot in find_slots(name, suite.read(name, anywhere=True))]
RECORDED = [slot for slot in SLOTS if slot.record.exists()]
LARGEST_PAGE = 150_000  # bytes


@pytest.mark.parametrize("slot", RECORDED, ids=lambda slot: slot.run.slug)
def test_a_committed_run_is_whole_and_small(slot):
    made = record.read(slot.record)
    assert slot.status() == "done", "its template has changed since"
    assert slot.notebook.stat().st_size <= LARGEST_PAGE
    shown = record.read(slot.notebook)
    assert shown.results == made.results
    assert shown.parameters == made.parameters
    assert shown.key == made.key  # of the code that the notebook holds
    commit = made.environment["commit"]
    assert commit, "from which code it ran is not known"
    assert not commit.endswith("+"), "files differed from its commit"


def test_runs_are_committed():
    assert RECORDED


def test_every_record_that_is_there_belongs_to_a_suite():
    known = {slot.record for slot in SLOTS}
    there = {path for name in SUITES for path in (paths.BOOK / "runs" / name).glob("*/*.json")}
    assert there <= known


def test_the_run_that_the_page_reproduce_repeats_is_there():
    lines = iter(code_blocks.lines((paths.BOOK / "reproduce.md").read_text()))
    shown = next(line for line in lines if line.startswith("OMP_NUM_THREADS="))
    *compare, path = next(lines).split()
    assert compare == ["mlops", "compare", "out.ipynb"]
    made = record.read((paths.PROJECT / path).with_suffix(".json"))
    assert shown == repeat.papermill_command(made)

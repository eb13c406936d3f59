"""The order of a grid's runs, what waits for what, and what is tried again."""

import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from filelock import FileLock
from tiny_runs import start, tiny, tiny_slots

from mlops_lib import record
from mlops_lib.params import Q2, ParameterError, Q1a
from mlops_lib.runner import cluster, grid, repeat, suite
from mlops_lib.runner.execute import Performed
from mlops_lib.runner.grid import Options
from mlops_lib.runner.slot import DONE, UNFINISHED, Slot, find_slots


def test_a_grid_takes_as_many_threads_as_a_notebook_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    fixed = "{dataset: digits, train_size: 100, epochs: 1}"
    file = tmp_path / "one.yaml"
    file.write_text(
        f"description: one\ngrids: [{{template: q1a, fixed: {fixed}, grid: {{seed: [0]}}}}]"
    )
    assert start(tmp_path / "runs", "run", file, light=False).wait() == 0
    (path,) = tmp_path.glob("runs/one/q1a/*.json")
    assert record.read(path).environment["threads"] == 1


class Recorder:
    """A site that performs nothing and remembers how many tasks it had at a time."""

    def __init__(self, answers=()):
        self.jobs, self.answers = 64, list(answers)
        self.now, self.most, self.tasks = 0, {}, []

    def perform(self, task, on_output):
        self.tasks.append(task)
        self.now += 1
        self.most[task.template] = max(self.now, self.most.get(task.template, 0))
        time.sleep(0.05)
        self.now -= 1
        return self.answers.pop(0) if self.answers else Performed("{}", "made up", 0.0)

    def end_kernels(self):
        pass

    def close(self):
        pass


@pytest.fixture
def recorder(monkeypatch):
    recorder = Recorder()
    monkeypatch.setattr(grid, "_ThisMachine", lambda jobs: recorder)
    return recorder


def test_benchmarks_run_alone_and_last(tmp_path, recorder):
    runs = [suite.Run("q2", Q2(seed=seed)) for seed in range(3)] + tiny(4)
    list(grid.execute_all(find_slots("mixed", runs, tmp_path), Options(jobs=4)))
    assert recorder.most["q1b"] > 1
    assert recorder.most["q2"] == 1
    assert [task.template for task in recorder.tasks][-3:] == ["q2"] * 3


def test_benchmarks_of_several_runners_wait_for_each_other(tmp_path, recorder):
    def execute(folder):
        runs = [suite.Run("q2", Q2(seed=seed)) for seed in range(3)]
        return list(grid.execute_all(find_slots("times", runs, folder)))

    with ThreadPoolExecutor() as runners:
        outcomes = [*runners.map(execute, (tmp_path / "one", tmp_path / "other"))]
    assert [len(of_one) for of_one in outcomes] == [3, 3]
    assert len(recorder.tasks) == 6
    assert recorder.most["q2"] == 1


def test_a_run_that_another_runner_holds_says_so_once(tmp_path, recorder):
    waiting = []
    runs = [*tiny(2), suite.Run("q2", Q2())]
    slots = find_slots("held", runs, tmp_path)
    held = slots[0]
    held.lock.parent.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor() as runner:
        with FileLock(held.lock), FileLock(grid.ALONE):
            options = Options(on_wait=waiting.append)
            outcomes = runner.submit(list, grid.execute_all(slots[:2], options))
            alone = runner.submit(list, grid.execute_all(slots[2:], options))
            end = time.monotonic() + 60
            while len(waiting) < 2:
                assert time.monotonic() < end
                time.sleep(0.01)
            time.sleep(3 * grid.POLL_SECONDS)
        assert [len(outcomes.result()), len(alone.result())] == [2, 1]
    assert {slot.title for slot in waiting} == {held.title, slots[2].title}
    assert len(waiting) == 2


def test_a_done_run_is_repeated_from_its_beginning(tmp_path, recorder, monkeypatch):
    for status in ("failed", "stale", "done"):
        monkeypatch.setattr(Slot, "status", lambda slot, status=status: status)
        again = Options(pending=UNFINISHED | DONE, retries=1)
        list(grid.execute_all(tiny_slots(tmp_path, 1), again))
    assert [task.fresh for task in recorder.tasks] == [False] * 4 + [True, False]


def test_a_failed_run_is_tried_again_as_often_as_asked(tmp_path, recorder):
    (outcome,) = grid.execute_all(tiny_slots(tmp_path, 1), Options(retries=2))
    assert len(recorder.tasks) == 3
    assert outcome.error == "made up"
    assert outcome.slot.status() == "failed"


def test_a_notebook_without_a_record_fails_alone(tmp_path, recorder):
    recorder.answers = [Performed("{}", None, 0.0)] * 2
    outcomes = list(grid.execute_all(tiny_slots(tmp_path, 2)))
    assert len(outcomes) == 2
    assert all("holds no record" in outcome.error for outcome in outcomes)


def test_what_is_wrong_with_one_run_is_said_of_that_run(tmp_path, recorder):
    def stumble(task, on_output):
        raise KeyError(task.key)

    recorder.perform = stumble
    outcomes = list(grid.execute_all(tiny_slots(tmp_path, 2)))
    assert ["KeyError" in outcome.error for outcome in outcomes] == [True, True]


def test_fail_fast_starts_nothing_more(tmp_path, recorder):
    outcomes = list(grid.execute_all(tiny_slots(tmp_path, 9), Options(fail_fast=True)))
    assert len(outcomes) == len(recorder.tasks) == 1
    assert len(list(grid.execute_all(tiny_slots(tmp_path, 9), Options()))) == 9


def test_a_run_that_takes_too_long_is_ended(tmp_path):
    runs = [suite.Run("q1a", Q1a(dataset="digits", epochs=10_000)), *tiny(1)]
    slots = find_slots("slow", runs, tmp_path)
    late, good = grid.execute_all(slots, Options(timeout=10))
    assert late.error == "stopped after 10 s (--timeout)"
    assert late.slot.status() == "failed"
    assert repeat.failure(late.slot.notebook)[1] == late.error
    assert good.record is not None


def test_a_scratch_folder_that_can_not_be_used_is_refused(tmp_path, monkeypatch):
    folder = tmp_path / ("x" * 80)
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    with pytest.raises(ParameterError, match=r"TMPDIR='.*x' is not allowed: .* at most 59 char"):
        list(grid.execute_all(tiny_slots(tmp_path, 1)))
    monkeypatch.setattr(tempfile, "tempdir", os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    with pytest.raises(ParameterError, match=r"TMPDIR='.*' is not allowed: .* in UTF-8"):
        list(grid.execute_all(tiny_slots(tmp_path, 1)))


def test_a_run_that_another_suite_records_meanwhile_is_not_repeated(tmp_path):
    here, there = tiny_slots(tmp_path, 1), find_slots("other", tiny(1), tmp_path)
    assert next(grid.execute_all(there)).record
    (outcome,) = grid.execute_all(here)
    assert outcome.skipped and outcome.record
    assert not here[0].notebook.exists()


def test_a_scheduler_that_does_not_answer_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 1)
    with pytest.raises(ParameterError, match=r"scheduler='tcp://127.0.0.1:9'"):
        list(grid.execute_all(tiny_slots(tmp_path, 1), Options(scheduler="tcp://127.0.0.1:9")))
    with pytest.raises(ParameterError, match=r"scheduler='nonsense' is not allowed: .*tcp://"):
        list(grid.execute_all(tiny_slots(tmp_path, 1), Options(scheduler="nonsense")))


def test_a_folder_that_can_not_be_written_is_said_before_the_work(tmp_path, recorder):
    (slot,) = tiny_slots(tmp_path, 1)
    slot.notebook.parent.parent.mkdir(parents=True)
    slot.notebook.parent.touch()  # a file where the folder of its notebook should be
    (outcome,) = grid.execute_all([slot])
    assert str(slot.notebook.parent) in outcome.error
    assert not recorder.tasks


def test_what_is_done_is_skipped(smoke):
    again = list(grid.execute_all([outcome.slot for outcome in smoke]))
    assert all(outcome.skipped for outcome in again)
    assert [outcome.record for outcome in again] == [outcome.record for outcome in smoke]

import pytest
from tiny_runs import tiny_slots

from mlops_lib.params import Q1b
from mlops_lib.runner import grid, plan, suite
from mlops_lib.runner.slot import find_slots


def test_times_are_estimated_from_runs_like_it(tmp_path, monkeypatch):
    (done,) = grid.execute_all(tiny_slots(tmp_path, 1))
    monkeypatch.setenv("MLOPS_RUNS", str(tmp_path))
    longer = suite.Run("q1b", Q1b(dataset="digits", train_size=400, C=(1, 2)))
    unlike = suite.Run("q1b", Q1b(dataset="digits", kernel="poly"))
    slots = find_slots("more", [longer, unlike], tmp_path)
    seconds = plan.estimates(slots)
    assert seconds == {slots[0]: pytest.approx(8 * done.record.duration_seconds)}


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "?"), (3.2, "3 s"), (150, "2 min"), (9000, "2.5 h")]
)
def test_durations_are_short(seconds, text):
    assert plan.duration_text(seconds) == text


def test_datasets_of_the_same_size_take_the_same_time():
    mnist, kmnist, digits = (
        plan._kind("q1b", Q1b(dataset=name).model_dump(), "cpu")
        for name in ("mnist", "kmnist", "digits")
    )
    assert mnist == kmnist != digits

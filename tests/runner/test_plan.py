import pytest
from test_tables import make
from tiny_runs import tiny_slots

from mlops_lib import machine, tables
from mlops_lib.params import Q1a, Q1b
from mlops_lib.runner import grid, pace, plan, suite
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


def test_a_forecast_is_scaled_by_how_fast_this_machine_trains(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "cuda_is_present", lambda: False)
    made = [  # each took 70 s
        make(batch_size=16, train_size=1000, epochs=2, results={"images_per_second": 300.0}),
        make(batch_size=32, train_size=1000, epochs=2, results={"images_per_second": 9e9}),
    ]
    monkeypatch.setattr(tables, "records", lambda: dict(enumerate(made)))
    monkeypatch.setattr(pace, "images_per_second", lambda jobs: 100.0 * jobs)
    slots = find_slots("two", [suite.Run("q1a", Q1a(train_size=1000, epochs=4))], tmp_path)
    assert plan.forecast(slots, 1) == (
        "about 7 min on this machine (ResNet-18: 100 images/s here, 300 in the recorded runs)"
    )
    assert "about 2 min on this machine (ResNet-18: 200 images/s" in plan.forecast(slots, 2)
    monkeypatch.setattr(pace, "images_per_second", None)  # it must not be called
    short = [suite.Run("q1a", Q1a(train_size=1000, epochs=1)), suite.Run("q1b", Q1b())]
    for unforeseen in ([], find_slots("short", short, tmp_path)):
        assert plan.forecast(unforeseen, 1) is None


def test_the_pace_is_measured_here_and_nothing_is_printed(capsys):
    assert pace.images_per_second(1) > 0
    assert pace._train() > 0
    assert capsys.readouterr().out == ""

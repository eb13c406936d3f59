import math

import pandas as pd
import pytest
from grid import table as runs_of
from test_tables import make

from mlops_lib.study import predictions


def test_a_prediction_interval_by_hand():
    """Two trainings 0.2 points apart: s is 0.141 with 1 degree of freedom, t 12.7."""
    cell = {"dataset": "mnist", "epochs": 5, "batch_size": 16, "optimizer": "adam", "lr": 1e-3}
    runs = runs_of(*(make(right=right, seed=n, **cell) for n, right in enumerate((13_800, 13_828))))
    found = predictions.table(runs)
    assert set(found["source"]) == {"Report A", "Report B"}
    row = found.iloc[0]
    assert row["mean"] == pytest.approx(100 * 13_814 / 14_000)
    reach = 12.7062 * math.sqrt(0.02) * math.sqrt(1 + 1 / 2)
    assert row["mean"] - row["low"] == pytest.approx(reach, abs=1e-3)
    assert row["high"] == 100 or row["high"] == pytest.approx(row["mean"] + reach, abs=1e-3)


def test_values_are_counted_by_where_they_lie():
    where = ["inside", "above", "below", "inside"]
    table = pd.DataFrame({"source": ["Report A"] * 3 + ["Report B"], "where": where})
    counts = predictions.facts(table)["counts"]
    assert counts["Report A"] == {"inside": 1, "above": 1, "below": 1, "of": 3}
    assert predictions.facts(table[:0]) == {}


def test_our_other_trainings_lie_inside(complete):
    on_gpu = complete[complete["template"] == "q1a"].assign(device="cuda")
    both = pd.concat([complete, on_gpu[on_gpu["seed"] == 0]], ignore_index=True)
    counts = predictions.facts(predictions.table(both))["counts"]
    assert counts[predictions.OURS_ELSEWHERE]["inside"] >= 30

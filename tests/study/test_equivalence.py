import pandas as pd
import pytest

from mlops_lib.study import equivalence


def on_both(complete, points):
    """Return the trainings on a CPU and, `points` more accurate, on a GPU."""
    cpu = complete[complete["template"] == "q1a"]
    gpu = cpu.assign(device="cuda", test_accuracy=cpu["test_accuracy"] + points / 100)
    return pd.concat([cpu, gpu], ignore_index=True)


@pytest.mark.parametrize(("points", "equivalent"), [(0.0, True), (-0.1, True), (0.3, False)])
def test_a_difference_below_the_margin_is_equivalent(complete, points, equivalent):
    (row,) = equivalence.tested(on_both(complete, points)).itertuples()
    assert row.compared == "GPU and CPU" and row.n == 64
    assert row.mean == pytest.approx(points)
    assert row.low < row.mean < row.high and row.equivalent == equivalent


def test_without_pairs_there_is_no_row(complete):
    assert equivalence.tested(complete).empty
    assert equivalence.tested(pd.DataFrame(columns=["template"])).empty

import pytest

from mlops_lib import stats


def test_wilson_worked_out_by_hand():
    # 8 of 10, z = 1.959964: centre (0.8 + z²/20) / (1 + z²/10), as in the textbook formula.
    z = 1.959963984540054
    centre = (0.8 + z**2 / 20) / (1 + z**2 / 10)
    half = z / (1 + z**2 / 10) * (0.8 * 0.2 / 10 + z**2 / 400) ** 0.5
    assert stats.wilson(8, 10) == pytest.approx((centre - half, centre + half))


def test_wilson_stays_within_0_and_1():
    assert stats.wilson(0, 50)[0] == 0
    assert stats.wilson(50, 50)[1] == 1
    assert stats.wilson(50, 50)[0] > 0.9

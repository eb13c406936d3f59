import math

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from mlops_lib import stats


def test_wilson_by_hand():
    assert stats.wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert stats.wilson(10, 10) == pytest.approx((0.7225, 1), abs=1e-4)
    low, high = stats.wilson(8.5, 10)  # the mean of two counts
    assert stats.wilson(8, 10)[0] < low < high < stats.wilson(9, 10)[1]


@pytest.mark.parametrize(
    ("successes", "total"), [(0, 7), (1, 2000), (3.5, 7), (13_999, 14_000), (1, 1)]
)
def test_wilson_equals_statsmodels(successes, total):
    theirs = proportion_confint(successes, total, method="wilson")
    assert stats.wilson(successes, total) == pytest.approx(theirs, abs=1e-12)


def test_the_mean_of_a_few_values_by_hand():
    reach = 4.302653 / math.sqrt(3)  # Student's t of two degrees of freedom, deviation 1
    assert stats.mean_interval([1, 2, 3]) == pytest.approx((2, 2 - reach, 2 + reach))


def test_holm_by_hand():
    assert stats.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert stats.holm([]) == []


def test_holm_equals_statsmodels():
    p = np.random.default_rng(0).uniform(0, 0.2, 20)
    assert stats.holm(p) == pytest.approx(list(multipletests(p, method="holm")[1]))

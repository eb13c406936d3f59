import itertools
import math

import numpy as np
import pytest
from statsmodels.stats.contingency_tables import mcnemar as reference_mcnemar
from statsmodels.stats.multitest import multipletests

from mlops_lib import stats


def test_wilson_by_hand():
    assert stats.wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert stats.wilson(10, 10) == pytest.approx((0.7225, 1), abs=1e-4)
    low, high = stats.wilson(8.5, 10)  # the mean of two counts
    assert stats.wilson(8, 10)[0] < low < high < stats.wilson(9, 10)[1]


def test_paired_differences_by_hand():
    found = stats.paired([1.0, 2.0, 3.0, -2.0])
    assert (found.n, found.wins, found.losses, found.mean) == (4, 3, 1, 1.0)
    assert (found.least, found.most) == (-2.0, 3.0)
    spread = math.sqrt((0 + 1 + 4 + 9) / 3)
    assert found.effect == pytest.approx(1 / spread)
    assert found.high - found.mean == pytest.approx(3.182446 * spread / 2)
    assert found.mean - found.low == pytest.approx(found.high - found.mean)


def test_the_mean_of_a_few_values_by_hand():
    reach = 4.302653 / math.sqrt(3)  # Student's t of two degrees of freedom, deviation 1
    assert stats.mean_interval([1, 2, 3]) == pytest.approx((2, 2 - reach, 2 + reach))


def test_one_pair_and_no_difference_prove_nothing():
    one = stats.paired([0.5])
    assert (one.low, one.high, one.p) == (-math.inf, math.inf, 1.0)
    none = stats.paired([0.0, 0.0])
    assert (none.wins, none.losses, none.p) == (0, 0, 1.0)


def test_wilcoxon_agrees_with_every_permutation_of_signs():
    values = np.array([0.3, -0.1, 0.7, 1.2, -0.4, 0.9, 0.2, 1.5])
    ranks = np.abs(values).argsort().argsort() + 1
    observed = abs((ranks * np.sign(values)).sum())
    signs = np.array(list(itertools.product((-1, 1), repeat=len(values))))
    share = np.mean(np.abs(signs @ ranks) >= observed)
    assert stats.paired(values).p == pytest.approx(share, abs=0.02)


def test_differences_that_are_equal_as_printed_are_ties():
    printed = [98.0 - 97.9, 98.4 - 98.3, 97.2 - 97.3, 99.1 - 98.9, 98.6 - 98.3, 97.5 - 97.1]
    assert len(set(np.abs(printed[:3]))) > 1  # in binary
    assert stats.paired(printed).p == stats.paired([0.1, 0.1, -0.1, 0.2, 0.3, 0.4]).p


def test_mcnemar_equals_statsmodels_and_every_assignment():
    first = np.array([1] * 50 + [1] * 9 + [0] * 3 + [0] * 4, dtype=bool)
    second = np.array([1] * 50 + [0] * 9 + [1] * 3 + [0] * 4, dtype=bool)
    only_first, only_second, p = stats.mcnemar(first, second)
    assert (only_first, only_second) == (9, 3)
    assert p == pytest.approx(reference_mcnemar([[50, 9], [3, 4]], exact=True).pvalue)
    wins = np.array([sum(c) for c in itertools.product((0, 1), repeat=12)])
    assert p == pytest.approx(np.mean(np.abs(wins - 6) >= 3), abs=0.02)
    assert stats.mcnemar(first, first) == (0, 0, 1.0)


def test_holm_by_hand():
    assert stats.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert stats.holm([]) == []


def test_holm_equals_statsmodels():
    p = np.random.default_rng(0).uniform(0, 0.2, 20)
    assert stats.holm(p) == pytest.approx(list(multipletests(p, method="holm")[1]))


def test_accuracies_differ_beyond_what_sampling_explains():
    assert stats.differ(0.99, 0.98, 14_000)
    assert not stats.differ(0.990, 0.989, 14_000)
    assert not stats.differ(1.0, 1.0, 14_000)

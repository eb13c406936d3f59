"""What the page "Why the reports disagree" states, held against the committed records."""

import pandas as pd
import pytest

from mlops_lib import paths, tables
from mlops_lib.study import recovery, why


@pytest.fixture(scope="module")
def runs():
    return tables.all_runs(paths.BOOK / "runs", variants=True)


def test_report_a_is_reproduced_exactly(runs):
    best = why.candidates(runs, "A").iloc[0]
    assert best["Candidate"] == "pixels 0 to 1, published in order 10,000/2,000, degree 2"
    assert best["Exact"] == "4 of 4"
    assert best["MNIST, RBF"].startswith("[95.55](runs/recovery/q1b/")


def test_report_b_is_not_and_standardised_pixels_are_nearest(runs):
    ranking = recovery.svm_ranking(runs).loc["B"].reset_index()
    assert ranking["exact"].sum() == 0
    assert ranking.loc[0, "scaling"] == "standard"


def test_the_kernel_that_is_ahead_depends_on_the_scaling(runs):
    gains = recovery.kernels(runs)["mnist"].groupby("scaling")
    assert (gains.get_group("standard") > 0).all()
    assert (gains.get_group("unit") < 0).all()


def test_sgd_gains_by_the_lower_rate_in_report_a_and_with_a_large_momentum(runs):
    gains = recovery.sgd_by_rate(runs, runs)
    ahead = set(gains.loc[gains["gain"] > 0, "source"]) - {"report A"}
    assert ahead == {"momentum 0.99, short trainings", "momentum 0.9, never shuffled"}
    apart = gains.groupby("source")["gain"].mean()
    assert apart["momentum 0.99, short trainings"] > 0 > apart["momentum 0.9, never shuffled"]


def test_the_figure_leaves_out_what_was_run_for_few_figures(runs):
    shown = why.comparable(recovery.svm_figures(runs))
    assert shown.groupby(["report", *recovery.SVM_PROTOCOL]).size().min() >= 3
    assert "6 exact for report A" in why.figure(shown).alt  # RBF stands for both degrees


def test_without_runs_there_is_nothing_to_show(tmp_path):
    none = tables.all_runs(tmp_path, variants=True)
    figures = recovery.svm_figures(none)
    for table in (why.candidates(none, "A"), why.kernels(none), why.comparable(figures)):
        assert isinstance(table, pd.DataFrame) and table.empty

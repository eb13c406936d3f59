import dataclasses

import pandas as pd
import pytest
from simulated import GRID, one, spread, table

from mlops_lib.study import checks, sources

NOISE = dict.fromkeys(checks.MEASURES, spread())


def q1b(**accuracies):
    """Return SVMs of 14,000 test images; accuracies (per cent) by dataset, RBF first."""
    rows = [
        (dataset, kernel, accuracy, 10.0, 14_000, (f"{dataset} {kernel}",))
        for dataset, both in accuracies.items()
        for kernel, accuracy in zip(("rbf", "poly"), both, strict=True)
    ]
    names = ["dataset", "kernel", "accuracy_pct", "C", "test_images", "rows"]
    return pd.DataFrame(rows, columns=names)


def source(accuracies=95.0, **svms):
    return dataclasses.replace(table(accuracies), q1b=q1b(**svms))


def test_both_datasets_decide_on_the_kernel():
    check = checks.RbfOverPoly(check="rbf_over_poly")

    def verdict(**svms):
        return check.evidence(source(**svms), NOISE).verdict

    assert verdict(mnist=(98, 97), fashion_mnist=(90, 88)) == "holds"
    assert verdict(mnist=(97, 98), fashion_mnist=(90, 91)) == "contradicted"
    assert verdict(mnist=(97, 98), fashion_mnist=(91, 90)) == "does not hold"
    assert verdict(mnist=(97.0, 97.01), fashion_mnist=(90.1, 90)) == "undecided"
    assert verdict(mnist=(98, 97)) == "not run"  # of every published pair
    assert verdict() == "not run"


def test_the_kernels_noise_is_that_of_the_test_images():
    """0.5 points: of 14,000 images significant, of 1,000 not."""
    many = source(mnist=(97.5, 97.0), fashion_mnist=(90.5, 90.0))
    few = dataclasses.replace(many, q1b=many.q1b.assign(test_images=1_000))
    check = checks.RbfOverPoly(check="rbf_over_poly")
    assert check.evidence(many, NOISE).effect.sign == 1
    assert check.evidence(few, NOISE).effect.sign == 0


def test_resnets_meet_the_best_svm_of_their_dataset():
    check = checks.OverSvms(check="over_svms")
    found = check.evidence(source(95.0, mnist=(93, 90), fashion_mnist=(94, 90)), NOISE)
    assert found.verdict == "holds"
    assert found.effect.mean == pytest.approx((2 + 1) / 2)
    assert "mnist rbf" in found.rows and "mnist poly" not in found.rows
    lost = check.evidence(source(95.0, mnist=(98, 90), fashion_mnist=(97, 90)), NOISE)
    assert lost.verdict == "contradicted"
    assert check.evidence(source(95.0), NOISE).verdict == "not run"


def test_the_setting_that_is_best_meets_its_best_rival():
    check = checks.BestSetting(check="best_setting", optimizer="sgd", lr=1e-3)
    own = ((GRID["optimizer"] == "sgd") & (GRID["lr"] == 1e-3)).to_numpy()
    rival = ((GRID["optimizer"] == "adam") & (GRID["lr"] == 1e-3)).to_numpy()
    found = check.evidence(source(90 + 5.0 * own + 4.0 * rival), NOISE)
    assert found.verdict == "holds" and found.effect.n == 8
    assert found.effect.mean == pytest.approx(1)
    assert check.evidence(source(90 + 5.0 * own + 6.0 * rival), NOISE).verdict == "contradicted"


def test_a_headline_holds_if_a_training_could_have_the_value():
    """The best of MNIST is one training of ResNet-18: 0.12 points, and the claimed one as well."""
    accuracies = 90 + (GRID["dataset"] == "mnist") * 1.0
    first = GRID.index[GRID["dataset"] == "mnist"][0]  # ResNet-18, batch 16, Adam, 1e-3
    accuracies[first] = 99.0
    best = source(accuracies)

    def verdict(claimed, **by):
        check = checks.BestIs(check="best_is", dataset="mnist", claimed=claimed, by=by)
        return check.evidence(best, NOISE).verdict

    assert verdict(99.3) == "holds"  # 0.3 of 0.17: p is 0.11
    assert verdict(99.6) == "contradicted"
    assert verdict(99.0, model="resnet18", optimizer="adam") == "holds"
    assert verdict(99.0, optimizer="sgd") == "does not hold"  # another configuration
    assert verdict(95.0, optimizer="sgd") == "contradicted"


def test_a_headline_waits_for_all_configurations():
    whole = source()
    part = dataclasses.replace(whole, q1a=whole.q1a[1:])
    check = checks.BestIs(check="best_is", dataset="mnist", claimed=95)
    assert check.evidence(whole, NOISE).verdict == "holds"
    assert check.evidence(part, NOISE).verdict == "not run"


def test_shorter_trainings_and_few_pairs_are_not_judged():
    whole = source(95 + 2.0 * (GRID["optimizer"] == "adam"))
    short = dataclasses.replace(whole, q1a=whole.q1a.assign(epochs=1))
    assert one("A1", whole, spread()).verdict == "holds"
    assert one("A1", short, spread()).verdict == "not run"
    few = dataclasses.replace(whole, q1a=whole.q1a[GRID["model"] == "resnet18"][:8])
    assert one("A1", few, spread()).verdict == "not run"


def test_a_smaller_value_is_ahead_where_the_check_says_so():
    falls = source().q1a.assign(val_accuracy_drop_pct=1.0 - (GRID["lr"] == 1e-4))
    found = one("B2", dataclasses.replace(source(), q1a=falls), spread())
    assert found.verdict == "holds" and found.effect.n == 8
    assert found.effect.mean == pytest.approx(1)


def test_tables_of_q2_count_where_a_claim_is_about_what_they_show():
    """Report A: ahead in 16 pairs of Q1(a), behind in 4 of Q2."""
    found = one("A3", sources.report("A"), spread()).parts[0].effect
    assert (found.n, found.wins, found.losses) == (20, 16, 4)
    assert {subgroup.factor for subgroup in found.depends_on} == {"table"}


def test_times_are_compared_on_equal_threads():
    """A ratio: 10 s against 12 s an epoch, on one machine."""
    timed = source().q1a.assign(
        epoch_seconds=12.0 - 2 * (GRID["batch_size"] == 32), device_name="a CPU", threads=2
    )
    noise = spread(dict.fromkeys(spread().index, 0.01))  # of the logarithm
    found = one("B4", dataclasses.replace(source(), timed=timed), noise)
    assert found.verdict == "holds" and found.unit == "times"
    unlike = timed.assign(threads=timed["batch_size"])
    assert one("B4", dataclasses.replace(source(), timed=unlike), noise).verdict == "not run"

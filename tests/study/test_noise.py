import math

import pandas as pd
import pytest
from simulated import spread
from test_tables import make

from mlops_lib.study import noise


def trained(seed, right, **parameters):
    return make(right=right, seed=seed, epochs=5, dataset="mnist", **parameters)


def test_repetitions_are_pooled_by_degrees_of_freedom(runs):
    """Variances by hand, in points: of 14,000 images, 14 are 0.1 points."""
    table = noise.pooled(
        runs(
            trained(0, 13_800), trained(1, 13_814), trained(2, 13_828),  # 0.1 apart: variance 0.01
            trained(0, 13_700, batch_size=16), trained(1, 13_700, batch_size=16),  # 0
            trained(0, 13_500, lr=1e-4),  # alone
            make(right=10_000, seed=5, epochs=1, dataset="mnist"),  # not in full
        )
    )  # fmt: skip
    (row,) = table.itertuples()
    assert row.Index == ("mnist", "resnet18")
    assert (row.df, row.settings) == (3, 2)
    assert row.std == pytest.approx(math.sqrt((2 * 0.01 + 0) / 3))


def test_without_repetitions_there_is_no_noise(runs):
    assert noise.pooled(runs(trained(0, 13_800))).empty
    assert noise.pooled(pd.DataFrame(columns=["template"])).empty


def cells(*rows):
    return pd.DataFrame(rows, columns=["value", "variance", "df", "kind"])


def test_a_difference_of_one_kind_is_student_t():
    found = noise.contrasts([1, -1], cells([95.0, 0.04, 10, "a"], [94.0, 0.04, 10, "a"])).iloc[0]
    assert found["estimate"] == 1
    assert found["error"] == pytest.approx(math.sqrt(0.08))
    assert found["df"] == pytest.approx(10)
    assert found["high"] - 1 == pytest.approx(2.2281 * math.sqrt(0.08), abs=1e-4)  # t of 10
    assert found["p"] == pytest.approx(0.00544, abs=1e-4)


def test_kinds_are_pooled_as_welch_and_satterthwaite():
    found = noise.contrasts([1, -1], cells([95.0, 0.04, 8, "a"], [94.0, 0.01, 24, "b"])).iloc[0]
    assert found["df"] == pytest.approx(0.05**2 / (0.04**2 / 8 + 0.01**2 / 24))


def test_a_mean_over_seeds_has_less_noise_and_an_unknown_kind_that_of_all():
    known = pd.DataFrame(
        {"std": [0.2], "df": [8], "settings": [8]},
        pd.MultiIndex.from_tuples([("mnist", "resnet18")], names=noise.KIND),
    )
    table = pd.DataFrame(
        {"dataset": "mnist", "model": ["resnet18", "resnet50"], "accuracy_pct": 99.0,
         "trainings": [4, 1]}
    )  # fmt: skip
    found = noise.cells(table, "accuracy_pct", known)
    assert found["variance"].tolist() == pytest.approx([0.01, 0.04])
    assert found["df"].tolist() == [8, 8]


def test_an_svm_has_the_noise_of_its_test_images():
    table = pd.DataFrame({"dataset": ["mnist"], "accuracy_pct": [90.0], "test_images": [900]})
    found = noise.cells(table, "accuracy_pct", noise.pooled(pd.DataFrame(columns=["template"])))
    assert found["variance"].tolist() == pytest.approx([1.0])  # 1e4 * 0.9 * 0.1 / 900
    beside = pd.concat([table, table.assign(model="resnet18")], ignore_index=True)
    both = noise.cells(beside, "accuracy_pct", spread())
    assert both["variance"].tolist() == pytest.approx([1.0, 0.12**2])


def test_least_difference_by_hand():
    spread = pd.DataFrame({"std": [0.2], "df": [10]})
    assert noise.least_difference(spread, 2).tolist() == pytest.approx([2.2281 * 0.2], abs=1e-4)

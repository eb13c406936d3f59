import numpy as np
import pandas as pd
import pytest
from simulated import GRID, spread, table

from mlops_lib.study import effects, noise

ADAM = (GRID["optimizer"] == "adam").to_numpy()
SMALL = {kind: 0.1 for kind in spread().index}  # points


def of(accuracies, std=SMALL, factor="optimizer", first="adam", second="sgd"):
    q1a = table(accuracies).q1a
    pairs = effects.matched(q1a, factor, first, second, "accuracy_pct")
    return effects.of(pairs, noise.cells(q1a, "accuracy_pct", spread(std, df=1_000)))


def test_pairs_differ_in_one_setting_alone():
    q1a = table(np.arange(32.0)).q1a
    pairs = effects.matched(q1a, "optimizer", "adam", "sgd", "accuracy_pct")
    assert len(pairs) == 16
    rows = q1a.loc[pairs["first"]].reset_index(drop=True), q1a.loc[pairs["second"]]
    alike = ["dataset", "model", "batch_size", "lr"]
    assert rows[0][alike].equals(rows[1].reset_index(drop=True)[alike])
    other = q1a.assign(epochs=[1, *q1a["epochs"][1:]])
    assert len(effects.matched(other, "optimizer", "adam", "sgd", "accuracy_pct")) == 15
    missing = q1a.assign(accuracy_pct=[np.nan, *q1a["accuracy_pct"][1:]])
    found = effects.matched(missing, "optimizer", "adam", "sgd", "accuracy_pct")
    assert len(found) == 15
    assert (q1a["optimizer"][found["first"]] == "adam").all()


def test_a_lead_in_every_pair_by_hand():
    effect = of(95 + 0.5 * ADAM)
    assert (effect.n, effect.wins, effect.losses) == (16, 16, 0)
    assert effect.mean == pytest.approx(0.5)
    assert effect.error == pytest.approx(0.1 * np.sqrt(2 / 16))  # of the mean of 16 differences
    assert effect.worst_error == pytest.approx(0.1 * np.sqrt(2))
    assert effect.significant_wins == 16  # 0.5 / 0.141 = 3.5: p 0.0004, times 16 is 0.007
    assert effect.sign == 1 and effect.depends_on == ()


def test_pairs_are_adjusted_for_their_number():
    effect = of(95 + 0.3 * ADAM)  # 2.1 standard errors: significant alone, not among 16
    assert effect.wins == 16 and effect.significant_wins == 0 and effect.sign == 1


def test_equal_values_are_neither_ahead_nor_behind():
    effect = of(np.full(32, 95.0))
    assert (effect.wins, effect.losses, effect.sign) == (0, 0, 0)


def test_what_an_effect_depends_on_is_named_by_the_distance_of_its_subgroups():
    at_low = (GRID["lr"] == 1e-4).to_numpy()
    effect = of(95 + ADAM * np.where(at_low, 1.0, 0.0))
    low, high = sorted(effect.depends_on, key=lambda subgroup: subgroup.level)
    assert (low.factor, low.level, low.sign) == ("lr", 1e-4, 1)
    assert low.mean == pytest.approx(1) and (high.level, high.sign) == (1e-3, 0)


def test_nothing_is_significant_without_noise_to_compare_with():
    q1a = table(95 + 5 * ADAM).q1a
    pairs = effects.matched(q1a, "optimizer", "adam", "sgd", "accuracy_pct")
    unknown = noise.pooled(pd.DataFrame(columns=["template"]))
    effect = effects.of(pairs, noise.cells(q1a, "accuracy_pct", unknown))
    assert effect.mean == pytest.approx(5) and effect.sign == 0 and effect.significant_wins == 0

import pandas as pd
import pytest

from mlops_lib.study import settings, words


@pytest.fixture
def trainings():
    """Return three settings of one kind with two seeds each: 99.0, 98.9 and 98.0 % on average."""
    values = {"good": (99.1, 98.9), "near": (98.8, 99.0), "far": (97.9, 98.1)}
    rows = [
        {
            "dataset": "mnist",
            "model": "resnet18",
            "setting": name,
            "seed": seed,
            "accuracy_pct": pct,
        }
        for name, of_each in values.items()
        for seed, pct in enumerate(of_each)
    ]
    return pd.DataFrame(rows)


@pytest.fixture
def spread():
    """Return a noise of 0.1 points with 8 degrees of freedom: a reach of 2.306 * 0.1."""
    kind = pd.MultiIndex.from_tuples([("mnist", "resnet18")], names=["dataset", "model"])
    return pd.DataFrame({"std": [0.1], "df": [8], "settings": [8]}, index=kind)


def test_settings_within_the_noise_of_the_best_are_as_good(trainings, spread):
    table = settings.ranked(trainings, spread)
    assert table["setting"].tolist() == ["good", "near", "far"]
    assert table["behind"].round(2).tolist() == [0, 0.1, 1]
    assert table["reach"].round(3).tolist() == [0.231] * 3  # sqrt(2 / 2 seeds) is 1
    assert table["tied"].tolist() == [True, True, False]
    found = settings.facts(table)
    assert (found["setting"], found["others"], found["tied_in"]) == ("good", ["near"], 1)
    assert (found["pairs"], found["too_close"]) == (3, 1)
    assert round(found["closest"]["span"], 2) == 1
    assert settings.side_by_side(table)["ResNet-18, MNIST"].tolist() == [
        "99.00 =", "98.90 =", "98.00",
    ]  # fmt: skip


def test_one_changed_record_changes_figure_and_sentence(trainings, spread):
    def shown(trainings):
        table = settings.ranked(trainings, spread)
        drawn = settings.draw(trainings, table, "")
        (axis,) = drawn.figure.axes
        dots = sorted(axis.lines[0].get_xdata())
        return (
            dots,
            axis.get_yticklabels()[0].get_text(),
            words.say("Use {{ setting }}.", settings.facts(table)).data,
        )

    dots, first, sentence = shown(trainings)
    assert (max(dots), first, sentence) == (99.1, "good", "Use good.")
    trainings.loc[4, "accuracy_pct"] = 101.9
    dots, first, sentence = shown(trainings)
    assert (max(dots), first, sentence) == (101.9, "far", "Use far.")


def test_without_trainings_nothing_is_said(trainings, spread):
    table = settings.ranked(trainings.iloc[:0], spread)
    assert table.empty and settings.facts(table) == {}
    assert words.say("Use {{ setting }}.", settings.facts(table)).data == "Not run yet."
    assert settings.side_by_side(table).empty


def test_only_seeds_that_all_settings_of_a_kind_have_are_compared(complete):
    table = complete
    lone = table.iloc[:1].assign(seed=7, test_accuracy=0.5)
    found = settings.repeated(pd.concat([table, lone]))
    assert len(found) == 64 and set(found["seed"]) == {0, 1}
    assert found["accuracy_pct"].min() > 90

import pandas as pd
import pytest

from mlops_lib.study import by_source, optimizers
from mlops_lib.study.protocol import SOURCES

KIND = pd.MultiIndex.from_tuples([("mnist", "resnet18")], names=["dataset", "model"])
SPREAD = pd.DataFrame({"std": [0.1], "df": [8], "settings": [8]}, index=KIND)


def trained(adam_low, adam_high):
    """Return Adam's accuracy at 1e-4 and 1e-3 beside 98 and 99 % of SGD."""
    rows = [
        ("sgd", 1e-4, 98.0),
        ("sgd", 1e-3, 99.0),
        ("adam", 1e-4, adam_low),
        ("adam", 1e-3, adam_high),
    ]
    table = pd.DataFrame(rows, columns=["optimizer", "lr", "accuracy_pct"])
    same = {"dataset": "mnist", "model": "resnet18", "batch_size": 16, "epochs": 5, "trainings": 1}
    return table.assign(**same, train_images=49_000, device="cpu", table="Q1(a)")


@pytest.fixture
def trainings():
    return dict(zip(SOURCES, (trained(99, 99.5), trained(99, 98), trained(98.2, 60)), strict=True))


def test_differences_by_hand(trainings):
    table = optimizers.adam_minus_sgd(trainings, SPREAD)
    ours = table[table["source"] == "Our runs"].sort_values("lr")
    assert ours["difference"].round(2).tolist() == [0.2, -39]
    assert ours["significant"].tolist() == [0, -1]  # a difference of 0.33 points is
    counted = by_source.counts(table).loc["Our runs"]
    assert counted[["pairs", "ahead", "behind"]].tolist() == [2, 1, 1]
    found = optimizers.facts(trainings, SPREAD)
    assert found["adam"]["1e-3"]["Report B"]["ahead"] == 0
    assert found["sgd_rate"]["Our runs"]["ahead"] == 1
    assert optimizers.facts({SOURCES[0]: trained(99, 99)}, SPREAD) == {}


def test_what_lies_far_below_is_an_arrow_with_its_value(trainings):
    table = optimizers.adam_minus_sgd(trainings, SPREAD)
    drawn = optimizers.draw(pd.concat([table] * 4), "Adam leads")
    texts = [text.get_text() for axis in drawn.figure.axes for text in axis.texts]
    assert "−39.0" in texts
    assert drawn.figure.axes[0].get_ylim()[0] > -5
    assert drawn.alt.startswith("Adam leads. ") and "−39.00" in drawn.alt

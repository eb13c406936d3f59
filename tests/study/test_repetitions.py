import pandas as pd
import pytest
from test_optimizers import SPREAD

from mlops_lib.study import repetitions
from mlops_lib.study.protocol import CONFIGURATION, SOURCES

SETTINGS = [
    ("mnist", size, name, lr, "resnet18")
    for size in (16, 32)
    for name in ("sgd", "adam")
    for lr in (1e-3, 1e-4)
]


def trained(*accuracies):
    table = pd.DataFrame(SETTINGS, columns=CONFIGURATION).assign(accuracy_pct=accuracies)
    return table.assign(trainings=1, epochs=5, train_images=49_000, device="cpu", table="Q1(a)")


@pytest.fixture
def by_repetition():
    up, down = range(90, 98), range(97, 89, -1)
    names = (*SOURCES[:2], "CPU, seed 0", "CPU, seed 1")
    tables = trained(*up), trained(*down), trained(*up), trained(*up[:-1], 94)
    return dict(zip(names, tables, strict=True))


def test_rankings_are_correlated(by_repetition):
    table = repetitions.correlations(by_repetition).set_index("source")
    assert table.loc["CPU, seed 0", list(SOURCES[:2])].round(6).tolist() == [1, -1]
    assert table.loc["CPU, seed 1", "Report A"] < 1
    few = {name: trained.iloc[:7] for name, trained in by_repetition.items()}
    assert repetitions.correlations(few).empty


def test_pairs_that_change_sides_are_counted(by_repetition):
    signs = repetitions.differences(by_repetition, SPREAD)
    assert repetitions.steady(signs) == {"repeated": 12, "same_side": 10, "opposed": 2}
    table = repetitions.table(signs)
    assert len(table) == 12 and list(table) == ["Both", "CPU, seed 0", "CPU, seed 1"]
    assert table.loc["Adam over SGD", "CPU, seed 0"].tolist() == ["+2.00*"] * 4
    found = repetitions.facts(repetitions.correlations(by_repetition), signs)
    assert found["rho"]["mnist"]["Report B"][0] == pytest.approx(-1)


def test_the_matrix_has_a_mark_for_each_pair_and_source(by_repetition):
    signs = repetitions.differences(by_repetition, SPREAD)
    drawn = repetitions.draw(signs, repetitions.correlations(by_repetition), "B's comes back")
    (axis,) = drawn.figure.axes
    assert sum(len(line.get_xdata()) for line in axis.lines) == 12 * 4
    assert "−1.00" in [text.get_text() for text in axis.texts]


def test_without_repetitions_there_is_nothing_to_say(by_repetition):
    reports = dict(list(by_repetition.items())[:2])
    signs = repetitions.differences(reports, SPREAD)
    assert repetitions.facts(repetitions.correlations(reports), signs) == {}
    assert repetitions.table(signs).empty

import pandas as pd
from grid import others, table, trainings

from mlops_lib.study import stability


def test_each_repetition_is_judged_by_itself(complete):
    judged = stability.multiverse(complete)
    again = judged[judged["repetition"]]
    assert set(again["choice"]) == {"CPU, seed 0", "CPU, seed 1"}
    steady = stability.by_repetition(judged)
    assert steady.loc["A1"].tolist() == [2, 2]
    facts = stability.facts(judged)
    assert facts["choices"] >= 4 and "A1" not in facts["turning"] and facts["opposed"] == []
    assert judged.query("choice == 'test images as the only noise' and id == 'A1'").shape[0] == 1


def test_a_repetition_that_disagrees_is_counted():
    first, second = trainings(seeds=(0,)), trainings(lead=-0.002, seeds=(1,))
    steady = stability.by_repetition(stability.multiverse(table(*first, *second, *others())))
    assert steady.loc["A1"].tolist() == [1, 2]


def test_one_repetition_is_none(complete):
    once = complete[~(complete["seed"] == 1)]
    assert not stability.multiverse(once)["repetition"].any()
    nothing = stability.multiverse(pd.DataFrame(columns=["template", "suite", "page"]))
    assert stability.facts(nothing) == {}
    assert set(nothing["source"]) == {"Report A", "Report B"}


def test_the_figure_says_each_verdict(complete):
    alt = stability.plot(stability.multiverse(complete)).alt
    assert "A1: as judged here holds" in alt

import pandas as pd
from grid import others, table, trainings

from mlops_lib.study import overview, verdict_file


def facts(runs):
    return overview.facts(runs, verdict_file.of_runs(runs))


def test_a_changed_record_changes_the_facts(complete):
    before = facts(complete)
    assert before["runs"] == len(complete) and before["total"] == 18
    assert sum(before["counts"].values()) == 18
    after = facts(table(*trainings(lead=-0.01), *others()))
    assert after["counts"] != before["counts"]


def test_without_runs_there_are_none():
    assert facts(pd.DataFrame(columns=["template", "suite", "page", "key"])) == {}

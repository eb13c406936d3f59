"""One record changed: what a reader sees of it, in the book and in README.md, changes with it."""

import re

import pytest

from mlops_lib.publish import board, readme
from mlops_lib.study import forest, overview, verdict_file


def shown(runs):
    """Return what the overview, the page of claims and README.md show of these runs."""
    verdicts = verdict_file.of_runs(runs)
    effects = forest.effects(verdicts)
    sentences = re.findall("<td[^>]*>(.*?)</td>", board.html(verdicts, sentences=True).data)
    return {
        "figure": effects.to_csv(),
        "figure's description": forest.plot(effects).alt,
        "board": board.html(verdicts).data,
        "sentences": sentences,
        "card": board.cards(verdicts).data,
        "overview": overview.facts(runs, verdicts),
        "README": readme.of_runs(runs),
    }


@pytest.fixture(scope="module")
def before(complete):
    return shown(complete)


def test_a_failed_training_changes_all_that_is_said(complete, before):
    one = complete.index[(complete["template"] == "q1a") & (complete["optimizer"] == "adam")][0]
    runs = complete.copy()
    runs.loc[one, "test_accuracy"] -= 0.3
    after = shown(runs)
    assert [name for name in before if before[name] == after[name]] == []


def test_the_same_runs_show_the_same(complete, before):
    assert shown(complete.copy()) == before

import pandas as pd
from grid import all_runs

from mlops_lib.study import noise, rules
from mlops_lib.study.verdicts import MEANINGS


def test_every_word_has_its_meaning():
    assert rules.words().index.tolist() == list(MEANINGS)


def test_the_noise_is_laid_out_by_kind(complete):
    shown = rules.noise_table(noise.pooled(complete))
    assert "MNIST, ResNet-18" in shown.index and shown["Degrees of freedom"].tolist() == [8] * 4


def test_what_verdicts_rest_on(complete):
    found = rules.basis(complete)
    assert found == {
        "trained": 32, "published": 32, "devices": ["a CPU"], "seeds": [0, 1],
        "timed_on": ["a CPU"],
    }  # fmt: skip
    assert rules.basis(pd.DataFrame(columns=["template"])) == {}
    assert rules.basis(all_runs(seeds=(2,)))["seeds"] == [2]

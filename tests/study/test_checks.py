import dataclasses

import pandas as pd
import pytest
from published_grid import ours, shorten, without

from mlops_lib import tables
from mlops_lib.study import checks, claims, selection, sources


@pytest.mark.parametrize(
    ("behind", "verdict", "beyond"), [(0.05, "mixed", "none"), (1.0, "does not hold", "1")]
)
def test_one_pair_beyond_chance_refutes_what_is_said_of_all(behind, verdict, beyond):
    told = sources.report("A")
    q1a = told.q1a.copy()
    one = {"dataset": "mnist", "model": "resnet18", "batch_size": 16, "lr": 1e-3}
    sgd, adam = (selection.select(q1a, optimizer=name, **one).index for name in ("sgd", "adam"))
    q1a.loc[adam, "accuracy_pct"] = q1a.loc[sgd, "accuracy_pct"].item() - behind
    found = claims.CLAIMS[0].check(dataclasses.replace(told, q1a=q1a))
    assert found.verdict == verdict
    assert f"ahead in 15 of 16 pairs, behind in 1 ({beyond} beyond chance)" in found.says


def test_shorter_trainings_are_not_judged(folder):
    shorten(folder)
    assert ours(folder, "A1").verdict == "not measured"
    assert "no pair" in ours(folder, "A1").says


def test_a_few_pairs_are_not_judged(folder):
    for number, path in enumerate(tables.records(folder)):
        if number >= 6:
            path.unlink()
    assert ours(folder, "A1").verdict == "not measured"
    assert ours(folder, "B1").verdict == "not measured"


def test_pairs_are_compared_on_the_images_they_share(folder):
    says = ours(folder, "A1").says
    assert (
        "on the shared test images (McNemar) better in 0, worse in 0, neither in 16 of 16" in says
    )


def test_consistently_takes_every_published_pair(folder):
    without(folder, "resnet18")
    assert ours(folder, "A1").verdict == "not measured"
    says = ours(folder, "A1").says
    assert "ahead in 8 of 8 pairs (16 published), behind in 0;" in says
    assert says.endswith("; these are 4 of MNIST with ResNet-18, 4 of FashionMNIST with ResNet-18")
    assert ours(folder, "A4").verdict == "does not hold"  # its 8 pairs are all equal


def test_a_headline_waits_for_all_configurations(folder):
    without(folder, "resnet18")
    assert ours(folder, "A11").verdict == "not measured"
    assert "not all configurations run" in ours(folder, "B7").says


def test_a_claim_of_several_parts_waits_for_all():
    def verdict(*of_parts):
        parts = [lambda _, each=each: checks.Evidence(each, "") for each in of_parts]
        return checks.every_part(*parts)(sources.Source("ours", *[pd.DataFrame()] * 4)).verdict

    assert verdict("holds", "holds") == "holds"
    assert verdict("holds", "does not hold") == "mixed"
    assert verdict("does not hold", "does not hold") == "does not hold"
    assert verdict("does not hold", "not measured") == "not measured"
    assert verdict("holds", "not measured") == "not measured"


def test_the_best_network_stands_beside_the_best_svm(tmp_path):
    judged = claims.judge(tables.all_runs(tmp_path))
    (says,) = judged.query("id == 'A6' and source == 'Report B'")["says"]
    assert "MNIST +1.59 points from that SVM, beyond chance" in says  # 99.20 against 97.61
    assert "FashionMNIST +2.71 points" in says  # 92.60 against 89.89
    assert "21 are ahead" in says and "6 behind; behind are 1 of MNIST with ResNet-18, 1 of" in says

import numpy as np
import pandas as pd
import pytest

from mlops_lib.params import Q1a, Q1b
from mlops_lib.study import claims, recovery, sources
from mlops_lib.study.protocol import published


def svm(accuracy, images, **parameters):
    """Return the row of an SVM's run with one candidate."""
    p = Q1b(**{"C": [10], "degree": [2], "train_size": 10_000} | parameters)
    right = round(accuracy / 100 * images)
    return p.model_dump() | {
        "template": "q1b",
        "candidates": 1.0,
        "best_C": p.C[0],
        "best_degree": p.degree[0] if p.kernel == "poly" else np.nan,
        "confusion_matrix": [[right, images - right], [0, 0]],
        "test_accuracy": right / images,
        "train_images": p.train_size,
        "page": "a/page",
    }


def of_report_a(**others):
    """Return runs that give report A's four accuracies."""
    told = published("q1b").query("report == 'A'")
    return [
        svm(row.accuracy_pct, 2000, dataset=row.dataset, kernel=row.kernel, C=[row.C], **others)
        for row in told.itertuples()
    ]


def test_the_protocol_that_gives_every_figure_is_first():
    near = [row | {"scaling": "standard", "test_accuracy": row["test_accuracy"] + 0.001}
            for row in of_report_a()]  # fmt: skip
    runs = pd.DataFrame([*near, *of_report_a()])
    ranking = recovery.svm_ranking(runs).loc["A"].reset_index()
    assert ranking["scaling"].tolist() == ["unit", "standard"]
    assert ranking["exact"].tolist() == [4, 0]
    assert ranking["distance"].round(6).tolist() == [0, 0.1]
    assert ranking["chance"][1] == 1
    # 1 / sqrt(2 pi n p q) is about 0.041, 0.043, 0.026 and 0.027 for the four.
    assert ranking["chance"][0] == pytest.approx(1.2e-6, rel=0.1)
    assert ranking["expected"][0] == pytest.approx(2 * ranking["chance"][0])


def test_chance_of_several_exact_figures():
    assert recovery._at_least(0, [0.5, 0.5]) == 1
    assert recovery._at_least(1, [0.5, 0.25]) == pytest.approx(0.625)
    assert recovery._at_least(2, [0.5, 0.25]) == pytest.approx(0.125)


def test_one_rbf_run_stands_for_every_degree():
    rows = [svm(90, 2000), svm(92, 2000, kernel="poly"), svm(89, 2000, kernel="poly", degree=[3])]
    gains = recovery.kernels(pd.DataFrame(rows))
    assert gains["mnist"].tolist() == pytest.approx([2, -1])


def test_split_and_the_rest_of_a_seed_are_told_apart():
    common = {"template": "q1a", "suite": "recovery"}
    rows = [common | Q1a(split_seed=n).model_dump() | {"test_accuracy": 0.9 + n / 100}
            for n in range(3)]  # fmt: skip
    rows += [common | Q1a(split_seed=0, seed=n).model_dump() | {"test_accuracy": 0.9 + n / 50}
             for n in (1, 2)]  # fmt: skip
    parts = recovery.seed_parts(pd.DataFrame(rows))
    assert parts["n"].tolist() == [3, 3]
    assert parts["std"].tolist() == pytest.approx([1, 2])
    assert parts["low"].iloc[0] < 1 < parts["high"].iloc[0]


def test_epochs_are_compared_by_the_best_weights_so_far(complete):
    """The made-up trainings validate alike in every epoch: no number of epochs is likelier."""
    runs = complete
    names = pd.MultiIndex.from_product([["mnist", "fashion_mnist"], ["resnet18", "resnet50"]])
    found = recovery.by_epochs(runs, pd.Series(1.0, names))
    assert found.loc["A", "mnist"].index.tolist() == [1, 2, 3, 4, 5]
    assert found.loc["A", "mnist"].nunique().tolist() == [1, 1, 1]
    assert found["figures"].unique().tolist() == [16]


def test_what_sgd_gains_by_the_lower_rate(complete):
    gains = recovery.sgd_by_rate(complete, complete).groupby("source")["gain"]
    assert (gains.get_group("report A") > 0).all()
    assert (gains.get_group("report B") < 0).all()
    assert gains.get_group("momentum 0.9, all epochs").abs().max() < 0.5
    assert gains.size().tolist() == [8, 8, 8]
    other = complete[complete["optimizer"] == "sgd"].assign(shuffle=False)
    gains = recovery.sgd_by_rate(complete, pd.concat([complete, other]))
    assert gains["source"].value_counts()["momentum 0.9, never shuffled"] == 16


def test_trainings_on_scaled_images_are_told_apart_by_size_and_channels():
    common = {"template": "q1a", "suite": "recovery"}
    size = {"dataset": "fashion_mnist", "optimizer": "adam", "lr": 1e-4, "epochs": 2}
    asked = [(28, 1, 0, 0.8), (28, 1, 1, 0.82), (56, 1, 0, 0.9), (28, 3, 1, 0.7)]
    rows = [
        common | Q1a(**size, input_size=pixels, in_channels=channels, seed=seed).model_dump()
        | {"test_accuracy": accuracy}
        for pixels, channels, seed, accuracy in asked
    ]  # fmt: skip
    rows.append(rows[0] | {"lr": 1e-3, "test_accuracy": 0.1})  # of another question
    found = recovery.by_image_size(pd.DataFrame(rows))
    assert found["mean"].round(6).to_dict() == {(28, 1): 81, (28, 3): 70, (56, 1): 90}
    assert found["n"].tolist() == [2, 1, 1]
    assert found["gain"].round(6).tolist() == [0, -12, 10]  # of the same seed
    assert recovery.by_image_size(pd.DataFrame(rows[-1:])).empty


def test_claims_on_svms_are_judged_with_svms_as_their_report_fitted_them(complete):
    """The made-up ResNets have 95 to 96 %: ahead of report A's SVMs only on FashionMNIST."""
    fitted = pd.DataFrame(of_report_a()).assign(seconds=1.0, alone=True)
    fitted["page"] = [f"a/{n}" for n in range(4)]
    by_id = {claim.id: claim for claim in claims.claims()}
    ours, spread = sources.ours(complete), claims.spreads(complete)

    def judged(name, runs):
        return recovery.evidence(by_id[name], ours, runs, spread)

    accuracies = sorted(recovery.svms(fitted, "A")["accuracy_pct"])
    assert accuracies == pytest.approx([86.8, 87.45, 95.2, 95.55])
    assert set(recovery.svms(fitted, "A")["test_images"]) == {2000}
    again = judged("A6", fitted)
    best = fitted[fitted["test_accuracy"].isin([0.9555, 0.8745])]
    assert again.effect.n == 32 and set(again.rows) & set(fitted["page"]) == set(best["page"])
    assert judged("A7", fitted).verdict == "holds"  # one second
    assert judged("A1", fitted) is None  # not about SVMs
    assert judged("A6", fitted.iloc[:3]) is None  # not all of its figures
    assert judged("A6", complete) is None


def test_a_search_for_gamma_says_whether_its_best_lies_inside():
    search = [{"gamma": gamma} for gamma in (0.02, 0.05, 0.1)]
    rows = [
        svm(98, 14_000, dataset=dataset)
        | {"suite": "recovery", "search": tried, "best_gamma": gamma}
        for dataset, gamma, tried in (
            ("mnist", 0.05, search),
            ("fashion_mnist", 0.1, search),
            ("mnist", 0.05, search[1:2]),  # no search
        )
    ]
    mnist, fashion = recovery.gamma_search(pd.DataFrame(rows))
    assert (mnist["inside"], fashion["inside"]) == (True, False)
    assert (mnist["low"], mnist["high"], mnist["images"]) == (0.02, 0.1, 10_000)
    assert recovery.gamma_search(pd.DataFrame(rows[2:])) == []


def test_how_far_report_b_is_ahead_with_the_settings_of_the_image_sizes(complete):
    """The made-up trainings with Adam have 96 %, those of report B 92.43 and 92.06 %."""
    assert recovery.lead(complete, "B") == pytest.approx(92.245 - 96, abs=0.1)
    assert np.isnan(recovery.lead(complete[complete["batch_size"] != 16], "B"))
    assert np.isnan(recovery.lead(complete.iloc[:0], "B"))

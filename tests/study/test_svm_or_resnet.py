import pandas as pd
from test_tables import make

from mlops_lib.study import svm_or_resnet


def svm(images, right, seconds, **options):
    search = [
        {"C": 10.0, "degree": None, "gamma": "scale", "val_accuracy": 0.9, "fit_seconds": seconds}
    ]
    results = {
        "best": {"C": 10.0},
        "search": search,
        "fit_seconds": seconds,
        "fit_cpu_seconds": seconds,
    }
    return make("q1b", right, images, kernel="rbf", C=10.0, results=results | options)


def resnet(images, right, epochs, **options):
    return make("q1a", right, images, epochs=epochs, **options)


def test_growth_and_what_is_said_of_it(runs):
    table = runs(
        svm(1000, 13_000, 1.0), svm(49_000, 13_800, 40.0),
        resnet(1000, 12_000, 1), resnet(49_000, 13_900, 1), resnet(49_000, 13_950, 5),
    )  # fmt: skip
    grown = svm_or_resnet.growth(table)
    assert grown["method"].tolist() == ["SVM (RBF, C=10)"] * 2 + ["ResNet-18, one epoch"] * 2 + [
        "ResNet-18, all epochs"
    ]
    best = svm_or_resnet.best(table)
    ours = best[best["source"] == "Our runs"].iloc[0]
    assert round(ours["gap"], 2) == round(100 * 150 / 14_000, 2)
    assert (ours["behind"], ours["resnets"]) == (0, 1)
    facts = svm_or_resnet.facts(best, grown)
    assert (facts["svm_ahead"], facts["compared"]) == (1, 2)
    assert facts["slower"] == {"mnist": 1.5}  # 60 s beside 40
    assert facts["reached"]["mnist"] == {"A": (1000, 49_000), "B": (1000, 49_000)}
    assert svm_or_resnet.table(best)["SVM fit (s)"].tolist()[-1] == "40"
    drawn = svm_or_resnet.draw(grown, svm_or_resnet.printed(), "SVMs")
    assert "A's SVM: 95.55" in [text.get_text() for text in drawn.figure.axes[1].texts]
    assert "report B, RBF kernel: 96.99 %" in drawn.alt


def test_times_beside_other_work_are_left_out(runs):
    table = svm_or_resnet.growth(runs(svm(1000, 13_000, 1.0)).assign(alone=False))
    assert table["seconds"].isna().all() and table["accuracy_pct"].notna().all()
    empty = svm_or_resnet.growth(runs().iloc[:0])
    assert empty.empty and svm_or_resnet.facts(pd.DataFrame(), empty) == {}

import pandas as pd

from mlops_lib.study import depth


def found(*rows):
    table = pd.DataFrame(
        rows, columns=["source", "table", "dataset", "setting", "resnet18", "resnet50"]
    )
    return table.assign(difference=table["resnet50"] - table["resnet18"])


BOTH = found(
    ("Report A", "Q1(a)", "mnist", "Adam 1e-3, batch 16", 98.0, 99.0),
    ("Report A", "Q2", "fashion_mnist", "CPU, SGD", 90.0, 89.0),
    ("Our runs", "Q1(a)", "mnist", "Adam 1e-3, batch 16", 99.0, 98.5),
    ("Our runs", "Q1(a)", "fashion_mnist", "SGD 1e-3, batch 16", 91.0, 92.0),
    ("Our runs", "Q2", "fashion_mnist", "CPU, 224×224", 88.0, 87.0),
)


def test_pairs_are_counted_by_source_and_table():
    facts = depth.facts(BOTH, pd.Series([2.0, 3.0]))
    assert facts["each"]["Our runs", "Q1(a)"] | {"median": 0} == {
        "pairs": 2,
        "ahead": 1,
        "behind": 1,
        "median": 0,
    }
    assert facts["each"]["Report A", "Q2"]["ahead"] == 0
    assert facts["gap"] == {"mnist": 0.5, "fashion_mnist": -1}
    assert facts["times"] == (2, 3) and facts["large"] == {"pairs": 1, "ahead": 0}
    assert round(facts["operations"][28], 1) == 2.4
    assert depth.facts(BOTH.iloc[:2], pd.Series(dtype=float)) == {}
    assert depth.by_table(BOTH)["ResNet-50 ahead"].tolist() == [
        "1 of 1",
        "0 of 1",
        "0 of 1",
        "1 of 1",
        "0 of 1",
    ]


def test_the_figure_has_a_dumbbell_for_each_setting():
    drawn = depth.draw(BOTH, "Depth")
    lines = [
        line for axis in drawn.figure.axes for line in axis.lines if len(line.get_xdata()) == 2
    ]
    assert len(lines) == len(BOTH)
    assert "Our runs, Q1(a), MNIST: ahead in 0 of 1, −0.50" in drawn.alt


def test_both_networks_of_reports_and_runs(complete):
    table = depth.both_networks(complete)
    counts = table.groupby(["source", "table"]).size().to_dict()
    assert counts == {
        ("Our runs", "Q1(a)"): 16, ("Our runs", "Q2"): 2,
        ("Report A", "Q1(a)"): 16, ("Report A", "Q2"): 4,
        ("Report B", "Q1(a)"): 16, ("Report B", "Q2"): 2,
    }  # fmt: skip
    ratios = depth.times_as_long(complete)
    assert len(ratios) == 16 and (ratios == 1).all()  # copies of one record

import pandas as pd
import pytest

from mlops_lib.study import figures

pytestmark = pytest.mark.usefixtures("matplotlibrc")


@pytest.mark.parametrize("rows", [[], [("a", "CPU", 10.0)]])
def test_speed(rows):
    table = pd.DataFrame(rows, columns=["run", "device", "images_per_second"])
    axis = figures.speed(table).figure.axes[0]
    marks = [x for dots in axis.collections for x, _ in dots.get_offsets()]
    assert marks == [row[2] for row in rows]
    assert axis.get_facecolor() == (1, 1, 1, 1)  # not the red of a user's settings


def test_reports_and_measured_has_a_facet_for_each_model():
    row = {"dataset": "MNIST", "configuration": "Adam", "accuracy": 99.0, "low": 99.0, "high": 99.0}
    rows = [row | {"model": m, "source": s} for m in ("x", "y") for s in ("report A", "report B")]
    figure = figures.reports_and_measured(pd.DataFrame(rows)).figure
    assert [axis.get_title() for axis in figure.axes] == ["MNIST, x", "MNIST, y"]
    assert figure.axes[0].get_facecolor() == (1, 1, 1, 1)


def test_marks_of_one_configuration_lie_apart_and_measured_ones_have_a_bar():
    row = {"dataset": "MNIST", "model": "x", "configuration": "Adam", "accuracy": 99.0}
    told = [row | {"source": f"report {name}", "low": 99.0, "high": 99.0} for name in "AB"]
    here = row | {"source": "measured here on less", "low": 98.0, "high": 99.5}
    (axis,) = figures.reports_and_measured(pd.DataFrame([*told, here])).figure.axes
    marks = {line.get_label(): line for line in axis.lines if len(line.get_xdata()) == 1}
    assert len({line.get_ydata()[0] for line in marks.values()}) == 3
    assert marks["measured here on less"].get_markerfacecolor() == "white"
    bars = [bar for lines in axis.collections for bar in lines.get_segments()]
    assert [98.0, 99.5] in [bar[:, 0].tolist() for bar in bars]


def test_cost_has_mnist_first_and_counts_the_runs_far_below_its_lines():
    rows = [
        ("FashionMNIST", "one", 10.0, 90.0, True),
        ("MNIST", "one", 10.0, 99.0, True),
        ("MNIST", "one", 20.0, 99.2, True),
        ("MNIST", "two", 20.0, 98.0, True),
        ("MNIST", "two", 30.0, 65.0, False),
    ]
    table = pd.DataFrame(rows, columns=["dataset", "machine", "seconds", "accuracy", "best"])
    figure = figures.cost(table.assign(method="SVM")).figure
    mnist, fashion = figure.axes
    assert [mnist.get_title(), fashion.get_title()] == ["MNIST", "FashionMNIST"]
    assert [text.get_text() for text in mnist.texts] == ["1 more further down, to 65.0 %"]
    assert mnist.get_ylim()[0] == 96.0
    assert mnist.get_facecolor() == (1, 1, 1, 1)
    assert not fashion.texts
    assert {"one", "two"} <= {text.get_text() for text in figure.legends[0].texts}
    assert [10.0, 20.0] in [list(line.get_xdata()) for line in mnist.lines]


def test_growth_and_layers_have_their_panels():
    row = {"dataset": "MNIST", "method": "SVM", "accuracy": 90.0, "seconds": 1.0}
    grown = figures.growth(pd.DataFrame([row | {"images": count} for count in (100, 200)]))
    weights = {"layer": "conv1", "weights": 10, "dead": 2}
    some = figures.layers(pd.DataFrame([weights | {"model": name} for name in "xy"]))
    for drawn, panels in ((grown, ["MNIST", "MNIST"]), (some, ["x", "y"])):
        assert [axis.get_title() for axis in drawn.figure.axes] == panels
        assert drawn.figure.axes[0].get_facecolor() == (1, 1, 1, 1)

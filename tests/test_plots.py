import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from mlops_lib import plots
from mlops_lib.train import Epoch

NAMES = tuple("0123456789")


def test_a_sample_of_every_class(small):
    figure = plots.samples(*small, NAMES)
    axis = figure.axes[0]
    assert [text.get_text() for text in axis.texts] == list(NAMES)
    assert len(axis.images) == 10


def test_mistakes_are_the_surest_wrong_answers(small):
    images, labels = small
    logits = np.full((60, 10), -5.0)
    logits[np.arange(60), labels] = 5
    logits[7], logits[9] = 0, 0
    logits[7, 1], logits[9, 2] = 3, 8  # both wrong; the second is surer
    figure = plots.mistakes(images, labels, logits, NAMES)
    shown = [text.get_text() for text in figure.axes[0].texts]
    assert len(shown) == 2
    assert shown[0].startswith("2 ")
    assert shown[0].endswith("is 9")
    assert shown[1].startswith("1 ")


def test_no_mistakes_is_a_figure_too(small):
    images, labels = small
    assert isinstance(plots.mistakes(images, labels, np.eye(10)[labels], NAMES), Figure)


def test_curves_show_both_losses_and_the_accuracy():
    epochs = [Epoch(1.0, 0.9, 0.5, 1.0), Epoch(0.5, 0.6, 0.75, 1.0)]
    left, right = plots.curves(epochs, [1.5, 1.0, 0.6, 0.4]).axes
    assert [line.get_ydata().tolist() for line in left.lines][1] == [0.9, 0.6]
    assert right.lines[0].get_ydata().tolist() == [50.0, 75.0]


def test_confusion_is_in_per_cent_of_the_true_class():
    axis = plots.confusion([[3, 1], [0, 0]], ("a", "b")).axes[0]
    assert [text.get_text() for text in axis.texts] == ["75.0", "25.0", "", ""]


def test_search_has_a_line_for_each_setting():
    rows = [
        {"C": c, "degree": d, "gamma": "scale", "val_accuracy": 0.9}
        for c in (1, 10)
        for d in (2, 3)
    ]
    legend = plots.search(rows).axes[0].get_legend()
    assert [t.get_text() for t in legend.texts] == [
        "degree 2, gamma scale",
        "degree 3, gamma scale",
    ]


@pytest.mark.parametrize("rows", [[], [("a", "CPU", 10.0)]])
def test_speed(rows):
    table = pd.DataFrame(rows, columns=["run", "device", "images_per_second"])
    axis = plots.speed(table).axes[0]
    assert len(axis.patches) >= len(rows)


def test_reports_and_measured_has_a_facet_for_each_model():
    row = {"dataset": "MNIST", "configuration": "Adam", "accuracy": 99.0, "low": 99.0, "high": 99.0}
    rows = [row | {"model": m, "source": s} for m in ("x", "y") for s in ("report A", "report B")]
    figure = plots.reports_and_measured(pd.DataFrame(rows))
    assert [axis.get_title() for axis in figure.axes] == ["MNIST, x", "MNIST, y"]

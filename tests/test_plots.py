import base64
import io

import numpy as np
import pytest
from matplotlib.text import Text
from PIL import Image

from mlops_lib import plots
from mlops_lib.train import Epoch

NAMES = tuple("0123456789")
pytestmark = pytest.mark.usefixtures("matplotlibrc")


def test_a_sample_of_every_class(small):
    axis = plots.samples(*small, NAMES).figure.axes[0]
    assert [text.get_text() for text in axis.texts] == list(NAMES)
    assert len(axis.images) == 10


def test_mistakes_are_the_surest_wrong_answers(small):
    images, labels = small
    logits = np.full((60, 10), -5.0)
    logits[np.arange(60), labels] = 5
    logits[7], logits[9] = 0, 0
    logits[7, 1], logits[9, 2] = 3, 8  # both wrong; the second is surer
    figure = plots.mistakes(images, labels, logits, NAMES).figure
    shown = [text.get_text() for text in figure.axes[0].texts]
    assert len(shown) == 2
    assert shown[0].startswith("2 ")
    assert shown[0].endswith("is 9")
    assert shown[1].startswith("1 ")


def test_no_mistakes_is_a_picture_too(small):
    images, labels = small
    picture = plots.mistakes(images, labels, np.eye(10)[labels], NAMES)
    assert picture.alt == "Misclassified images: none"
    assert picture.png()


def test_a_picture_is_small_and_says_what_it_shows(small):
    bundle, metadata = plots.samples(*small, NAMES)._repr_mimebundle_()
    image = Image.open(io.BytesIO(base64.b64decode(bundle["image/png"])))
    assert image.mode == "P"
    assert 600 < image.width < 1000  # not at the 600 dpi of a user's settings
    assert len(bundle["image/png"]) < 60_000  # of noise; clothes take 22,000
    assert metadata["image/png"]["alt"].startswith("One image of each class: 0; 1; 2")


def test_a_notebook_shows_a_picture_once_and_the_book_in_both_themes(small, monkeypatch):
    picture = plots.curves([Epoch(1.0, 0.9, 0.5, 1.0)], [1.5, 1.0])
    data, metadata = picture._repr_mimebundle_()
    assert list(data) == ["image/png", "text/plain"] and list(metadata["image/png"]) == ["alt"]
    monkeypatch.setenv(plots.BOTH_THEMES, "yes")
    data, metadata = picture._repr_mimebundle_()
    assert list(data) == ["image/svg+xml", "text/plain"]
    about = metadata["image/svg+xml"]
    assert about["alt"] == picture.alt and about["dark"] != data["image/svg+xml"]
    assert "#262626" in data["image/svg+xml"] and "#262626" not in about["dark"]
    again, _ = picture._repr_mimebundle_()
    assert again == data


def test_curves_show_both_losses_and_the_accuracy():
    epochs = [Epoch(1.0, 0.9, 0.5, 1.0), Epoch(0.5, 0.6, 0.75, 1.0)]
    left, right = plots.curves(epochs, [1.5, 1.0, 0.6, 0.4]).figure.axes
    assert [line.get_ydata().tolist() for line in left.lines][1] == [0.9, 0.6]
    assert right.lines[0].get_ydata().tolist() == [50.0, 75.0]


@pytest.mark.parametrize("loss", [np.nan, np.inf, 0.0])
def test_curves_of_a_training_without_one_finite_loss_are_drawn(loss):
    assert plots.curves([Epoch(loss, loss, 0.1, 1.0)], [loss] * 3).png()
    one_step = plots.curves([Epoch(2.5, loss, 0.1, 1.0)], [2.5])
    assert one_step.png() and one_step.figure.axes[0].get_yscale() == "log"


def test_confusion_is_in_per_cent_of_the_true_class():
    axis = plots.confusion([[3, 1], [0, 0]], ("a", "b")).figure.axes[0]
    assert [text.get_text() for text in axis.texts] == ["75.0", "25.0", "", ""]


def test_confusion_says_where_there_is_no_mistake():
    assert plots.confusion([[3, 0], [0, 2]], ("a", "b")).alt == "Confusion matrix. No mistake"
    assert plots.confusion([[3, 1], [0, 2]], ("a", "b")).alt.endswith(
        "25.0 % of the images of a are called b"
    )


def test_search_has_a_panel_for_each_degree_and_a_line_for_each_gamma():
    rows = [
        {"C": c, "degree": d, "gamma": g, "val_accuracy": 0.9 + 0.01 * (d == 3)}
        for c in (1, 10)
        for d in (2, 3)
        for g in ("scale", 0.01)
    ]
    picture = plots.search(rows)
    assert [axis.get_title() for axis in picture.figure.axes] == ["degree 2", "degree 3"]
    assert [t.get_text() for t in picture.figure.legends[0].texts] == ["scale", "0.01"]
    assert picture.alt == "Best: 91.00 % on validation images, C 1, degree 3, gamma scale"
    rbf = plots.search([row | {"degree": None} for row in rows])
    assert [axis.get_title() for axis in rbf.figure.axes] == [""]


def test_settings_of_the_user_change_no_picture():
    figures = [
        plots.curves([Epoch(1.0, 0.9, 0.5, 1.0)], [1.5, 1.0]).figure,
        plots.confusion([[3, 1], [0, 2]], ("a", "b")).figure,
        plots.search([{"C": 1, "degree": None, "gamma": "scale", "val_accuracy": 0.9}]).figure,
    ]
    for figure in figures:
        assert not any(text.get_usetex() for text in figure.findobj(Text))
        assert figure.axes[0].get_facecolor() == (1, 1, 1, 1)

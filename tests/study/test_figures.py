import matplotlib.pyplot as plt
import pytest

from mlops_lib.plots import styled
from mlops_lib.study import figures

pytestmark = pytest.mark.usefixtures("matplotlibrc")


def test_an_axis_leaves_out_what_lies_far_outside():
    low, high = figures.limits([90, 91, 92, 93, 50.81])
    assert 89 < low < 90 and 93 < high < 94
    assert figures.limits([5, 5]) == (4.92, 5.08)


def test_a_figure_has_its_finding_as_title_and_in_its_description():
    with styled():
        figure, axes = figures.panels(1, 1, 2)
        figures.arrow_left(axes[0, 0], 0.5, "50.8")
        figures.arrow_down(axes[0, 0], 0.5, "60.0")
        drawn = figures.finished(figure, "A finding " + "long " * 20, "one point")
    assert len(figure.get_suptitle().splitlines()) > 1
    assert drawn.alt.endswith(". one point") and drawn.alt.startswith("A finding")
    assert axes[0, 0].get_facecolor() == (1, 1, 1, 1)  # not the red of a user's settings
    assert not plt.fignum_exists(figure.number)
    assert drawn.png()

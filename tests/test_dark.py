import matplotlib.pyplot as plt
import pytest
from matplotlib.colors import to_hex, to_rgb

from mlops_lib import dark


@pytest.fixture
def drawn():
    """Return a drawn figure and its axes: a grey and a blue line, a blue bar, an image."""
    figure, (left, right) = plt.subplots(1, 2)
    left.plot([0, 1], color=".15")
    left.plot([1, 0], color="#0173b2")
    left.bar([0.5], [0.5], color="#0173b2")
    right.imshow([[0, 1], [1, 0]])
    figure.canvas.draw()
    yield figure, left, right
    plt.close(figure)


def luminance(colour):
    return sum(to_rgb(colour)) / 3


def test_greys_are_turned_over_and_hues_stay(drawn):
    figure, left, _ = drawn
    grey, blue = left.lines
    with dark.colours(figure):
        assert luminance(grey.get_color()) > 0.6
        assert to_hex(blue.get_color()) == to_hex(left.patches[0].get_facecolor()) == "#0173b2"
        assert to_hex(figure.get_facecolor()) == to_hex(left.get_facecolor()) == "#121212"
        assert luminance(left.get_xticklabels()[0].get_color()) > 0.6
    assert (grey.get_color(), to_hex(figure.get_facecolor())) == (".15", "#ffffff")


def test_text_on_an_area_keeps_its_colour(drawn):
    figure, left, right = drawn
    beside = left.text(0.02, 0.9, "beside", ha="left", transform=left.transAxes)
    blue = left.text(0.02, 0.8, "blue", color="#0173b2", transform=left.transAxes)
    texts = [left.text(0.5, 0.25, "on a bar", ha="center"), right.text(0, 0, "in a cell")]
    texts.append(left.text(0, 0.9, "in a box", bbox={"facecolor": "#ece133"}))
    with dark.colours(figure):
        assert {text.get_color() for text in texts} == {"black"}
        assert luminance(beside.get_color()) > 0.6
        assert luminance(blue.get_color()) > luminance("#0173b2")


def test_what_a_colour_map_colours_stays(drawn):
    figure, _, right = drawn
    points = right.scatter([0, 1], [0, 1], c=[0.0, 1.0], cmap="gray")
    black = right.scatter([0, 1], [1, 0], color=["black", "#0173b2"])
    figure.canvas.draw()
    before = points.get_facecolor().tolist()
    with dark.colours(figure):
        assert points.get_facecolor().tolist() == before
        first, second = black.get_facecolor()
        assert luminance(first) > 0.6 and to_hex(second) == "#0173b2"

import numpy as np
import pytest
from bad_inputs import assert_is_clear, at_once

from mlops_lib.messages import nearest, shorten
from mlops_lib.params import TEMPLATES, ParameterError


def test_the_nearest_name_is_found_whatever_its_case():
    assert nearest("kernell", ["C", "kernel"]) == "; did you mean 'kernel'?"
    assert nearest("c", ["C", "kernel"]) == "; did you mean 'C'?"
    assert nearest("zzz", ["C", "kernel"]) == nearest(5, ["5"]) == ""


def test_what_a_message_shows_is_short():
    deep = []
    for _ in range(10**5):
        deep = [deep]
    for value in (
        deep,
        [10**5000],
        "x" * 10**6,
        np.zeros((99, 99)),
        {n: "x" * 99 for n in range(9)},
    ):
        with at_once():
            assert len(shorten(value)) <= 120
    with pytest.raises(ParameterError, match="and 47 more like it") as caught:
        TEMPLATES["q1b"](C=[-n for n in range(50)])
    assert_is_clear(caught.value, "C=")

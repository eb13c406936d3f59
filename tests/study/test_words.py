import jinja2
import pytest

from mlops_lib.study import words


def test_templates_are_filled_with_what_was_computed():
    facts = {"n": 3, "names": ["mnist", "digits"], "points": -0.711, "ends": (7.59, 8.36)}
    text = words.fill(
        "{{ n }}: {{ names | map('called') | list | listed }}, {{ points | signed }}, "
        "{{ ends | times }}",
        facts,
    )
    assert text == "3: MNIST and digits, −0.71, 7.6 to 8.4"
    assert words.times((138.14, 138.2)) == "138" and words.listed(["a", "b", "c"]) == "a, b and c"


def test_without_facts_there_is_no_text():
    assert words.fill("{{ n }}", {}) == ""
    assert words.say("{{ n }}", {}).data == "Not run yet."


def test_a_name_that_was_not_computed_is_an_error():
    with pytest.raises(jinja2.UndefinedError):
        words.fill("{{ m }}", {"n": 1})

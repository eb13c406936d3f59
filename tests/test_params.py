import re

import numpy as np
import pytest
from bad_inputs import CODE, EXAMPLES, assert_is_clear, plain
from hypothesis import given, settings
from hypothesis import strategies as st
from papermill.translators import PythonTranslator

from mlops_lib.params import TEMPLATES, ParameterError, Q1a, Q1b, non_default_settings
from mlops_lib.runner import suite


def test_defaults_are_valid():
    for cls in TEMPLATES.values():
        assert cls() == cls(**cls().model_dump())


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("optimizer", "adm", "did you mean 'adam'"),
        ("dataset", "mnits", "did you mean 'mnist'"),
        ("model", "resnet19", "did you mean 'resnet18'"),
        ("dataset", "MNIST", "did you mean 'mnist'"),
        ("in_channels", True, "number"),
        ("lr", "abc", "valid number"),
        ("lr", 0, "greater than 0"),
        ("lr", float("inf"), "finite"),
        ("lr", True, "number"),
        ("batch_size", 0, "greater than or equal to 2 (integer from 2 to 100_000)"),
        ("batch_size", 2.5, "integer"),
        ("epochs", -1, "greater than or equal to 1"),
        ("momentum", 1.0, "less than 1"),
        ("input_size", 27, "greater than or equal to 28"),
        ("in_channels", 2, "1 or 3"),
        ("train_size", 1, "greater than or equal to 100 (integer from 100 to 1_000_000 or none)"),
        ("seed", -1, "greater than or equal to 0"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(name, value, says):
    with pytest.raises(ParameterError) as caught:
        Q1a(**{name: value})
    message = str(caught.value)
    assert message.startswith(f"{name}={value!r} is not allowed: ")
    assert says in message
    assert "\n" not in message


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(ParameterError, match=r"no parameter 'optimiser'.*did you mean 'optimizer'"):
        Q1a(optimiser="adam")


@pytest.mark.parametrize(
    ("cls", "name", "texts", "value"),
    [
        (Q1a, "lr", ["1e-3", ".001", "+1E-3"], 1e-3),
        (Q1a, "batch_size", ["16", "16.0", "1.6e1", "0x10", "0b10000", "1_6", 16.0], 16),
        (Q1a, "train_size", ["1e4", "10_000", "10000.0", 1e4], 10_000),
        (Q1a, "train_size", ["none", "None", "null", "NULL"], None),
        (Q1a, "in_channels", ["3", "3.0", 3.0], 3),
        (Q1a, "seed", ["0", "0e5", 0.0], 0),
        (Q1a, "amp", ["on", "On", "yes", "true", True], "on"),
        (Q1a, "amp", ["off", "NO", False], "off"),
        (Q1a, "pin_memory", ["True", "true", "yes", "on"], True),
        (Q1b, "C", [5, "5", "[5]", "['5']"], (5.0,)),
        (Q1b, "C", ["1,10", "1, 10", "[1, 10]", "[1.0, 10.0]", [1, "1e1"]], (1.0, 10.0)),
        (Q1b, "gamma", ["scale,0.01", '["scale", 0.01]', ["scale", "0.01"]], ("scale", 0.01)),
    ],
)
def test_text_is_read_as_it_is_meant(cls, name, texts, value):
    for text in texts:
        found = getattr(cls(**{name: text}), name)
        assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("cls", "name", "text"),
    [
        (Q1a, "batch_size", "016"),
        (Q1a, "seed", "08"),
        (Q1a, "seed", "00"),
        (Q1a, "lr", "00.10"),
        (Q1a, "momentum", "-01"),
        (Q1a, "train_size", "0_1000"),
        (Q1a, "in_channels", "03"),
        (Q1b, "C", "016,1"),
        (Q1b, "degree", ["2", "03"]),
        (Q1b, "gamma", "01e-3"),
    ],
)
def test_a_leading_zero_is_refused_with_its_cure(cls, name, text):
    with pytest.raises(ParameterError, match=f"{name}='0?.*leave the zero out"):
        cls(**{name: text})


# After `allowed: `; what only `above` or `below` precedes is a bound that is not allowed itself.
OFFERED = re.compile(
    r"'(\w+)'|\b(none|True|False)\b|(?:to |from |be |or |such as |\()(\d[\w.,]*\b)"
)


@pytest.mark.parametrize(
    ("cls", "name"), [(cls, name) for cls in (Q1a, Q1b) for name in cls.model_fields]
)
@pytest.mark.parametrize("wrong", ["x", "maybe", "-1", "016", "1e12", "mist", "cudda", True])
def test_what_a_message_offers_is_taken_as_it_is_written(cls, name, wrong):
    try:
        cls(**{name: wrong})
    except ParameterError as error:
        message = re.sub(r"\w+=\S+ is not allowed: ", "", str(error))
        offered = [text for match in OFFERED.findall(message) for text in match if text]
        assert offered or name == "lr"
        for text in offered:
            cls(**{name: text})


@pytest.mark.parametrize(
    ("name", "value"),
    [("C", []), ("C", [1, -1]), ("C", [1, 1.0]), ("gamma", "scal"), ("degree", 0)],
)
def test_wrong_lists_are_refused(name, value):
    with pytest.raises(ParameterError, match=name):
        Q1b(**{name: value})


def test_parameters_cannot_be_changed_afterwards():
    with pytest.raises(ValueError, match="frozen"):
        Q1a().lr = 1.0


def test_jupyter_shows_the_sentence_alone():
    assert ParameterError("lr=0 is wrong")._render_traceback_() == ["ParameterError: lr=0 is wrong"]


# Generated bad values

VALID = [
    "mnist", "digits", "resnet50", "sgd", "poly", "1e-3", "16", "1, 10", "scale, 0.1", "on", "cuda",
    "dataloader", "intelex", 0, 1, 3, 28, 224, 100, 0.5, 1e-300, 1e300, True, [1, 10],
    ("auto", 2.0),
]  # fmt: skip
ODD_VALUES = [
    10**30, 10**400, -(10**5000), float("nan"), float("inf"), b"16", b"\xff", "9" * 5000, "\ud800",
    "x" * 10**6, "1," * 10**5, [1, "1"], [[1]], {"a": 1}, {1}, set, np.float64(2), np.arange(3),
    "nan", "inf", "1_0", " 1 ", "١", *CODE,
]  # fmt: skip
values = (
    st.sampled_from(VALID)
    | st.sampled_from(ODD_VALUES)
    | st.recursive(
        plain | st.binary(),
        lambda some: st.lists(some) | st.dictionaries(st.text(), some),
        max_leaves=5,
    )
)
PLACES = [(cls, name) for cls in TEMPLATES.values() for name in cls.model_fields]


@settings(EXAMPLES, max_examples=400)
@given(place=st.sampled_from(PLACES), value=values)
def test_parameters(tmp_path, place, value):
    cls, name = place
    try:
        parameters = cls(**{name: value})
    except ParameterError as error:
        assert_is_clear(error, f"{name}=", "is not allowed: ")
        return
    content = parameters.model_dump(mode="json")
    namespace = {}
    exec(PythonTranslator.codify(content), namespace)
    del namespace["__builtins__"]
    assert namespace == content
    assert cls.from_notebook(namespace) == parameters == cls(**content)
    slug = suite.Run(cls.__name__.lower(), parameters).slug
    assert len(slug) < 200 and ".." not in slug
    assert set(slug) <= set("abcdefghijklmnopqrstuvwxyz0123456789.-")


@settings(EXAMPLES, max_examples=50)
@given(name=st.text() | st.sampled_from(["self", "cls", "values", "x" * 10**5, *CODE]))
def test_unknown_parameters(name):
    with pytest.raises(ParameterError) as caught:
        TEMPLATES["q1a"](**{name: name})
    assert_is_clear(caught.value, "q1a has no parameter")


@pytest.mark.parametrize("cls", [Q1a, Q1b])
def test_a_parameter_that_was_added_counts_where_it_has_another_value(cls):
    first = cls().model_dump(mode="json", exclude=cls.added)
    assert cls.added < cls.model_fields.keys()
    assert cls().identity() == cls(split="pooled").identity() == first
    assert cls(split="published").identity() == first | {"split": "published"}


def test_a_parameter_that_a_run_does_not_state_had_its_default():
    assert non_default_settings("q1a", {"lr": 0.1, "split_seed": float("nan")}) == {"lr": 0.1}

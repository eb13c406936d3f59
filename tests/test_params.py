import pytest

from mlops_lib.params import TEMPLATES, ParameterError, Q1a, Q1b


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
        ("batch_size", 0, "greater than or equal to 2 (integer from 2 to 100,000)"),
        ("batch_size", 2.5, "integer"),
        ("epochs", -1, "greater than or equal to 1"),
        ("momentum", 1.0, "less than 1"),
        ("input_size", 27, "greater than or equal to 28"),
        ("in_channels", 2, "1 or 3"),
        ("train_size", 1, "greater than or equal to 100 (integer from 100 to 1,000,000 or none)"),
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


def test_numbers_that_yaml_reads_as_text_are_taken():
    assert Q1a(lr="1e-3").lr == 1e-3
    assert Q1a(batch_size="16").batch_size == 16
    assert Q1a(in_channels="3").in_channels == 3


def test_lists_to_search_take_one_value_or_text_with_commas():
    assert Q1b(C=5).C == (5.0,)
    assert Q1b(C="1, 10").C == (1.0, 10.0)
    assert Q1b(gamma=["scale", "0.01"]).gamma == ("scale", 0.01)


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


def test_a_fresh_notebook_with_an_unknown_variable_is_refused():
    fresh = {"lr": 1e-3, "epoch": 3, "In": ["", "lr = 1e-3", "..."], "_private": 1, "print": print}
    with pytest.raises(ParameterError, match=r"no parameter 'epoch'.*did you mean 'epochs'"):
        Q1a.from_notebook(fresh)


def test_what_a_start_up_file_of_the_user_sets_is_no_parameter():
    folder, shell = "/data", type("Shell", (), {"user_ns_hidden": {"FOLDER": "/data", "epoch": 2}})
    fresh = {"lr": 1e-4, "FOLDER": folder, "In": ["", "lr = 1e-4", "..."], "get_ipython": shell}
    assert Q1a.from_notebook(fresh) == Q1a(lr=1e-4)
    with pytest.raises(ParameterError, match=r"no parameter 'epoch'"):
        Q1a.from_notebook(fresh | {"epoch": 300})  # set again


def test_a_list_by_an_unknown_name_is_refused():
    fresh = {"Cs": [1, 100], "In": ["", "Cs = [1, 100]", "..."], "Out": {}}
    with pytest.raises(ParameterError, match="no parameter 'Cs'"):
        Q1b.from_notebook(fresh)


def test_a_notebook_in_use_may_hold_other_variables():
    used = {"lr": 1e-4, "accuracy": 0.9, "In": [""] * 20}
    assert Q1a.from_notebook(used) == Q1a(lr=1e-4)


def test_jupyter_shows_the_sentence_alone():
    assert ParameterError("lr=0 is wrong")._render_traceback_() == ["ParameterError: lr=0 is wrong"]

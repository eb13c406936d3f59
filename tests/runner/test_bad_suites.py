"""Suites with generated mistakes."""

import contextlib
import os

import pytest
import yaml
from bad_inputs import CODE, EXAMPLES, SCRIPT, assert_is_clear, at_once, edited
from hypothesis import given
from hypothesis import strategies as st

from mlops_lib import paths
from mlops_lib.params import TEMPLATES
from mlops_lib.runner import suite

SMOKE = (paths.SUITES / "smoke.yaml").read_text(encoding="utf-8")
ODD_YAML = [
    "&a [*a]", "*a", "<<: *a", "&a", "!!python/object/apply:os.system [ls]", "!!python/name:os",
    "null", "~", "yes", "off", ".nan", "-.inf", "1" + "0" * 400, "9" * 5000, "1e999", "0b", "0x",
    "1_000", "1:60:00", "2026-13-45", "2026-01-01", "!!binary AAAA", "!!binary x", "!!timestamp x",
    "!!bool x", "!!int ''", "!!float x", "!!set {a}", "!!omap [a: 1]", "!!str", "{a: 1, a: 2}",
    "[]", "{}", "[[[1]]]", "[" * 900, "- " * 300, "? " * 300, "{" * 300, "\t", "\0", "\x85",
    "\u2028", "|", ">", "%", "@", "`", "'", '"', "#", "---", "...", ": ", ", ", "[1, 1]", SCRIPT,
    *CODE,
]  # fmt: skip


@st.composite
def suites(draw):
    """Draw a smoke suite with characters, a line or a value that it should not have."""
    lines = SMOKE.splitlines(keepends=True)
    number = draw(st.integers(0, len(lines) - 1))
    how = draw(st.sampled_from(["characters", "no line", "line twice", "value"]))
    odd = st.sampled_from(ODD_YAML) | st.text(max_size=8)
    if how == "characters":
        return draw(edited(SMOKE, odd))
    if how == "no line":
        lines[number] = ""
    elif how == "line twice":
        lines[number] *= 2
    else:
        words = lines[number].replace(",", " , ").replace("}", " } ").replace("]", " ] ").split(" ")
        full = [place for place, word in enumerate(words) if word.strip()]
        words[draw(st.sampled_from(full))] = draw(odd)
        lines[number] = " ".join(words).rstrip("\n") + "\n"
    return "".join(lines)


def is_asked_for(run, grid):
    """Return whether a grid, as it stands in a file, has this run."""
    if run.template != grid["template"]:
        return False
    wanted = {name: [value] for name, value in grid.get("fixed", {}).items()} | grid.get("grid", {})
    cls, parameters = TEMPLATES[run.template], run.parameters
    return parameters.model_fields_set == set(wanted) and all(
        getattr(parameters, name) in [getattr(cls(**{name: value}), name) for value in values]
        for name, values in wanted.items()
    )


@EXAMPLES
@given(text=suites())
def test_suites(tmp_path, text):
    path = tmp_path / "s.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        with at_once():
            runs = suite.read(str(path))
    except suite.SuiteError as error:
        assert_is_clear(error, "s.yaml")
    else:
        grids = yaml.safe_load(text)["grids"]
        assert all(any(is_asked_for(run, grid) for grid in grids) for run in runs)
        assert len({(run.template, run.slug) for run in runs}) == len(runs)


def grids(text):
    return f"description: x\ngrids:\n- {{template: q1a, {text}}}"


BOMB = "".join(f"a{n}: &a{n} [{f'*a{n - 1}, ' * 9 if n else '1'}]\n" for n in range(30))
MERGES = "".join(
    f"a{n}: &a{n} {{<<: [{f'*a{n - 1}, ' * 9 if n else '{b: 1}'}]}}\n" for n in range(30)
)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (BOMB, "aliases stand for too much"),
        (MERGES, "aliases stand for too much"),
        ("a: &a [*a]", "an alias holds itself"),
        ("a: &a {b: {c: *a}}", "an alias holds itself"),
        ("[" * 50_000, "nested too deeply"),
        ("? " * 20_000, "nested too deeply"),
        ("x" * 200_000, "too large"),
        (grids(f"grid: {{lr: {[1] * 1000}, momentum: {[0] * 1000}, seed: {[0] * 1000}}}"),
         "the grids make 1000000000 runs; a suite should have at most 100,000"),
        (grids(f"grid: {{{', '.join(f'a{n}: {[1] * 9}' for n in range(2000))}}}"),
         "runs; a suite should have at most 100,000"),
        (grids("grid: {lr: []}"), r"grids.0.grid.lr=[] is not allowed"),
        (grids("exclude: [{}]"), r"grids.0.exclude.0={} is not allowed"),
        (grids("exclude: [{model: resnet19}]"), "model='resnet19' is not allowed"),
        (grids("fixed: {lr: 1, lr: 2}"), "the key 'lr' is there twice"),
        (grids("fixed: {lr: 1}, grid: {lr: [2]}"), "lr is both fixed and in the grid"),
        (grids("fixed: {1: 2}"), "q1a has no parameter '1'"),
        (grids("fixed: {lr: 1, 'lr': 2}"), "the key 'lr' is there twice"),
        (grids("fixed: {lr: !!timestamp x}"), "lr='x' is not allowed"),
        (grids("fixed: {lr: !!binary x}"), "not valid YAML: failed to decode base64"),
        (grids("fixed: {lr: !!python/object/apply:os.system [ls]}"), "not determine a constructor"),
    ],
)  # fmt: skip
def test_suites_made_to_hurt(tmp_path, text, says):
    path = tmp_path / "s.yaml"
    path.write_text(text)
    with at_once(), pytest.raises(suite.SuiteError) as caught:
        suite.read(str(path))
    assert_is_clear(caught.value, "s.yaml", says)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (
            "batch_size: [016, 032, 064]",
            "batch_size='016' is not allowed: input has a leading",
        ),
        ("seed: [08, 09, 010, 011]", "seed='08' is not allowed: input has a leading"),
        ("seed: [!!int 010]", "seed='010' is not allowed: input has a leading"),
        ("lr: [1:30]", "lr='1:30' is not allowed"),
        ("seed: [1:30:00]", "seed='1:30:00' is not allowed"),
        ("seed: [2026-01-01]", "seed='2026-01-01' is not allowed"),
        ("seed: [on]", "seed='on' is not allowed"),
        ("lr: [.inf]", "lr='.inf' is not allowed"),
        ("model: [no]", "model='no' is not allowed"),
    ],
)
def test_what_yaml_takes_for_another_value_is_refused_as_written(tmp_path, values, says):
    path = tmp_path / "s.yaml"
    path.write_text(grids(f"grid: {{{values}}}"))
    with pytest.raises(suite.SuiteError) as caught:
        suite.read(str(path))
    assert_is_clear(caught.value, "s.yaml", says)


@pytest.mark.parametrize(
    ("values", "taken"),
    [
        ("train_size: [1e4, 10_000, 10000.0, 20000]", [10_000, 20_000]),
        ("train_size: [null, ~, None, none]", [None]),
        ("lr: [0.001, 1e-3, .001]", [0.001]),
        ("batch_size: [0x10, 0b100000, 6.4e1]", [16, 32, 64]),
        ("pin_memory: [yes, off]", [True, False]),
        ("amp: [on, off, true, auto]", ["on", "off", "auto"]),
        ("seed: [0, '1', 2.0]", [0, 1, 2]),
    ],
)
def test_values_are_what_they_say_and_equal_ones_are_one_run(tmp_path, values, taken):
    path = tmp_path / "s.yaml"
    path.write_text(grids(f"grid: {{{values}}}"))
    name = values.partition(":")[0]
    assert [getattr(run.parameters, name) for run in suite.read(str(path))] == taken


def test_values_to_exclude_are_compared_as_numbers(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text(
        grids("grid: {lr: [0.001, 0.1], amp: [on, off]}, exclude: [{lr: 1e-3, amp: on}]")
    )
    assert [(r.parameters.lr, r.parameters.amp) for r in suite.read(str(path))] == [
        (0.001, "off"), (0.1, "on"), (0.1, "off"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "name", ["...yaml", "..yaml", ".x.yaml", "<b>.yaml", "d.yaml", "f.yaml", "x" * 5000, "a\0b", ""]
)
def test_names_of_suites(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "d.yaml").mkdir()
    os.mkfifo(tmp_path / "f.yaml")
    if "\0" not in name and len(name) < 100:
        with contextlib.suppress(OSError):
            (tmp_path / name).write_text(SMOKE) if name[:2] not in ("d.", "f.") else None
    with pytest.raises(suite.SuiteError) as caught:
        suite.read(name)
    assert_is_clear(caught.value, name if 0 < len(name) < 99 and "\0" not in name else "suite=")

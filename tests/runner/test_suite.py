import re

import pytest

from mlops_lib import machine
from mlops_lib.params import Q1a
from mlops_lib.runner import suite


@pytest.fixture
def write(tmp_path):
    def make(text):
        path = tmp_path / "s.yaml"
        path.write_text(text)
        return str(path)

    return make


def test_a_grid_becomes_every_combination(write):
    name = write(
        "description: x\ngrids:\n- template: q1a\n  fixed: {epochs: 2}\n"
        "  grid: {optimizer: [sgd, adam], lr: [1e-3, 1e-4]}\n"
        "  exclude: [{optimizer: sgd, lr: 1e-4}]\n"
    )
    runs = suite.read(name)
    assert [(r.parameters.optimizer, r.parameters.lr, r.parameters.epochs) for r in runs] == [
        ("sgd", 1e-3, 2), ("adam", 1e-3, 2), ("adam", 1e-4, 2),
    ]  # fmt: skip


def test_a_run_that_two_grids_name_is_one_run(write):
    grid = "- {template: q1a, fixed: {lr: 0.001}}\n"
    assert len(suite.read(write("description: x\ngrids:\n" + grid + grid))) == 1


def test_a_grid_that_requires_cuda_is_left_out_without_one(write, monkeypatch):
    name = write(
        "description: x\ngrids:\n- {template: q2, fixed: {device: cuda}, requires: cuda}\n"
    )
    monkeypatch.setattr(machine, "cuda_is_present", lambda: False)
    assert suite.read(name) == []
    (run,) = suite.read(name, anywhere=True)
    assert not run.possible
    monkeypatch.setattr(machine, "cuda_is_present", lambda: True)
    assert len(suite.read(name)) == 1


def test_a_run_that_one_grid_allows_here_is_possible(write, monkeypatch):
    monkeypatch.setattr(machine, "cuda_is_present", lambda: False)
    grids = "- {template: q2, requires: cuda}\n- {template: q2}\n"
    (run,) = suite.read(write("description: x\ngrids:\n" + grids))
    assert run.possible


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [", r"s\.yaml, line 1 is not valid YAML"),
        ("grids:\n- {template: q1a}", r"s\.yaml: description is missing"),
        ("descripton: x", r"s\.yaml: description is missing"),
        (
            "description: x\ngrids:\n- {template: q1a, fixd: {lr: 1}}",
            r"s\.yaml: grid 1: fixd={'lr': '1'} is not allowed: .*; did you mean 'fixed'",
        ),
        ("- 1", r"s\.yaml: the file="),
        ("description: x", r"s\.yaml: grids is missing"),
        ("description: x\ngrids: []", r"s\.yaml: grids=\[\] is not allowed"),
        (
            "description: x\ngrids: [{template: q9}]",
            r"grids\.0\.template='q9' is not allowed: .*'q1a'",
        ),
        ("description: x\ngrids: [{template: q1a, gird: {}}]", r"grid 1: gird={} .*mean 'grid'"),
        (
            "description: x\ngrids: [{template: q1a, grid: {optimiser: [sgd]}}]",
            r"s\.yaml, grid 1 \(q1a\): q1a has no parameter 'optimiser'.*did you mean 'optimizer'",
        ),
        (
            "description: x\ngrids: [{template: q1a, fixed: {lr: abc}}]",
            r"s\.yaml, grid 1 \(q1a\): lr='abc' is not allowed",
        ),
        ("description: x\ngrids: [{template: q1a, exclude: [{lrr: 1}]}]", "no parameter 'lrr'"),
    ],
)
def test_an_error_names_file_grid_key_and_value(write, text, says):
    with pytest.raises(suite.SuiteError, match=says) as caught:
        suite.read(write(text))
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_text_are_refused(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_bytes(b"\xff\xfe\x00description")
    with pytest.raises(suite.SuiteError, match=r"s\.yaml"):
        suite.read(str(path))


def test_an_unknown_suite_is_refused_with_the_nearest():
    with pytest.raises(suite.SuiteError, match=r"suite='quik' is not there.*did you mean 'quick'"):
        suite.read("quik")


def test_what_the_message_offers_is_there():
    with pytest.raises(suite.SuiteError) as caught:
        suite.read("quik")
    offered = re.search(r"use one of (.*), or", str(caught.value))[1].split(", ")
    assert offered == suite.names()
    for name in offered:
        assert suite.read(name, anywhere=True)


COMPOSED, DECOMPOSED = "\u00fcn\u00f6", "u\u0308no\u0308"  # ünö


@pytest.mark.parametrize(
    ("file", "name", "title"),
    [
        ("mine.YAML", "mine.YAML", "mine"),
        ("mine.Yml", "mine", "mine"),
        ("params/mine.yaml", "params/mine", "mine"),
        ("params/mine.yml", "mine", "mine"),
        ("params/mine.YAML", "./params/mine", "mine"),
        (f"params/{DECOMPOSED}.yaml", COMPOSED, COMPOSED),
        (f"params/{COMPOSED}.yaml", DECOMPOSED, COMPOSED),
        (f"{DECOMPOSED}.yaml", f"{DECOMPOSED}.yaml", COMPOSED),
        (f"{DECOMPOSED}.yaml", f"{COMPOSED}.yaml", COMPOSED),
    ],
)
def test_a_suite_is_found_by_name_or_path(tmp_path, monkeypatch, file, name, title):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params").mkdir()
    (tmp_path / file).write_text("description: x\ngrids: [{template: q1a}]")
    assert len(suite.read(name, folder=tmp_path / "params")) == 1
    assert suite.title(name) == title
    if "params" in file:
        assert suite.names(tmp_path / "params") == [title]


def test_every_committed_suite_is_valid():
    assert {"quick", "smoke"} <= set(suite.names())
    for name in suite.names():
        assert suite.read(name, anywhere=True), name


def test_slugs_are_unique_safe_and_steady():
    one = suite.Run("q1a", Q1a(lr=1e-3))
    assert one.slug == suite.Run("q1a", Q1a(lr="0.001")).slug
    assert one.slug.startswith("mnist-resnet18-adam-0.001-128-auto-")
    small = suite.Run("q1a", Q1a(lr=1e-5))
    assert small.slug.startswith("mnist-resnet18-adam-1e-05-128-auto-")
    assert one.slug != suite.Run("q1a", Q1a(seed=1)).slug
    assert set(one.slug) <= set("abcdefghijklmnopqrstuvwxyz0123456789.-")

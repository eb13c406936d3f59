"""Records and notebooks with generated mistakes, from reading them to the pages that show them."""

import contextlib
import dataclasses
import json

import pytest
from bad_inputs import EXAMPLES, SCRIPT, assert_is_clear, at_once, edited
from bad_records import deep, found, records
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_lib import record, tables
from mlops_lib.params import TEMPLATES
from mlops_lib.publish import html_tables
from mlops_lib.study import (
    all_runs,
    cpu_or_gpu,
    depth,
    full_tables,
    hard_images,
    noise,
    recovery,
    repetitions,
    rounding,
    rules,
    sources,
    svm_or_resnet,
)
from mlops_lib.study import (
    settings as settings_page,
)


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
    sources.ours(runs)
    pages += [html_tables.page(table).data for table in story(runs)]
    recovery.svm_figures(runs)
    svm_or_resnet.growth(runs)
    hard_images.every(runs)
    assert "<script" not in "".join(pages)
    assert 'href="runs/suite/q1/run.html"' in pages[1]


def story(runs):
    """Return the tables of the pages of results, as they are before they are HTML."""
    spread = noise.pooled(runs)
    again = repetitions.trainings(runs)
    return [
        full_tables.q1a(runs, spread),
        full_tables.q1b(runs),
        full_tables.q2(runs),
        rules.noise_table(spread),
        settings_page.side_by_side(settings_page.ranked(settings_page.repeated(runs), spread)),
        depth.by_table(depth.both_networks(runs)),
        svm_or_resnet.table(svm_or_resnet.best(runs)),
        cpu_or_gpu.table(cpu_or_gpu.speed_ups(runs)),
        repetitions.table(repetitions.differences(again, spread)),
        rounding.repeats(runs),
        rounding.far_apart(rounding.first_epochs(runs)),
        rounding.devices_table(rounding.devices(runs, spread)),
    ]


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

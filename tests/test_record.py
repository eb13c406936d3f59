import json
import os

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

from mlops_lib import record
from mlops_lib.params import ParameterError, Q1a

RESULTS = {"test_accuracy": 0.5, "confusion_matrix": [[1, 1], [0, 0]], "train_images": 400,
           "train_seconds": 2.0, "images_per_second": 200.0, "flops": 33_000_000}  # fmt: skip


@pytest.fixture
def finished():
    return record.begin("q1a", {"In": [""], "dataset": "digits"}).finish(
        RESULTS, amp_dtype="float32"
    )


def test_a_run_is_described(finished):
    assert finished.template == "q1a"
    assert finished.parameters == Q1a(dataset="digits").model_dump(mode="json")
    assert finished.results == RESULTS
    assert finished.key == record.key(Q1a(dataset="digits"), "q1a")
    assert finished.started_at.endswith("Z")
    assert set(finished.environment) == {
        "device", "device_name", "cpu", "cores", "threads", "amp_dtype", "allocator", "fast",
        "python", "torch", "torchvision", "scikit-learn", "commit", "instructions",
        "packages_sha256", "library_sha256",
    }  # fmt: skip


def test_a_gpu_that_others_use_is_named_so(monkeypatch):
    assert "device_shared" not in record.environment("cuda", "a GPU")
    monkeypatch.setenv(record.GPU_SHARED, "1")
    assert record.environment("cuda", "a GPU")["device_shared"] is True
    assert "device_shared" not in record.environment("cpu")


def test_a_long_search_is_shown_by_its_first_candidates(finished):
    rows = [{"val_accuracy": 0.5, "fit_seconds": number} for number in range(60)]
    long = finished.model_copy(update={"results": RESULTS | {"search": rows}})
    shown = long._repr_mimebundle_()
    assert shown[record.MIME]["results"]["search"] == rows
    assert shown["text/html"].count("fit_seconds") == 3
    assert "… (60 in all)" in shown["text/html"]


def test_wrong_parameters_stop_a_run_at_its_beginning():
    with pytest.raises(ParameterError, match="optimizer='adm'"):
        record.begin("q1a", {"optimizer": "adm"})


def test_a_record_survives_writing_and_reading(finished, tmp_path):
    path = tmp_path / "a" / "b.json"
    record.write(finished, path)
    assert record.read(path) == finished
    assert [p.name for p in path.parent.iterdir()] == ["b.json"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_record(finished, tmp_path, monkeypatch, call):
    def refuse(*_):
        raise OSError("disk full")

    path = tmp_path / "b.json"
    record.write(finished, path)
    monkeypatch.setattr(os, call, refuse)
    with pytest.raises(OSError, match="disk full"):
        record.write(finished.model_copy(update={"results": {}}), path)
    assert record.read(path) == finished
    assert [p.name for p in path.parent.iterdir()] == ["b.json"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "can't be read"),
        ("{", "can't be read"),
        ("[]", "holds no record"),
        ("{}", "holds no record"),
        ('{"schema_version": 2}', "holds no record"),
    ],
)
def test_what_is_not_a_record_is_refused(tmp_path, content, says):
    path = tmp_path / "x.json"
    path.write_text(content)
    with pytest.raises(record.RecordError, match=says):
        record.read(path)
    with pytest.raises(record.RecordError, match="can't be read"):
        record.read(tmp_path / "absent.json")


def test_markup_that_the_pages_of_the_book_would_run_is_refused(finished, tmp_path):
    path = tmp_path / "x.json"
    for text in ("<script>", "{{ x }}", "[x](y)", "`x`"):
        strange = finished.environment | {"device_name": text}
        record.write(finished.model_copy(update={"environment": strange}), path)
        with pytest.raises(record.RecordError, match=r"environment\.device_name"):
            record.read(path)


def test_a_record_need_not_say_which_images_were_right(finished, tmp_path):
    path = tmp_path / "x.json"
    made = finished.model_copy(update={"results": RESULTS | {"correct": None}})
    record.write(made, path)
    assert record.read(path) == made


def notebook(tmp_path, monkeypatch, sources):
    """Make a project's template of these (type, source) cells."""
    cells = [{"cell_type": kind, "source": source, "metadata": {}} for kind, source in sources]
    path = tmp_path / "q1a.ipynb"
    path.write_text(json.dumps({"cells": cells}))
    monkeypatch.setattr(record, "template_path", lambda template: path)


def test_the_key_is_of_parameters_and_code_alone(tmp_path, monkeypatch):
    def key(text="words", code="x = 1", **parameters):
        notebook(tmp_path, monkeypatch, [("markdown", text), ("code", code)])
        return record.key(Q1a(**parameters), "q1a")

    assert key() == key(text="other words") == key(lr="3e-4")
    assert len({key(), key(code="x = 2"), key(lr=0.01), key(seed=1)}) == 4


def test_a_notebook_shows_its_record(finished, tmp_path):
    shown = {"output_type": "execute_result", "data": finished._repr_mimebundle_()}
    code = {"cell_type": "code", "source": "run", "metadata": {}, "outputs": [{}, shown]}
    cells = [{"cell_type": "markdown"}, code]
    path = tmp_path / "run.ipynb"
    path.write_text(json.dumps({"cells": cells}))
    assert record.read(path).model_copy(update={"key": finished.key}) == finished
    path.write_text(json.dumps({"cells": cells[:1]}))
    with pytest.raises(record.RecordError, match="no cell shows one"):
        record.read(path)


def test_what_a_notebook_shows_is_escaped():
    run = record.begin("q1b", {"dataset": "digits"}).finish({"x": "<script>"})
    assert "<script>" not in run._repr_mimebundle_()["text/html"]


def test_classification_worked_out_by_hand():
    labels, predicted = np.array([0, 1, 1, 2, 9]), np.array([0, 1, 2, 2, 0])
    outcome = record.classification(labels, predicted)
    assert outcome["test_accuracy"] == 0.6
    matrix = np.array(outcome["confusion_matrix"])
    assert matrix[1, 2] == matrix[9, 0] == 1
    assert matrix.sum() == 5
    assert record.unpack_correct(outcome).tolist() == [True, True, False, True, False]


def test_a_kernel_ends_in_order_but_without_taking_everything_apart(tmp_path):
    notebook = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_code_cell(source)
            for source in (
                "import atexit, builtins\n"
                "class Large:\n"
                "    def __del__(self): open('apart', 'w')\n"
                "builtins.large = Large()",
                "from mlops_lib import record\nrecord.begin('q1b', globals())",
                "atexit.register(lambda: open('ended', 'w'))",
            )
        ]
    )
    NotebookClient(notebook, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert [path.name for path in tmp_path.iterdir()] == ["ended"]


def test_an_edited_notebook_has_a_key_of_its_own(executed, tmp_path):
    slot, made = executed["q1b"]
    assert record.read(slot.notebook).key == made.key
    content = json.loads(slot.notebook.read_text())
    last = next(cell for cell in reversed(content["cells"]) if cell["cell_type"] == "code")
    last["source"] = ["results['test_accuracy'] = 1.0\n", *last["source"]]
    edited = tmp_path / "edited.ipynb"
    edited.write_text(json.dumps(content))
    assert record.read(edited).key != made.key

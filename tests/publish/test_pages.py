import shlex
from pathlib import Path

import pytest
from docutils import nodes
from docutils.utils import new_document
from nbformat import v4
from test_tables import make

from mlops_lib import params
from mlops_lib.params import TEMPLATES
from mlops_lib.publish import extension as pages
from mlops_lib.runner import repeat as again

BAD_MARKDOWN = [
    "<script>alert(1)</script>",
    "```{raw} html\n<b>x</b>\n```",
    "> ```{include} /etc/passwd\n> ```",
    ":::{raw} html\n:::",
    "1. ```{include} /etc/passwd\n   ```",
    "text\r```{eval-rst}\n```",
    "{download}`/etc/passwd`",
    "{{ env.app }}",
    "{% set x = 1 %}",
    '<img src="x" onerror="alert(1)">',
]
BAD_HTML = [
    "<script>alert(1)</script>",
    '<img src="x" onerror="alert(1)">',
    '<a href="javascript:alert(1)">x</a>',
    '<td style="background: url(javascript:alert(1))">x</td>',
    "<iframe src='x'></iframe>",
    "<style>x</style ><script>alert(1)</script>",
]


def read(**cell):
    kind = v4.new_markdown_cell if "source" in cell else v4.new_code_cell
    notebook = v4.new_notebook(cells=[kind(**cell)], metadata={"substitutions": {"a": "b"}})
    return pages.harmless(notebook)


COMMANDS = ("<script", "<img", "```{", ":::{", "}`", "{{", "{%")
ACTIVE = ("<script", "<img", "<iframe", "href=", "style=")


@pytest.mark.parametrize("text", BAD_MARKDOWN)
def test_markdown_runs_nothing(text):
    output = v4.new_output("display_data", {"text/markdown": text})
    shown = read(outputs=[output]).cells[0].outputs[0].data["text/markdown"]
    for found in (read(source=text).cells[0].source, shown):
        assert not [mark for mark in COMMANDS if mark in found]


@pytest.mark.parametrize("text", BAD_HTML)
def test_html_runs_nothing(text):
    output = v4.new_output("display_data", {"text/html": text})
    found = read(outputs=[output]).cells[0].outputs[0].data["text/html"]
    assert not [mark for mark in ACTIVE if mark in found]


def test_what_is_no_text_or_picture_is_left_out():
    data = {"application/javascript": "alert(1)", "image/png": "aGk=", "image/svg+xml": "<svg/>"}
    output = v4.new_output("display_data", data, metadata={"image/png": {"alt": "a picture"}})
    kept = read(outputs=[output]).cells[0].outputs[0]
    assert dict(kept.data) == {"image/png": "aGk="}
    assert kept.metadata["image/png"]["alt"] == "a picture"


def test_tables_titles_and_tags_stay():
    table = '<table class="dataframe"><tbody><tr><td>1 &lt; 2</td></tr></tbody></table>'
    output = v4.new_output("execute_result", {"text/html": f"<style scoped>td {{}}</style>{table}"})
    notebook = read(outputs=[output], metadata={"tags": ["hide-input"], "mystnb": {"x": 1}})
    assert notebook.metadata.get("substitutions") is None
    assert notebook.cells[0].metadata == {"tags": ["hide-input"]}
    kept = notebook.cells[0].outputs[0].data["text/html"]
    assert kept == table
    title = "# MNIST, Adam 0.001\n\nIt **ends** with `mlops run quick`.\n\n    papermill a.ipynb"
    assert read(source=title).cells[0].source == title


def test_signatures_of_parameters_are_short():
    assert pages._signature(params.Q1a) == ("(**fields)", None)
    assert pages._signature(pages.harmless) is None


def test_only_run_pages_are_changed():
    source = ["not a notebook"]
    pages._read(None, "intro", source)
    assert source == ["not a notebook"]


def test_a_run_page_begins_with_how_to_repeat_it():
    cells = [
        v4.new_markdown_cell("# digits, SVM\n\nChange the values in the next cell."),
        v4.new_code_cell("C = [1.0]", metadata={"tags": ["parameters"]}),
        v4.new_code_cell("1 + 1"),
    ]
    notebook = v4.new_notebook(cells=cells)
    made = make("q1b", dataset="digits", C=(1.0, 5.0), environment={"device_name": "<script>"})
    pages.summarise(notebook, made, Path("runs/cpu/q1b/a.ipynb"))
    title, box, parameters, code = pages.harmless(notebook).cells
    assert title.source == "# digits, SVM, C 1,5, CPU"
    shown = box.outputs[0].data["text/html"]
    assert "papermill book/q1b.ipynb out.ipynb -p dataset digits -p C 1.0,5.0</code>" in shown
    assert "<td>cpu</td>" in shown
    assert "<script>" not in shown
    assert "remove-cell" in parameters.metadata["tags"]
    assert code.metadata["tags"] == ["hide-input"]


def test_a_notebook_without_cells_stays_as_it_is():
    notebook = v4.new_notebook()
    pages.summarise(notebook, make("q1b"), Path("runs/cpu/q1b/a.ipynb"))
    assert notebook.cells == []


def test_runs_of_one_title_are_told_apart():
    asked = {"template": "q1a", "epochs": 5, "seed": 2, "train_size": 3000}
    apart = pages._apart(make(**asked, environment={"device": "cuda"}))
    assert apart == ("epochs 5, seed 2", "3,000 images", "GPU", "")
    diverged = make(results={"epochs": [{"val_accuracy": 0.1, "seconds": 1.0}], "diverged": True})
    assert pages._apart(diverged)[-1] == "diverged in epoch 1"
    searched = make("q1b", C=[1.0, 5.0], results={"search": [{"fit_seconds": 1.0}] * 2})
    assert pages._apart(searched) == ("2 candidates", "", "CPU", "")


def test_the_command_that_repeats_a_run_gives_its_parameters():
    made = make(dataset="digits", optimizer="sgd", lr=1e-2, environment={"threads": 2})
    words = shlex.split(again.papermill_command(made))
    assert words[:4] == ["OMP_NUM_THREADS=2", "papermill", "book/q1a.ipynb", "out.ipynb"]
    given = dict(zip(words[5::3], words[6::3], strict=True))
    assert TEMPLATES["q1a"](**given).model_dump(mode="json") == made.parameters


def test_tables_are_numbered_as_tables():
    figure = nodes.figure("", nodes.caption("", "About"), classes=["table"], ids=["a"])
    picture = nodes.figure("", classes=[], ids=["b"])
    document = new_document("page")
    document += [figure, picture]
    pages.NumberTables(document).apply()
    assert isinstance(document[0], pages.CaptionedTable)
    assert document.ids["a"] is document[0]
    assert not isinstance(document[1], pages.CaptionedTable)


def test_datatables_comes_with_the_book(tmp_path):
    pages._write_datatables(tmp_path)
    assert "DataTable" in (tmp_path / "datatables.js").read_text()
    assert "dt-container" in (tmp_path / "datatables.css").read_text()

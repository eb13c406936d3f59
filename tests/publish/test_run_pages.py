from pathlib import Path

import pytest
from nbformat import v4
from test_tables import make

from mlops_lib.publish import run_pages

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
COMMANDS = ("<script", "<img", "```{", ":::{", "}`", "{{", "{%")
ACTIVE = ("<script", "<img", "<iframe", "href=", "style=")


def read(**cell):
    kind = v4.new_markdown_cell if "source" in cell else v4.new_code_cell
    notebook = v4.new_notebook(cells=[kind(**cell)], metadata={"substitutions": {"a": "b"}})
    return run_pages.harmless(notebook)


@pytest.mark.parametrize("text", BAD_MARKDOWN)
def test_markdown_runs_nothing(text):
    output = v4.new_output("display_data", {"text/markdown": text})
    kept = read(outputs=[output]).cells[0].outputs[0].data["text/markdown"]
    for found in (read(source=text).cells[0].source, kept):
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


def test_a_run_page_begins_with_how_to_repeat_it():
    cells = [
        v4.new_markdown_cell("# digits, SVM\n\nChange the values in the next cell."),
        v4.new_code_cell("C = [1.0]", metadata={"tags": ["parameters"]}),
        v4.new_code_cell("1 + 1"),
    ]
    notebook = v4.new_notebook(cells=cells)
    made = make("q1b", dataset="digits", C=(1.0, 5.0), environment={"device_name": "<script>"})
    run_pages.summarise(notebook, made, Path("runs/cpu/q1b/a.ipynb"))
    title, box, parameters, code = run_pages.harmless(notebook).cells
    assert title.source == "# digits, SVM, C 1,5, CPU"
    text = box.outputs[0].data["text/html"]
    assert "papermill book/q1b.ipynb out.ipynb -p dataset digits -p C 1.0,5.0</code>" in text
    assert "<td>cpu</td>" in text
    assert "<script>" not in text
    assert "remove-cell" in parameters.metadata["tags"]
    assert code.metadata["tags"] == ["hide-input"]


def test_a_notebook_without_cells_stays_as_it_is():
    notebook = v4.new_notebook()
    run_pages.summarise(notebook, make("q1b"), Path("runs/cpu/q1b/a.ipynb"))
    assert notebook.cells == []


def test_runs_of_one_title_are_told_apart():
    asked = {"template": "q1a", "epochs": 5, "seed": 2, "train_size": 3000}
    apart = run_pages._differences(make(**asked, environment={"device": "cuda"}))
    assert apart == ("epochs 5, seed 2", "3,000 images", "GPU", "")
    diverged = make(results={"epochs": [{"val_accuracy": 0.1, "seconds": 1.0}], "diverged": True})
    assert run_pages._differences(diverged)[-1] == "diverged in epoch 1"
    searched = make("q1b", C=[1.0, 5.0], results={"search": [{"fit_seconds": 1.0}] * 2})
    assert run_pages._differences(searched) == ("2 candidates", "", "CPU", "")

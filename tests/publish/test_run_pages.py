from base64 import b64encode
from pathlib import Path

import pytest
from nbformat import v4
from test_tables import make

from mlops_lib.publish import run_pages

PNG = b64encode(b"\x89PNG\r\n\x1a\n").decode()


def kept(*cells, **metadata):
    notebook = v4.new_notebook(cells=list(cells), metadata=metadata)
    return run_pages.harmless(notebook, "name").cells


def shown(**data):
    """Return the data that is kept of an output."""
    output = v4.new_output("display_data", {key.replace("_", "/", 1): data[key] for key in data})
    (_, cell) = kept(v4.new_code_cell("x", outputs=[output]))
    return dict(cell.outputs[0].data) if cell.outputs else {}


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("a **b** `c`", "<p>a <strong>b</strong> <code>c</code></p>"),
        ("    papermill a.ipynb", "<pre><code>papermill a.ipynb"),
        ("[x](https://example.org)", '<a href="https://example.org">x</a>'),
        ("[x](../a.ipynb)", "<a>x</a>"),
        ("[x](JavaScript:alert)", "[x](JavaScript:alert)"),
        ("![x](/../a.png)", "<p>"),
        ("<script>alert(1)</script>", "alert(1)"),
        ("{{ env.app }}", "<p>{{ env.app }}</p>"),
        ("| a |\n|---|\n| 1 |", "<td>1</td>"),
    ],
)
def test_text_is_html_before_it_is_sanitised(text, html):
    title, cell = kept(v4.new_markdown_cell(text))
    assert title.source == "# name"
    assert cell.metadata == {"tags": ["remove-input"]}
    assert html in cell.outputs[0].data["text/html"]


def test_headings_are_plain_text():
    cells = kept(
        v4.new_markdown_cell("# MNIST, *Adam* 0.001\n\nIt `ends`."),
        v4.new_markdown_cell("#### {{ a }} {b}`c` ![](x) <b>d</b>"),
    )
    sources = [cell.source for cell in cells if cell.cell_type == "markdown"]
    assert sources == ["# MNIST\\, Adam 0\\.001", "## \\{\\{ a \\}\\} \\{b\\}c d"]


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        '<img src="x" onerror="alert(1)">',
        '<a href="javascript:alert(1)">x</a>',
        '<a href="data:text/html,x">x</a>',
        '<td style="background: url(javascript:alert(1))">x</td>',
        "<iframe src='x'></iframe>",
        "<style>x</style ><script>alert(1)</script>",
        "<style>x",
    ],
)
def test_html_runs_nothing(text):
    found = shown(text_html=text)["text/html"]
    active = ("<script", "<img", "<iframe", "href=", "style=", "<style")
    assert not [mark for mark in active if mark in found]


def test_only_text_html_and_pictures_are_kept():
    assert shown(application_javascript="alert(1)", text_markdown="x", text_latex="$x$") == {}
    assert shown(text_plain="1", image_svg="<svg/>") == {"text/plain": "1"}
    assert shown(image_png=PNG) == {"image/png": PNG}
    assert shown(image_png="aGk=", text_html="<b>x</b>") == {"text/html": "<b>x</b>"}
    raw = v4.new_raw_cell("<script>", metadata={"format": "text/html"})
    assert [cell.source for cell in kept(raw)] == ["# name"]


def test_a_picture_keeps_its_description_and_nothing_else():
    described = {"image/png": {"alt": "a picture", "width": 1}, "scrapbook": {"name": "x"}}
    output = v4.new_output("display_data", {"image/png": PNG}, metadata=described)
    (_, cell) = kept(v4.new_code_cell("x", outputs=[output]))
    assert cell.outputs[0].metadata == {"image/png": {"alt": "a picture"}}


def test_tables_and_known_tags_stay():
    table = '<table class="dataframe"><tbody><tr><td>1 &lt; 2</td></tr></tbody></table>'
    output = v4.new_output("execute_result", {"text/html": f"<style scoped>td {{}}</style>{table}"})
    tagged = {"tags": ["hide-input", "mine"], "mystnb": {"x": 1}}
    (_, cell) = kept(
        v4.new_code_cell("x", outputs=[output], metadata=tagged), substitutions={"a": 1}
    )
    assert cell.metadata == {"tags": ["hide-input"]}
    assert cell.outputs[0].data["text/html"] == table


def test_a_run_page_begins_with_its_result_and_how_to_repeat_it():
    cells = [
        v4.new_markdown_cell("# digits, SVM\n\nChange the values in the next cell."),
        v4.new_code_cell("C = [1.0]", metadata={"tags": ["parameters"]}),
        v4.new_code_cell("1 + 1"),
    ]
    notebook = v4.new_notebook(cells=cells)
    made = make("q1b", dataset="digits", C=(1.0, 5.0), environment={"device_name": "<script>"})
    run_pages.summarise(notebook, made, Path("runs/cpu/q1b/a.ipynb"))
    title, box, parameters, code = run_pages.harmless(notebook, "a").cells
    assert title.source == "# digits\\, SVM\\, RBF kernel\\, C 1\\,5\\, CPU"
    text = box.outputs[0].data["text/html"]
    assert text.startswith(
        "<p><strong>Accuracy 98.57 (98.36–98.76) %</strong> · report A: none · report B: none"
        " · 12.5 s to fit</p><p>Not default: <code>dataset=digits</code> <code>C=1,5</code></p>"
    )
    assert "<pre>papermill book/q1b.ipynb out.ipynb -p dataset digits -p C 1.0,5.0</pre>" in text
    assert "<td>cpu</td>" in text
    assert "<script>" not in text
    assert "remove-cell" in parameters.metadata["tags"]
    assert code.metadata["tags"] == ["hide-input"]


def test_a_run_page_compares_with_the_reports():
    made = make(batch_size=16, lr=1e-4, optimizer="sgd")
    told = run_pages._in_brief(made, Path("runs/full/q1a/a.json"))
    assert "</strong> · report A: 98.40 % · report B: 97.70 % · 60.0 s to train</p>" in told


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

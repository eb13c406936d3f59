import pytest
from nbformat import v4

from mlops_lib import pages

BAD_MARKDOWN = [
    "<script>alert(1)</script>",
    "```{raw} html\n<b>x</b>\n```",
    "> ```{include} /etc/passwd\n> ```",
    ":::{raw} html\n:::",
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


def test_only_run_pages_are_changed():
    source = ["not a notebook"]
    pages._read(None, "intro", source)
    assert source == ["not a notebook"]

"""A Sphinx extension: how the book's pages are read and written.

Result pages are computed at every build. Run pages begin with a summary of their record; they may
come from strangers, so whatever could run a script in the book, or code while it is built, is
taken out of them. Pictures get the descriptions that their notebooks hold, tables their numbers
and what sorts them. The reference comes from docstrings.
"""

from __future__ import annotations

import html
import json
import re
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import Any

import nbformat
from bleach import ALLOWED_ATTRIBUTES, ALLOWED_TAGS
from docutils import nodes
from myst_nb.core.render import NbElementRenderer
from nbconvert.preprocessors.sanitize import SanitizeHTML
from pydantic import BaseModel
from sphinx.transforms import SphinxTransform

from mlops_lib import paths, record, tables
from mlops_lib.runner import repeat as again
from mlops_lib.study import table_cells

THEME: dict[str, list[str]] = {"navbar_persistent": []}  # the sidebar has the search box
METADATA = {
    "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
    "language_info": {"name": "python", "pygments_lexer": "ipython3"},
}
SHOWN_TAGS = (
    "br",
    "details",
    "div",
    "p",
    "pre",
    "span",
    "summary",
    "table",
    "tbody",
    "td",
    "th",
    "thead",
    "tr",
)
STYLE_SHEET = re.compile(r"<style\b.*?</style\s*>", re.DOTALL | re.IGNORECASE)
# What MyST would carry out: a directive, a role, a substitution (which may be any Python).
MYST = (
    (re.compile(r"(`{3,}|~{3,}|:{3,})[ \t]*\{"), r"\1 "),
    (re.compile(r"\}`"), "} `"),
    (re.compile(r"\{(?=[{%])"), "{ "),
)


def setup(app: Any) -> dict[str, bool]:
    """Be a Sphinx extension."""
    paths.make_absolute()  # pages are executed in another folder
    app.connect("config-inited", lambda app, config: config.html_theme_options.update(THEME))
    app.connect("env-get-outdated", lambda app, env, *_: _computed(env))
    app.connect("source-read", lambda app, name, source: _read(app.env, name, source))
    app.connect("builder-inited", lambda app: _write_datatables(Path(app.outdir, "_static")))
    app.connect("html-page-context", lambda app, page, _, context, __: _load(app, context))
    app.add_enumerable_node(CaptionedTable, "table", html=(_visit_figure, _depart_figure))
    app.add_transform(NumberTables)
    app.setup_extension("sphinx.ext.autodoc")
    app.connect("autodoc-process-signature", lambda app, kind, name, found, *_: _signature(found))
    return {"parallel_read_safe": True}


def _computed(env: Any) -> list[str]:
    """Return the text notebooks: the pages in Markdown that hold code cells.

    Sphinx leaves out pages whose text has not changed, but these depend on records too.
    """
    pages = {name: Path(env.doc2path(name)) for name in env.found_docs}
    return [
        name
        for name, path in pages.items()
        if path.suffix == ".md" and "{code-cell}" in path.read_text(encoding="utf-8")
    ]


def _signature(found: Any) -> tuple[str, None] | None:
    """Return a short signature for what pydantic makes: its fields have tables of their own."""
    is_model = isinstance(found, type) and issubclass(found, BaseModel)
    return ("(**fields)", None) if is_model else None


def _read(env: Any, name: str, source: list[str]) -> None:
    if name.startswith(table_cells.RUN_PAGES):
        content = nbformat.reads(source[0], 4)
        path = Path(env.doc2path(name))
        with suppress(record.RecordError):  # a failed run: its page shows how far it came
            summarise(content, record.read(path.with_suffix(".json")), path)
        source[0] = nbformat.writes(harmless(content))


def summarise(content: nbformat.NotebookNode, made: record.Record, path: Path) -> None:
    """Begin a run's page with how it is repeated and where it ran; fold its code.

    The parameters are shown once, as they were checked.
    """
    if not content.cells:  # a stranger's
        return
    ran = made.environment
    software = ("python", *record.PACKAGES)
    facts = {
        "Repeat it": f"<code>{html.escape(again.papermill_command(made))}</code>",
        "Suite": html.escape(path.parents[1].name),
        "Ran on": html.escape(f"{ran['device_name']}, threads: {ran.get('threads')}"),
        "With": html.escape(", ".join(f"{name} {ran.get(name)}" for name in software)),
        "Project at commit": html.escape(str(ran.get("commit"))),
        "Started": made.started_at,
        "Took": f"{made.duration_seconds:,.0f} s",
    }
    rows = "".join(f"<tr><th>{name}</th><td>{fact}</td></tr>" for name, fact in facts.items())
    output = nbformat.v4.new_output("display_data", {"text/html": f"<table>{rows}</table>"})
    box = nbformat.v4.new_code_cell("# summary", outputs=[output])  # no source: left out
    box.metadata["tags"] = ["remove-input"]
    for cell in content.cells[1:]:
        tags = set(cell.metadata.get("tags", ()))
        plumbing = tags & {"parameters", "injected-parameters"}
        cell.metadata["tags"] = sorted(tags | {"remove-cell" if plumbing else "hide-input"})
    title = content.cells[0].source.partition("\n")[0]
    heading = ", ".join(filter(None, [title, *_apart(made)]))
    content.cells[:1] = [nbformat.v4.new_markdown_cell(heading), box]


def _apart(made: record.Record) -> tuple[str, ...]:
    """Return what tells a run from others of its title: settings, images, device, divergence."""
    candidates = len(made.results.get("search") or ())
    asked = {**made.parameters, "template": made.template, "candidates": candidates}
    size = made.parameters["train_size"]
    device = tables.title(made.environment["device"])
    images = f"{size:,} images" if size else ""
    return tables.non_default_text(asked), images, device, tables.divergence(made.results)


def harmless(content: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Take scripts and MyST's commands out of a notebook."""
    content.metadata = nbformat.from_dict(METADATA)
    for cell in content.cells:
        cell.metadata = {"tags": [str(tag) for tag in cell.metadata.get("tags", ())]}
        if cell.cell_type != "code":
            cell.source = _without_commands(cell.source)
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if "text/html" in data:
                data["text/html"] = STYLE_SHEET.sub("", data["text/html"])
            if "text/markdown" in data:
                data["text/markdown"] = _without_commands(data["text/markdown"])
    clean = SanitizeHTML(
        tags=[*ALLOWED_TAGS, *SHOWN_TAGS],
        attributes={**ALLOWED_ATTRIBUTES, "*": ["class"]},
    )
    return clean.preprocess(content, {})[0]


def _without_commands(markdown: str) -> str:
    for pattern, instead in MYST:
        markdown = pattern.sub(instead, markdown)
    return markdown


class DescribedPictures(NbElementRenderer):
    """Renders a notebook as myst-nb does, each picture with its description."""

    def render_image(self, data: Any) -> list[Any]:
        """Return the nodes of an image output."""
        (image,) = super().render_image(data)
        described = data.output_metadata.get(data.mime_type, {}).get("alt")
        if described:
            image["alt"] = str(described)
        return [image]


class CaptionedTable(nodes.figure):
    """A table with a caption, numbered as such; a cell of the class `table` makes one."""


class NumberTables(SphinxTransform):
    """Makes tables of figures that have the class `table`."""

    default_priority = 500  # before Sphinx collects what can be referred to

    def apply(self, **_: Any) -> None:
        for figure in list(self.document.findall(nodes.figure)):
            if "table" in figure["classes"]:
                table = CaptionedTable("", *figure.children, **figure.attributes)
                figure.replace_self(table)
                self.document.ids.update(dict.fromkeys(table["ids"], table))


def _visit_figure(translator: Any, node: CaptionedTable) -> None:
    translator.visit_figure(node)


def _depart_figure(translator: Any, node: CaptionedTable) -> None:
    translator.depart_figure(node)


def _write_datatables(folder: Path) -> None:
    """Write DataTables, as itables ships it, into the book: pages load nothing from elsewhere.

    It is a module, and browsers load those from files only through a blob.
    """
    source = resources.files("itables") / "html"
    module = json.dumps((source / "dt_bundle.js").read_text(encoding="utf-8"))
    blob = f'new Blob([{module}], {{type: "text/javascript"}})'
    folder.mkdir(parents=True, exist_ok=True)
    script = f"window.dataTables = import(URL.createObjectURL({blob}));\n"
    (folder / "datatables.js").write_text(script, encoding="utf-8")
    (folder / "datatables.css").write_bytes((source / "dt_bundle.css").read_bytes())


def _load(app: Any, context: dict[str, Any]) -> None:
    """Let a page that has tables to sort load what sorts them.

    Thebe's scripts, which no page uses, would be there twice: browsers call that an error.
    """
    context["script_files"][:] = [
        script
        for script in context["script_files"]
        if "thebe" not in f"{script.filename} {script.attributes}".lower()
    ]
    if 'class="dataframe sortable' in context.get("body", ""):
        app.add_css_file("datatables.css")
        app.add_js_file("datatables.js")

"""What makes a run's page of its executed notebook: a summary, and no code that could run.

Notebooks may come from strangers, so whatever could run a script in the book, or code while the
book is built, is removed from them.
"""

from __future__ import annotations

import html
import re
from pathlib import Path

import nbformat
from bleach import ALLOWED_ATTRIBUTES, ALLOWED_TAGS
from nbconvert.preprocessors.sanitize import SanitizeHTML

from mlops_lib import record, tables
from mlops_lib.runner import repeat

METADATA = {
    "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
    "language_info": {"name": "python", "pygments_lexer": "ipython3"},
}
EXTRA_TAGS = (
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
# MyST would execute these: a directive, a role, a substitution (which may be any Python).
MYST = (
    (re.compile(r"(`{3,}|~{3,}|:{3,})[ \t]*\{"), r"\1 "),
    (re.compile(r"\}`"), "} `"),
    (re.compile(r"\{(?=[{%])"), "{ "),
)


def summarise(content: nbformat.NotebookNode, made: record.Record, path: Path) -> None:
    """Begin a run's page with how it is repeated and where it ran; fold its code.

    Cells of parameters are removed: the page shows the validated parameters already.
    """
    if not content.cells:  # someone else's notebook
        return
    ran = made.environment
    software = ("python", *record.PACKAGES)
    facts = {
        "Repeat it": f"<code>{html.escape(repeat.papermill_command(made))}</code>",
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
    heading = ", ".join(filter(None, [title, *_differences(made)]))
    content.cells[:1] = [nbformat.v4.new_markdown_cell(heading), box]


def _differences(made: record.Record) -> tuple[str, ...]:
    """Return what distinguishes a run from others of its title: settings, images, divergence."""
    candidates = len(made.results.get("search") or ())
    asked = {**made.parameters, "template": made.template, "candidates": candidates}
    size = made.parameters["train_size"]
    device = tables.title(made.environment["device"])
    images = f"{size:,} images" if size else ""
    return tables.non_default_text(asked), images, device, tables.divergence(made.results)


def harmless(content: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Remove scripts and MyST's commands from a notebook."""
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
        tags=[*ALLOWED_TAGS, *EXTRA_TAGS],
        attributes={**ALLOWED_ATTRIBUTES, "*": ["class"]},
    )
    return clean.preprocess(content, {})[0]


def _without_commands(markdown: str) -> str:
    for pattern, instead in MYST:
        markdown = pattern.sub(instead, markdown)
    return markdown

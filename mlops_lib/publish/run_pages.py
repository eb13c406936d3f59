"""What makes a run's page of its executed notebook: a summary, and nothing that could run.

Notebooks may come from strangers. A page is built from an allow-list: MyST, which can include
files and evaluate code, parses only headings whose every sign is escaped. Other Markdown is turned
into HTML by a plain CommonMark parser, and all HTML is sanitised after that, as the last step.
Of outputs, text, sanitised HTML and pictures are kept.
"""

from __future__ import annotations

import html
import re
from base64 import b64decode
from functools import lru_cache
from pathlib import Path
from string import punctuation
from typing import Any

import bleach
import nbformat
from markdown_it import MarkdownIt
from markdown_it.token import Token

from mlops_lib import checkpoint, provenance, record, tables
from mlops_lib.params import non_default_settings
from mlops_lib.runner import repeat
from mlops_lib.study import all_runs

METADATA = {
    "orphan": True,  # in no table of contents: the sidebar would have hundreds of links
    "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
    "language_info": {"name": "python", "pygments_lexer": "ipython3"},
}
TAGS = {"hide-input", "hide-output", "remove-cell", "remove-input", "remove-output"}
BLOCKS = ("br", "details", "div", "hr", "p", "pre", "span", "summary")
HTML_TAGS = {
    *bleach.ALLOWED_TAGS, *BLOCKS, "h1", "h2", "h3", "h4", "h5", "h6",
    "table", "tbody", "td", "th", "thead", "tr",
}  # fmt: skip
SCHEMES = tuple(f"{scheme}:" for scheme in bleach.ALLOWED_PROTOCOLS)  # http, https, mailto
STYLE_SHEET = re.compile(r"<style\b.*?(</style\s*>|$)", re.DOTALL | re.IGNORECASE)
PICTURES = {"image/png": b"\x89PNG\r\n\x1a\n", "image/jpeg": b"\xff\xd8\xff"}  # how files begin
MARKDOWN = MarkdownIt("commonmark").enable("table")
ESCAPED = str.maketrans({sign: f"\\{sign}" for sign in punctuation})


class PageError(ValueError):
    """A notebook can't be made a page; the message names its file and the reason."""


def validate(path: Path) -> None:
    """Raise PageError where a file is not an executed notebook."""
    try:
        content = nbformat.reader.reads(path.read_bytes().decode("utf-8-sig"))
        nbformat.validate(nbformat.convert(content, 4))  # `nbformat.reads` would do so twice
    except RecursionError:
        raise PageError(f"{path} can't be read: it is nested too deeply") from None
    except Exception as error:  # nbformat raises nearly anything where the shape is wrong
        raise PageError(f"{path} can't be read: {checkpoint.first_line(error)}") from None


def summarise(content: nbformat.NotebookNode, made: record.Record, path: Path) -> None:
    """Begin a run's page with what came out and how it is repeated; fold where it ran and its code.

    Cells of parameters are removed: the page shows the validated parameters already.
    """
    if not content.cells:  # someone else's notebook
        return
    for cell in content.cells[1:]:
        tags = set(cell.metadata.get("tags", ()))
        plumbing = tags & {"parameters", "injected-parameters"}
        cell.metadata["tags"] = sorted(tags | {"remove-cell" if plumbing else "hide-input"})
    heading = ", ".join(filter(None, [tables.run_title(made.parameters), *_differences(made)]))
    content.cells[:1] = [_markdown(f"# {heading}"), _output_alone(_in_brief(made, path))]


def _in_brief(made: record.Record, path: Path) -> str:
    """Return the result, the parameters that are no defaults and the command; the rest folded."""
    run = tables.row(made, path)
    told = all_runs.reported(run)
    results = [
        f"<strong>Accuracy {tables.accuracy_text(run)} %</strong>",
        *(
            f"report {report}: {tables.percent_text(told[report]) if report in told else 'none'}"
            for report in "AB"
        ),
        f"{run['seconds']:,.1f} s to {'fit' if made.template == 'q1b' else 'train'}",
    ]
    changed = {
        name: f"<code>{html.escape(f'{name}={tables.value_text(value)}')}</code>"
        for name, value in non_default_settings(made.template, made.parameters).items()
    }
    command = html.escape(repeat.papermill_command(made))
    return (
        f"<p>{' · '.join(results)}</p>"
        f"<p>Not default: {' '.join(changed.values()) or 'none'}</p><pre>{command}</pre>"
        f"<details><summary>Where and when it ran</summary>{_where(made, path)}</details>"
    )


def _where(made: record.Record, path: Path) -> str:
    """Return a table of where and when a run was executed."""
    ran = made.environment
    software = ("python", *provenance.PACKAGES)
    facts = {
        "Suite": path.parents[1].name,
        "Ran on": f"{ran['device_name']}, threads: {ran.get('threads')}",
        "With": ", ".join(f"{name} {ran.get(name)}" for name in software),
        "Project at commit": str(ran.get("commit")),
        "Started": made.started_at,
        "Took": f"{made.duration_seconds:,.0f} s",
    }
    rows = (f"<tr><th>{name}</th><td>{html.escape(fact)}</td></tr>" for name, fact in facts.items())
    return f"<table>{''.join(rows)}</table>"


def _differences(made: record.Record) -> tuple[str, ...]:
    """Return what distinguishes a run from others of its title: settings, images, divergence."""
    candidates = len(made.results.get("search") or ())
    asked = {**made.parameters, "template": made.template, "candidates": candidates}
    size = made.parameters["train_size"]
    device = tables.title(made.environment["device"])
    images = f"{size:,} images" if size else ""
    return tables.non_default_text(asked), images, device, tables.divergence(made.results)


def harmless(content: nbformat.NotebookNode, name: str) -> nbformat.NotebookNode:
    """Return what the allow-list keeps of a notebook; `name` is its title where it has none."""
    cells: list[nbformat.NotebookNode] = []
    for cell in content.cells:
        if cell.cell_type == "markdown":
            cells += _from_markdown(cell.source, first=not cells)
        elif cell.cell_type == "code":
            cells.append(_from_code(cell))
    if not (cells and cells[0].cell_type == "markdown"):
        cells.insert(0, _heading(1, name))
    made = {"nbformat": 4, "nbformat_minor": 4, "metadata": METADATA, "cells": cells}
    return nbformat.from_dict(made)


def _from_markdown(source: str, first: bool) -> list[nbformat.NotebookNode]:
    """Return the cells of a text: its headings in Markdown, the rest as HTML.

    The page's title is the heading with which its first text begins; others are below it.
    """
    tokens = MARKDOWN.parse(source)
    cells: list[nbformat.NotebookNode] = []
    start = 0
    for position, token in enumerate(tokens):
        if token.type == "heading_open" and token.level == 0:
            cells += _as_html(tokens[start:position])
            level = 1 if first and not cells else 2
            cells.append(_heading(level, _plain(tokens[position + 1])))
            start = position + 3  # heading_open, inline, heading_close
    return cells + _as_html(tokens[start:])


def _plain(inline: Token) -> str:
    """Return the text of a heading without what marks it up."""
    parts = inline.children or []
    return "".join(one.content if one.type in ("text", "code_inline") else " " for one in parts)


def _heading(level: int, text: str) -> nbformat.NotebookNode:
    """Return a heading that MyST reads as plain text: every ASCII punctuation sign is escaped."""
    escaped = " ".join(text.split()).translate(ESCAPED)
    return _markdown(f"{'#' * level} {escaped or 'Untitled'}")


def _as_html(tokens: list[Token]) -> list[nbformat.NotebookNode]:
    """Return a cell that shows parsed Markdown as sanitised HTML; none where there is nothing."""
    shown = sanitised(MARKDOWN.renderer.render(tokens, MARKDOWN.options, {}))
    if not shown.strip():
        return []
    return [_output_alone(shown)]


def _output_alone(shown: str) -> nbformat.NotebookNode:
    """Return a cell that shows HTML; without any source it would be left out itself."""
    return _code("# output", [_display({"text/html": shown}, {})], ["remove-input"])


def _from_code(cell: nbformat.NotebookNode) -> nbformat.NotebookNode:
    kept = [made for output in cell.outputs if (made := _from_output(output))]
    return _code(
        cell.source, kept, sorted(TAGS.intersection(map(str, cell.metadata.get("tags", ()))))
    )


# nbformat's own constructors validate each cell: a page would take ten times as long.
def _markdown(source: str) -> nbformat.NotebookNode:
    return nbformat.from_dict({"cell_type": "markdown", "metadata": {}, "source": source})


def _code(source: str, outputs: list[Any], tags: list[str]) -> nbformat.NotebookNode:
    shown = {"source": source, "outputs": outputs, "execution_count": None}
    return nbformat.from_dict({"cell_type": "code", "metadata": {"tags": tags}, **shown})


def _display(data: dict[str, Any], metadata: dict[str, Any]) -> dict[str, Any]:
    return {"output_type": "display_data", "data": data, "metadata": metadata}


def _from_output(output: nbformat.NotebookNode) -> dict[str, Any] | None:
    """Return what is kept of an output; None where that is nothing."""
    if output.output_type == "stream":
        return {"output_type": "stream", "name": output.name, "text": output.text}
    if output.output_type == "error":
        traceback = [str(line) for line in output.traceback]
        named = {"ename": output.ename, "evalue": output.evalue, "traceback": traceback}
        return {"output_type": "error", **named}
    data, metadata = {}, {}
    for kind, signature in PICTURES.items():
        if _is_picture(output.data.get(kind), signature):
            data[kind] = output.data[kind]
            metadata[kind] = {"alt": str(output.metadata.get(kind, {}).get("alt", ""))}
    if isinstance(output.data.get("text/html"), str):
        data["text/html"] = sanitised(output.data["text/html"])
    if isinstance(output.data.get("text/plain"), str):
        data["text/plain"] = output.data["text/plain"]
    return _display(data, metadata) if data else None


def _is_picture(encoded: Any, signature: bytes) -> bool:
    """Return whether base64 text holds a picture of this kind."""
    try:
        return b64decode(encoded).startswith(signature)
    except (TypeError, ValueError):
        return False


@lru_cache  # many runs' pages have the same texts
def sanitised(text: str) -> str:
    """Return HTML with allowed elements and attributes alone; links lead to the web or nowhere."""
    return bleach.clean(
        STYLE_SHEET.sub("", text),
        tags=HTML_TAGS,
        attributes=_is_allowed,
    )


def _is_allowed(tag: str, name: str, value: str) -> bool:
    """Return whether an attribute of an element is kept."""
    if tag == "a" and name == "href":
        return value.lower().startswith(SCHEMES)
    return name in ("class", "title") or (tag in ("td", "th") and name in ("colspan", "rowspan"))

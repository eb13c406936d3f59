"""A Sphinx extension: how the book's pages are read.

Result pages are computed at every build. Run pages may come from strangers, so whatever could
run a script in the book, or code while it is built, is taken out of them. Pictures get the
descriptions that their notebooks hold.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nbformat
from bleach import ALLOWED_ATTRIBUTES, ALLOWED_TAGS
from myst_nb.core.render import NbElementRenderer
from nbconvert.preprocessors.sanitize import SanitizeHTML

RUN_PAGES = "runs/"
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
    (re.compile(r"^([ \t>*+-]*(?:`{3,}|~{3,}|:{3,}))[ \t]*\{", re.MULTILINE), r"\1 "),
    (re.compile(r"\}`"), "} `"),
    (re.compile(r"\{(?=[{%])"), "{ "),
)


def setup(app: Any) -> dict[str, bool]:
    """Be a Sphinx extension."""
    app.connect("env-get-outdated", lambda app, env, *_: _computed(env))
    app.connect("source-read", lambda app, name, source: _read(name, source))
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


def _read(name: str, source: list[str]) -> None:
    if name.startswith(RUN_PAGES):
        source[0] = harmless(source[0])


def harmless(notebook: str) -> str:
    """Take scripts and MyST's commands out of a notebook, both given as JSON."""
    content = nbformat.reads(notebook, 4)
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
    return nbformat.writes(clean.preprocess(content, {})[0])


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

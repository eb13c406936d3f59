"""A Sphinx extension: how the book's pages are read and written.

Result pages are computed at every build. Run pages are made safe and begin with a summary
(`run_pages`). Pictures get the descriptions that their notebooks hold and the colours of the page,
tables get numbers and can be sorted. The reference comes from docstrings. Links to the project's
address are there if `_config.yml` has one.
"""

from __future__ import annotations

import dataclasses
import gc
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from importlib import metadata, resources
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import joblib
import nbformat
import vl_convert
from docutils import nodes
from ipykernel import kernelspec
from myst_nb.core.render import NbElementRenderer
from myst_nb.sphinx_ import NbMetadataCollector
from pydantic import BaseModel
from sphinx.transforms import SphinxTransform
from sphinx.util import logging

from mlops_lib import machine, paths, record
from mlops_lib.fast.kernel_start import COLLECT_RARELY
from mlops_lib.params import TEMPLATES
from mlops_lib.publish import build, computed, html_tables, run_pages
from mlops_lib.runner import kernels
from mlops_lib.study import once
from mlops_lib.study.table_cells import RUN_PAGES

logger = logging.getLogger(__name__)
EXCEPTION = re.compile(r"^[A-Za-z_][\w.]*: .*", re.MULTILINE)  # as a line of a traceback
ANSI = re.compile(r"\x1b\[[0-9;]*m")
MAX_PROCESSES = 8
VEGA = f"vega-{metadata.version('vl-convert-python')}.js"
RATES = re.compile(f"({html_tables.RATE})")  # by which to split: every other part is one
# Jupyter Book's own extensions, which work before or after pages are read, but do not say so.
UNDECLARED = ("sphinx_multitoc_numbering", "sphinx_jupyterbook_latex")
REFERENCE = "reference_"  # its pages
TRAINING = ("fvcore", "torch", "torchvision")  # who reads the book alone lacks these
THEME: dict[str, list[str]] = {
    "navbar_persistent": [],  # the sidebar has the search box
}
TO_REPOSITORY = ("use_repository_button", "use_edit_page_button", "use_issues_button")
BOTH_THEMES = "MLOPS_BOTH_THEMES"  # `plots.BOTH_THEMES`, whose library takes two seconds


def setup(app: Any) -> dict[str, bool]:
    """Be a Sphinx extension."""
    _seek_garbage_rarely(app)
    paths.make_absolute()  # pages are executed in another folder
    os.environ[once.FOLDER] = str(Path(app.doctreedir, "computed"))
    os.environ[BOTH_THEMES] = "yes"
    _use_own_kernel(Path(app.doctreedir, "jupyter"))
    app.connect("config-inited", lambda app, config: _work_in_parallel(app))
    app.connect("config-inited", lambda app, config: _set_theme(config.html_theme_options))
    app.connect("config-inited", _leave_out, priority=900)  # after the table of contents is read
    app.connect("env-get-outdated", lambda app, env, *_: _computed(env))
    app.connect("env-before-read-docs", lambda app, env, names: _execute(env, names))
    app.connect("source-read", lambda app, name, source: _read(app.env, name, source))
    app.connect("env-updated", lambda app, env: _name_failed(env))
    app.connect("build-finished", lambda app, error: _name_fatal(app.env, error))
    app.connect("builder-inited", lambda app: _write_datatables(Path(app.outdir, "_static")))
    app.connect("html-page-context", lambda app, page, _, context, __: _add_scripts(app, context))
    app.connect("html-page-context", lambda app, page, _, context, __: _open_run(page, context))
    sidebars: dict[tuple[Any, ...], str] = {}
    app.connect(
        "html-page-context", lambda app, page, _, context, __: _share(sidebars, page, context),
        priority=400,  # before the theme calls it
    )  # fmt: skip
    app.add_enumerable_node(CaptionedTable, "table", html=(_visit_figure, _depart_figure))
    app.add_transform(NumberTables)
    app.add_transform(UnbrokenRates)
    app.setup_extension("sphinx.ext.autodoc")
    app.config.autodoc_mock_imports = [name for name in TRAINING if find_spec(name) is None]
    app.connect("autodoc-process-signature", lambda app, kind, name, found, *_: _signature(found))
    computed.start()
    return {"parallel_read_safe": True}


def _seek_garbage_rarely(app: Any) -> None:
    """Spare the build, and its end, the search of all documents and modules for garbage."""
    gc.freeze()
    gc.set_threshold(*COLLECT_RARELY)
    app.connect("build-finished", lambda app, error: gc.freeze())


def _work_in_parallel(app: Any) -> None:
    """Read and write pages in several processes, for which jupyter-book has no option."""
    app.parallel = min(MAX_PROCESSES, len(machine.cores()))
    for name in UNDECLARED:
        if name in app.extensions:
            app.extensions[name].parallel_read_safe = True


def _set_theme(options: dict[str, Any]) -> None:
    """Set the options of the theme; without an address, no page links to the project."""
    options.update(THEME)
    has_address = bool(options.get("repository_url"))
    options.update(dict.fromkeys(TO_REPOSITORY, has_address))
    if not has_address:
        options["launch_buttons"] = {}


def _open_run(page: str, context: dict[str, Any]) -> None:
    """Begin a run's page, which is in no table of contents, with a link to the list of all runs."""
    if page.startswith(RUN_PAGES):
        address = context["pathto"]("all_runs")
        context["body"] = f'<p><a href="{address}">All runs</a></p>{context["body"]}'


def _share(sidebars: dict[tuple[Any, ...], str], page: str, context: dict[str, Any]) -> None:
    """Make the sidebar's links once for the runs' pages, which are not among them.

    From folders of one depth they are the same, and they take a third of the time of a page.
    """
    if not page.startswith(RUN_PAGES):
        return
    make = context["toctree"]

    def made(**options: Any) -> str:
        key = (page.count("/"), *sorted(options.items()))
        if key not in sidebars:
            sidebars[key] = make(**options)
        return sidebars[key]

    context["toctree"] = made


def _use_own_kernel(folder: Path) -> None:
    """Have pages executed by this environment's kernel, whatever kernels and settings a user has.

    `JUPYTER_PATH` comes first where Jupyter looks for kernels.
    """
    os.environ["JUPYTER_PATH"] = os.pathsep.join(
        filter(None, [str(folder), os.environ.get("JUPYTER_PATH")])
    )
    os.environ.update(kernels.own_settings(folder / "ipython"))
    own = folder / "kernels" / "python3"
    shutil.rmtree(own, ignore_errors=True)
    kernelspec.write_kernel_spec(own)


def _name_failed(env: Any) -> None:
    """Warn of each page whose code fails, with its first exception."""
    for page in sorted(env.found_docs):
        done = NbMetadataCollector.get_exec_data(env, page) or {}
        if lines := EXCEPTION.findall(ANSI.sub("", done.get("traceback") or "")):
            env.mlops_basis = None, None  # it is computed again at the next build
            logger.warning("%s%s: %s", build.FAILED, page, lines[-1].strip())


def _name_fatal(env: Any, error: Exception | None) -> None:
    """Name the page at which a build ends with an error, such as one whose kernel died."""
    if error and (page := env.temp_data.get("docname")):
        logger.warning("%s%s: %s: %s", build.FAILED, page, type(error).__name__, error)


def _computed(env: Any) -> list[str]:
    """Return the text notebooks, pages in Markdown that hold code cells, if they may have changed.

    Sphinx rebuilds only pages whose text has changed, but these depend on records and code too;
    the reference depends on code alone.
    """
    before = getattr(env, "mlops_basis", (None, None))
    env.mlops_basis = code, data = _hash(_code()), _hash(_data())
    if (code, data) == before:
        return []
    shutil.rmtree(os.environ[once.FOLDER], ignore_errors=True)
    found = [name for name in env.found_docs if _is_computed(env, name)]
    return [name for name in found if code != before[0] or not name.startswith(REFERENCE)]


def _is_computed(env: Any, name: str) -> bool:
    path = Path(env.doc2path(name))
    return path.suffix == ".md" and "{code-cell}" in path.read_text("utf-8", "replace")


def _execute(env: Any, names: list[str]) -> None:
    """Execute the pages among these that are computed, before myst-nb reads them."""
    pages = [name for name in names if _is_computed(env, name)]
    for name, seconds in computed.execute(env, pages):
        logger.info("computed %s in %.1f s", name, seconds)


def _code() -> Iterator[Path]:
    """Yield the files of the library and the templates."""
    yield from (paths.PROJECT / "mlops_lib").rglob("*.*")
    yield from map(record.template_path, TEMPLATES)


def _data() -> Iterator[Path]:
    """Yield the files of records, suites and tables, and those beside the pages."""
    for folder in (paths.runs(), paths.SUITES, paths.PUBLISHED):
        yield from folder.rglob("*.*")
    for kind in ("*.csv", "*.json"):
        yield from paths.BOOK.glob(kind)


def _hash(files: Iterable[Path]) -> str:
    """Hash the content of files and where they lie, but not compiled code, which a build writes."""
    found = sorted(path for path in files if path.is_file() and path.suffix != ".pyc")
    return joblib.hash([(str(path), path.read_bytes()) for path in found])


def _signature(found: Any) -> tuple[str, None] | None:
    """Return a short signature for a pydantic model: its fields have tables of their own."""
    is_model = isinstance(found, type) and issubclass(found, BaseModel)
    return ("(**fields)", None) if is_model else None


def _leave_out(app: Any, config: Any) -> None:
    """Leave notebooks that can't be read out of the book, each with a warning; make no other.

    The table of contents names no runs, and what it does not name is left out at first.
    """
    others = [name for name in config.exclude_patterns if not name.startswith(RUN_PAGES)]
    left_out = []
    for path in sorted(Path(app.srcdir, RUN_PAGES).glob("*/*/*.ipynb")):
        read = Path(app.doctreedir, path.relative_to(app.srcdir)).with_suffix(".doctree")
        if read.exists() and read.stat().st_mtime > path.stat().st_ctime:
            continue  # it could be read in an earlier build, and is the same
        try:
            run_pages.validate(path)
        except run_pages.PageError as error:
            logger.warning("left out: %s", error)
            left_out.append(path.relative_to(app.srcdir).as_posix())
    config.exclude_patterns = [*others, *left_out]


def _read(env: Any, name: str, source: list[str]) -> None:
    if name.startswith(RUN_PAGES):
        path = Path(env.doc2path(name))
        content = nbformat.reads(source[0], 4)
        env.note_dependency(str(path.with_suffix(".json")))
        with suppress(record.RecordError):  # a failed run: its page shows how far it got
            run_pages.summarise(content, record.read(path.with_suffix(".json")), path)
        source[0] = nbformat.writes(run_pages.harmless(content, path.stem))


class DescribedPictures(NbElementRenderer):
    """Renders a notebook as myst-nb does, but gives each picture its description."""

    def render_image(self, data: Any) -> list[Any]:
        """Return the nodes of an image output: one, or one for light pages and one for dark."""
        about = data.output_metadata.get(data.mime_type, {})
        if not about.get("dark"):
            return [self._described(data, about)]
        themes = {"only-light": data, "only-dark": dataclasses.replace(data, content=about["dark"])}
        both = nodes.container()  # apart from the caption, which the theme would hide with one
        for name, shown in themes.items():
            image = self._described(shown, about)
            image["classes"].append(name)
            both += image
        return [both]

    def _described(self, data: Any, about: dict[str, Any]) -> Any:
        (image,) = super().render_image(data)
        if about.get("alt"):
            image["alt"] = str(about["alt"])
        return image


class CaptionedTable(nodes.figure):
    """A table with a caption, numbered as a table; made from a figure of the class `table`."""


class NumberTables(SphinxTransform):
    """Turns figures of the class `table` into captioned tables."""

    default_priority = 500  # before Sphinx collects what can be referred to

    def apply(self, **_: Any) -> None:
        for figure in list(self.document.findall(nodes.figure)):
            if "table" in figure["classes"]:
                table = CaptionedTable("", *figure.children, **figure.attributes)
                figure.replace_self(table)
                self.document.ids.update(dict.fromkeys(table["ids"], table))


class UnbrokenRates(SphinxTransform):
    """Keeps learning rates in text, such as 1e-3, on one line."""

    default_priority = 800  # after notebooks' outputs are rendered

    def apply(self, **_: Any) -> None:
        for text in list(self.document.findall(nodes.Text)):
            parts = RATES.split(text)
            if len(parts) == 1 or isinstance(text.parent, nodes.literal | nodes.FixedTextElement):
                continue
            found = [
                nodes.inline("", part, classes=["rate"]) if number % 2 else nodes.Text(part)
                for number, part in enumerate(parts)
            ]
            text.parent.replace(text, found)


def _visit_figure(translator: Any, node: CaptionedTable) -> None:
    translator.visit_figure(node)


def _depart_figure(translator: Any, node: CaptionedTable) -> None:
    translator.depart_figure(node)


def _write_vega(folder: Path) -> None:
    """Write what the explorer loads into the book, once, as it takes two seconds."""
    if not (folder / VEGA).exists():  # in a scope of its own, it sets `vegaEmbed` alone
        bundle = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
        script = f"(() => {{{bundle}}})();"
        (folder / VEGA).write_text(script, encoding="utf-8")


def _write_datatables(folder: Path) -> None:
    """Write DataTables, as itables ships it, into the book: pages load nothing from elsewhere.

    It is a module; pages that are opened as files can load a module only through a blob.
    """
    folder.mkdir(parents=True, exist_ok=True)
    source = resources.files("itables") / "html"
    module = json.dumps((source / "dt_bundle.js").read_text(encoding="utf-8"))
    blob = f'new Blob([{module}], {{type: "text/javascript"}})'
    script = f"window.dataTables = import(URL.createObjectURL({blob}));\n"
    (folder / "datatables.js").write_text(script, encoding="utf-8")
    (folder / "datatables.css").write_bytes((source / "dt_bundle.css").read_bytes())


def _add_scripts(app: Any, context: dict[str, Any]) -> None:
    """Add DataTables to a page that has sortable tables, Vega to the one with the explorer.

    Thebe's scripts are removed: no page uses them, and loading them twice is an error in browsers.
    """
    context["script_files"][:] = [
        script
        for script in context["script_files"]
        if "thebe" not in f"{script.filename} {script.attributes}".lower()
    ]
    if 'class="explorer"' in context.get("body", ""):
        _write_vega(Path(app.outdir, "_static"))
        app.add_js_file(VEGA)
    if 'class="dataframe sortable' in context.get("body", ""):
        app.add_css_file("datatables.css")
        app.add_js_file("datatables.js")

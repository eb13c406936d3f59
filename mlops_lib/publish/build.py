"""Build the book with jupyter-book; print it as a PDF."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import click
import yaml

from mlops_lib import paths
from mlops_lib.checkpoint import atomic_write
from mlops_lib.params import UserError

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


class BuildError(UserError):
    """The book could not be built; the message ends with the last lines of the log."""


def build(say: Callable[[str], None]) -> Path:
    """Run `jupyter-book build book/`, its output in a log; return the path of `index.html`.

    `say` is called with a line of text before, and with every warning after.
    Raises BuildError.
    """
    say("building the book: result pages are computed from the records …")
    index = paths.built() / "html" / "index.html"
    _jupyter_book(say, index)
    return index


def pdf(target: Path, say: Callable[[str], None]) -> None:
    """Print the book to the file `target`, without the pages of single runs.

    Raises BuildError, also if there is no Chromium or no folder for the file.
    """
    if not target.parent.is_dir():
        raise BuildError(f"pdf={str(target)!r} is not allowed: {target.parent} is not a folder")
    if target.exists() and not target.is_file():
        raise BuildError(f"pdf={str(target)!r} is not allowed: it is not a file")
    chromium = browser()
    if chromium is None:
        raise BuildError(f"no browser to print with is installed: use {' or '.join(BROWSERS)}")
    say("building the book as one page, then printing it …")
    with atomic_write(target) as file, tempfile.TemporaryDirectory(prefix="mlops-") as folder:
        contents, printed = Path(folder, "_toc.yml"), Path(folder, "book.pdf")
        contents.write_text(_without_runs((paths.BOOK / "_toc.yml").read_text("utf-8")), "utf-8")
        page = Path(folder, "_build", "singlehtml", "index.html")
        one_page = ("--builder", "singlehtml", "--toc", contents, "--path-output", folder)
        _jupyter_book(say, page, *one_page)
        options = ["--headless", "--no-sandbox", "--no-pdf-header-footer", "--disable-gpu"]
        # Scripts make tables and menus of the page first.
        command = [chromium, *options, "--virtual-time-budget=20000", f"--print-to-pdf={printed}"]
        done = subprocess.run(
            [*command, page.as_uri()], capture_output=True, encoding="utf-8", errors="replace"
        )
        if done.returncode or not printed.exists():
            raise BuildError(f"{chromium} could not print the book: {done.stderr[-500:]}")
        file.write(printed.read_bytes())


def browser() -> str | None:
    """Return the path of a Chromium; None if there is none."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def _without_runs(contents: str) -> str:
    """Return a table of contents, YAML, without the pages that a pattern names."""
    toc = yaml.safe_load(contents)
    for chapter in toc["chapters"]:
        if any("glob" in section for section in chapter.get("sections", ())):
            del chapter["sections"]
    return yaml.safe_dump(toc)


def _jupyter_book(say: Callable[[str], None], page: Path, *options: str | Path) -> None:
    """Build the book's `page`; raise BuildError if it is not there afterwards."""
    log = paths.built() / "build.log"
    _require_writable(log)
    program = Path(sys.executable).with_name("jupyter-book")
    command = [program, "build", paths.BOOK, "--path-output", log.parents[1], *options]
    with log.open("wb") as output:
        code = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT).returncode
    text = click.unstyle(log.read_text("utf-8", "replace"))  # jupyter-book always uses colours
    log.write_text(text, "utf-8")
    lines = text.splitlines()
    for line in lines:
        if "WARNING" in line or "ERROR" in line:
            say(line)
    if code or not page.exists():
        raise BuildError(f"the book could not be built ({log}): " + "\n".join(lines[-15:]))


def _require_writable(log: Path) -> None:
    """Raise BuildError, before the work, where the folder of the log can't be written to."""
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.touch()
    except OSError as error:
        raise BuildError(
            f"the book can't be built in {log.parent}: {error.strerror}; "
            "set MLOPS_BUILD to a folder that can be written to"
        ) from None

"""Build the book with jupyter-book; print it as a PDF."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import click

from mlops_lib import paths
from mlops_lib.checkpoint import atomic_write
from mlops_lib.params import ParameterError
from mlops_lib.publish import build_process
from mlops_lib.runner.plan import duration_text
from mlops_lib.study import speed

FAILED = "the code of a page fails: "  # begins what the log says of it
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


class BuildError(RuntimeError):
    """The book could not be built; the message has the first error and the path of the log."""


def index() -> Path:
    """Return the path of the book's first page."""
    return paths.built() / "html" / "index.html"


def build(say: Callable[[str], None]) -> list[str]:
    """Run `jupyter-book build book/`, its output in a log; return which pages' code fails, and why.

    `say` is called with a line of text before, and with warnings after. Raises ParameterError if
    the folder can't be written to, and BuildError.
    """
    measured = speed.book_seconds(is_built=index().exists())
    about = f" (about {duration_text(measured[0])} on {measured[1]})" if measured else ""
    say(f"building the book: result pages are computed from the records{about} …")
    return _jupyter_book(say, index())


def pdf(target: Path, say: Callable[[str], None]) -> list[str]:
    """Print the book to the file `target`, without the pages of single runs; return as `build`.

    Raises ParameterError if there is no Chromium or no folder for the file, and BuildError.
    """
    if not target.parent.is_dir():
        raise ParameterError(f"pdf={str(target)!r} is not allowed: {target.parent} is not a folder")
    if target.exists() and not target.is_file():
        raise ParameterError(f"pdf={str(target)!r} is not allowed: it is not a file")
    chromium = browser()
    if chromium is None:
        raise ParameterError(f"no browser to print with is installed: use {' or '.join(BROWSERS)}")
    say("building the book as one page, then printing it …")
    with atomic_write(target) as file, tempfile.TemporaryDirectory(prefix="mlops-") as folder:
        printed = Path(folder, "book.pdf")
        page = Path(folder, "_build", "singlehtml", "index.html")
        one_page = ("--builder", "singlehtml", "--path-output", folder)
        failed = _jupyter_book(say, page, *one_page)
        options = ["--headless", "--no-sandbox", "--no-pdf-header-footer", "--disable-gpu"]
        # Scripts make tables and menus of the page first.
        command = [chromium, *options, "--virtual-time-budget=20000", f"--print-to-pdf={printed}"]
        done = subprocess.run(
            [*command, page.as_uri()], capture_output=True, encoding="utf-8", errors="replace"
        )
        if done.returncode or not printed.exists():
            raise BuildError(f"{chromium} could not print the book: {done.stderr[-500:]}")
        file.write(printed.read_bytes())
    return failed


def browser() -> str | None:
    """Return the path of a Chromium; None if there is none."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def _jupyter_book(say: Callable[[str], None], page: Path, *options: str | Path) -> list[str]:
    """Build the book, and return which pages' code fails; raise BuildError if it has no `page`."""
    log = paths.built() / "build.log"
    _require_writable(log)
    place = ("--path-output", log.parents[1])
    code = _run(list(map(str, ["build", paths.BOOK, *place, *options])), log)
    text = click.unstyle(log.read_text("utf-8", "replace"))  # jupyter-book always uses colours
    log.write_text(text, "utf-8")
    lines = text.splitlines()
    failed = [line.partition(FAILED)[2] for line in lines if FAILED in line]
    warnings = [line for line in lines if "WARNING" in line or "ERROR" in line]
    if code or not page.exists():
        mark = build_process.ERROR
        errors = [line.removeprefix(mark) for line in lines if line.startswith(mark)]
        (error, *_) = [*failed, *errors, f"jupyter-book ended with exit code {code}"]
        raise BuildError(f"the book could not be built: {error} ({log} has more)")
    if failed:  # other warnings are of what those pages lack
        say(f"{len(warnings) - len(failed)} more warnings: {log}")
        return failed
    for line in warnings:
        say(line)
    return []


def _require_writable(log: Path) -> None:
    """Raise ParameterError, before the work, if the folder of the log can't be written to."""
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.touch()
    except OSError as error:
        raise ParameterError(
            f"the book can't be built in {log.parent}: {error.strerror}; "
            "set MLOPS_BUILD to a folder that can be written to"
        ) from None


def _run(arguments: list[str], log: Path) -> int:
    """Run jupyter-book, its output in the log; return its exit code. It ends with this process."""
    program = [sys.executable, "-P", build_process.__file__]  # -P: not with the folder's modules
    with (
        log.open("wb") as output,
        tempfile.TemporaryDirectory(prefix="mlops-", ignore_cleanup_errors=True) as scratch,
    ):
        process = subprocess.Popen(
            [*program, scratch, *arguments],
            stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
            env=os.environ | {"PYTHONIOENCODING": "utf-8"},
        )  # fmt: skip
        try:
            return process.wait()
        finally:  # also at Ctrl-C: a closed pipe ends it and its kernels
            process.communicate()

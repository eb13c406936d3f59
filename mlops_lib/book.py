"""Build the book with jupyter-book, and say in a few lines how it went."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from mlops_lib.params import ParameterError
from mlops_lib.record import BOOK

INDEX = BOOK / "_build" / "html" / "index.html"
LOG = BOOK / "_build" / "build.log"


class BuildError(ParameterError):
    """The book could not be built; the message ends with the last lines of the log."""


def build(report: Callable[[str], None]) -> Path:
    """Run `jupyter-book build book/`, its output in a log; return the path of `index.html`.

    `report` is called with a line of text before, and with every warning after.
    Raises BuildError.
    """
    report("building the book: result pages are computed from the records …")
    LOG.parent.mkdir(parents=True, exist_ok=True)
    command = [str(Path(sys.executable).with_name("jupyter-book")), "build", str(BOOK)]
    with LOG.open("w", encoding="utf-8") as log:
        code = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT).returncode
    lines = LOG.read_text(encoding="utf-8").splitlines()
    for line in lines:
        if "WARNING" in line or "ERROR" in line:
            report(line)
    if code or not INDEX.exists():
        raise BuildError(f"the book could not be built ({LOG}): " + "\n".join(lines[-15:]))
    return INDEX

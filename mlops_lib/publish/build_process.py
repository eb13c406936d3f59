"""The process that builds the book: jupyter-book and its kernels, which end with `mlops report`.

Nothing is ever written to its standard input, a pipe from `mlops report`: that closes when
`mlops report` ends, for whatever reason.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import threading
import traceback
from contextlib import suppress

ERROR = "mlops: "  # begins the last line of the log, if there was an error


def main(scratch: str, *arguments: str) -> None:
    """Be `jupyter-book` with these arguments; `scratch` is the folder of its temporary files."""
    os.environ["TMPDIR"] = tempfile.tempdir = scratch
    threading.Thread(target=_end_with_report, args=(scratch,), daemon=True).start()
    from jupyter_book.cli.main import main as jupyter_book

    try:
        jupyter_book(arguments, prog_name="jupyter-book")
    except Exception as error:
        traceback.print_exc()
        print(f"{ERROR}{_in_a_line(error.__cause__ or error)}", file=sys.stderr)
        sys.exit(1)


def _in_a_line(error: BaseException) -> str:
    """Return the class of an error and the first line of its message, which may stand in a box."""
    import click

    lines = [line.strip(" =") for line in click.unstyle(str(error)).splitlines()]
    return ": ".join([type(error).__name__, *list(filter(None, lines))[:1]])


def _end_with_report(scratch: str) -> None:
    """Wait until `mlops report` ends, then end the kernels and this process."""
    import psutil

    os.read(0, 1)  # not `sys.stdin`: Sphinx forks, and its lock would stay locked there
    for kernel in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            kernel.kill()
    shutil.rmtree(scratch, ignore_errors=True)
    os._exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:])

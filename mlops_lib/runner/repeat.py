"""How a run is repeated: the runs that failed and why, and the commands that repeat a run."""

from __future__ import annotations

import json
import re
import shlex
from functools import lru_cache
from pathlib import Path

import pandas as pd

from mlops_lib import paths, record
from mlops_lib.params import non_default_settings
from mlops_lib.record import Record
from mlops_lib.runner import execute, slot, suite

NAMED_AS_A_RUN = re.compile(r"-[0-9a-f]{8}$")  # as `suite.Run.slug` ends; a copy ends otherwise


def failures(folder: Path | None = None) -> pd.DataFrame:
    """Return the notebooks of runs without a sound record, and damaged records.

    Columns run, error, command (to repeat it). Runs that another suite has recorded since are left
    out.
    """
    rows = []
    for path, is_run in _unrecorded(folder).items():
        if is_run or path.with_suffix(".json").exists():
            repeat_it = command(path) if is_run else ""
            rows.append((failure(path)[0], problem(path), repeat_it))
    return pd.DataFrame(rows, columns=["run", "error", "command"])


def strays(folder: Path | None = None) -> list[Path]:
    """Return the notebooks without a record that lie where no run of their suite belongs."""
    return [
        path
        for path, is_run in _unrecorded(folder).items()
        if not (is_run or path.with_suffix(".json").exists())
    ]


def _unrecorded(folder: Path | None) -> dict[Path, bool]:
    """Return the notebooks without a sound record, and whether a run of their suite belongs there.

    Where the file of a suite is not known, that is told by the notebook's name.
    """
    runs_of = lru_cache(_runs_of)
    found = {}
    for path in sorted((folder or paths.runs()).glob("*/*/*.ipynb")):
        own = path.with_suffix(".json")
        if slot.find_record(own) in (None, own) and problem(path):
            names = runs_of(path.parents[1].name)
            name = f"{path.parent.name}/{path.stem}"
            found[path] = name in names if names else bool(NAMED_AS_A_RUN.search(name))
    return found


def _runs_of(name: str) -> frozenset[str]:
    """Return the runs of the suite `name` in `params/`, as `q1a/<slug>`; none if it isn't known."""
    if name not in suite.names():
        return frozenset()
    try:
        return frozenset(f"{run.template}/{run.slug}" for run in suite.read(name, anywhere=True))
    except suite.SuiteError:
        return frozenset()


def failure(notebook: Path) -> tuple[str, str]:
    """Return the title of a failed run's notebook and the error with which it stopped."""
    try:
        content = json.loads(notebook.read_text(encoding="utf-8"))
        title = "".join(execute.heading(content)["source"]).partition("\n")[0].removeprefix("# ")
        outputs = [output for cell in content["cells"] for output in cell.get("outputs", ())]
        noted = content["metadata"].get(execute.ERROR)
        errors = [output for output in outputs if output.get("output_type") == "error"]
    except (
        OSError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        RecursionError,
        StopIteration,
    ):
        return notebook.stem, "the notebook can't be read"
    if noted:
        return title, str(noted).partition("\n")[0]
    if not errors:
        return title, "the kernel ended before the notebook did"
    return title, f"{errors[0].get('ename')}: {errors[0].get('evalue')}"


def problem(notebook: Path) -> str | None:
    """Return why the run of a notebook has no sound record; None if it has one."""
    recorded = notebook.with_suffix(".json")
    if not recorded.exists():
        return failure(notebook)[1]
    try:
        record.read(recorded)
    except record.RecordError as error:
        return str(error)
    return None


def command(notebook: Path, asked: str | None = None) -> str:
    """Return the command that executes the run of a notebook again.

    `asked` is the name or path by which the user named its suite. Without it, the suite is the one
    of that name in `params/` or, if there is none, a file whose folder is not known.
    """
    name = notebook.parents[1].name
    asked = asked or (name if name in suite.names() else f"path/to/{name}.yaml")
    return f"mlops run {shlex.quote(asked)} --only {notebook.parent.name}/{notebook.stem}"


def papermill_command(made: Record) -> str:
    """Return the papermill command that repeats a recorded run; a training keeps its threads."""
    options = [
        f"-p {name} {','.join(map(str, v)) if isinstance(v, list) else v}"
        for name, v in non_default_settings(made.template, made.parameters).items()
    ]
    ran = made.environment
    threads = ran.get("threads") if ran["device"] == "cpu" and made.template != "q1b" else None
    command = f"papermill book/{made.template}.ipynb out.ipynb"
    return " ".join([f"OMP_NUM_THREADS={threads} {command}" if threads else command, *options])

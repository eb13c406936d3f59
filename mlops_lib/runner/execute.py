"""Execute one run through papermill, and keep the notebook and the record that it leaves."""

from __future__ import annotations

import json
import re
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlops_lib import checkpoint, paths, record
from mlops_lib.record import Record
from mlops_lib.runner import kernels, scratch
from mlops_lib.runner.kernels import Share
from mlops_lib.runner.slot import Slot

BENCHMARK = "q2"  # this template has the machine to itself
OUTPUT_SECONDS = 60  # for what a cell printed last; a laptop may have slept in between
ERROR = "mlops_error"  # in a notebook's metadata: why the run failed


@dataclass(frozen=True)
class Task:
    """All that any machine needs to execute a run: texts and numbers."""

    template: str
    notebook: str  # the template, JSON
    key: str  # of the record that it will leave
    parameters: dict[str, Any]
    title: str
    timeout: float | None = None  # seconds
    fresh: bool = False  # from the beginning, even if there is a checkpoint

    @classmethod
    def of(cls, slot: Slot, timeout: float | None = None, fresh: bool = False) -> Task:
        template = slot.run.template
        source = record.template_path(template).read_text(encoding="utf-8")
        parameters = slot.run.parameters.model_dump(mode="json")
        return cls(template, source, slot.key, parameters, slot.title, timeout, fresh)


@dataclass(frozen=True)
class Performed:
    """The result of a task."""

    notebook: str  # executed as far as it got, JSON
    error: str | None
    seconds: float


def perform(
    task: Task, share: Share | None = None, on_output: Callable[[str], None] = lambda text: None
) -> Performed:
    """Execute a task through papermill in a kernel of its own.

    `share` is the part of this machine that it may use; `on_output` is called with each line
    that it prints. An error is returned, not raised.
    """
    import papermill

    start = time.perf_counter()
    late = threading.Event()
    if task.fresh:
        checkpoint.remove(record.checkpoint_path(task.key))
    with tempfile.TemporaryDirectory(dir=scratch.folder()) as folder:
        source, target = Path(folder, "template.ipynb"), Path(folder, "run.ipynb")
        source.write_text(task.notebook, encoding="utf-8")
        error = None
        try:
            with kernels.forked(paths.BOOK, share) as kernel, _alarm(task.timeout, late, kernel):
                papermill.execute_notebook(
                    literal(source), literal(target), parameters=task.parameters,
                    progress_bar=False, stdout_file=_Tap(on_output), coalesce_streams=True,
                    km=kernel, iopub_timeout=OUTPUT_SECONDS,
                )  # fmt: skip
        except papermill.PapermillExecutionError as failed:
            error = f"{failed.ename}: {failed.evalue}"
        except RuntimeError as died:  # nbclient's DeadKernelError, or a kernel that didn't start
            error = f"the kernel ended before the notebook did: {died}"
        if error and late.is_set():
            error = f"stopped after {task.timeout:g} s (--timeout)"
        executed = target.read_text(encoding="utf-8") if target.exists() else task.notebook
        return Performed(_tidy(executed, task, error), error, time.perf_counter() - start)


def literal(path: Path) -> str:
    """Return a path as papermill takes it, which fills in parameters between braces."""
    return str(path).replace("{", "{{").replace("}", "}}")


def not_performed(task: Task, error: str) -> Performed:
    """Return the result of a task that could not be executed because of `error`."""
    return Performed(_tidy(task.notebook, task, error), error, 0.0)


@contextmanager
def _alarm(seconds: float | None, late: threading.Event, kernel) -> Iterator[None]:
    """Kill a kernel, and set `late`, when its time is up."""
    finished = threading.Event()

    def ring() -> None:
        if not finished.wait(seconds):
            late.set()
            kernel.end()
            while not finished.wait(1):  # it may not have started yet
                kernel.end()

    if seconds:
        threading.Thread(target=ring, daemon=True).start()
    try:
        yield
    finally:
        finished.set()


def _tidy(notebook: str, task: Task, error: str | None) -> str:
    """Title the notebook after its run, note its error, remove this machine's paths, save space.

    HTML is stored as one string: as a list of its lines, a long table takes twice the space.
    """
    content = json.loads(notebook)
    titled = heading(content)
    titled["source"] = re.sub(
        r"^# .*", lambda _: f"# {task.title}", "".join(titled["source"]), count=1
    )
    generic = {"input_path": f"book/{task.template}.ipynb", "output_path": "run.ipynb"}
    content["metadata"].setdefault("papermill", {}).update(generic)
    if error:
        content["metadata"][ERROR] = error
    for cell in content["cells"]:
        for output in cell.get("outputs", ()):
            if isinstance(data := output.get("data", {}).get("text/html"), list):
                output["data"]["text/html"] = "".join(data)
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def heading(notebook: dict[str, Any]) -> dict[str, Any]:
    """Return the cell with the notebook's title; after an error papermill puts a note above it."""
    return next(cell for cell in notebook["cells"] if "".join(cell["source"]).startswith("# "))


def keep(slot: Slot, performed: Performed, key: str) -> Record | None:
    """Write a run's notebook and, as the last step, its record with this key; return the record.

    A failed run has no record (None): its notebook, with the traceback, is kept unless that would
    replace an earlier result. A notebook without a sound record is treated the same way, and
    RecordError is raised.
    """
    for path in (slot.notebook, slot.record):  # the caller holds the run's lock
        checkpoint.remove_unfinished(path)
    if performed.error is not None:
        _keep_failed(slot, performed.notebook)
        return None
    try:
        made = record.parse(performed.notebook, slot.notebook)
    except record.RecordError:
        _keep_failed(slot, performed.notebook)
        raise
    record.write_text(performed.notebook, slot.notebook)
    begun_as = made.key
    made = made.model_copy(update={"key": key, "duration_seconds": performed.seconds})
    record.write(made, slot.record)
    checkpoint.remove(record.checkpoint_path(begun_as))
    return made


def _keep_failed(slot: Slot, notebook: str) -> None:
    if slot.read() is None and not slot.restore():  # there is no earlier result
        record.write_text(notebook, slot.notebook)


class _Tap:
    """A file to papermill: passes the last line of what is written to it to `on_output`."""

    def __init__(self, on_output: Callable[[str], None]) -> None:
        self.on_output = on_output

    def write(self, text: str) -> None:
        lines = [line.strip() for line in re.split(r"[\r\n]", text) if line.strip()]
        if lines:
            self.on_output(lines[-1])

    def flush(self) -> None:
        pass

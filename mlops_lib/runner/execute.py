"""One run: where it belongs, whether it is done, executing it, keeping what came out."""

from __future__ import annotations

import json
import re
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from mlops_lib import checkpoint, paths, record, tables
from mlops_lib.messages import nearest
from mlops_lib.params import ParameterError
from mlops_lib.record import Record
from mlops_lib.runner import kernels
from mlops_lib.runner import suite as suites
from mlops_lib.runner.kernels import Share
from mlops_lib.runner.suite import Run

Status = Literal["done", "stale", "failed", "missing", "damaged"]
STALE: frozenset[Status] = frozenset({"stale"})
FAILED: frozenset[Status] = frozenset({"failed"})
UNFINISHED: frozenset[Status] = FAILED | {"missing", "damaged"}
DONE: frozenset[Status] = STALE | {"done"}
NOTEBOOK_BYTES = 100_000  # about what an executed one and its record take
ERROR = "mlops_error"  # in a notebook's metadata: why the run failed


@dataclass(frozen=True)
class Slot:
    """A run and where in a suite's folder its notebook and record belong."""

    run: Run
    folder: Path
    apart: str = field(default="", compare=False)  # `seed 1`: from others of its suite and title

    @property
    def notebook(self) -> Path:
        return self.folder / self.run.template / f"{self.run.slug}.ipynb"

    @property
    def record(self) -> Path:
        return self.notebook.with_suffix(".json")

    @property
    def lock(self) -> Path:
        """Return the file that is locked while this run is executed."""
        return self.folder.parent / ".locks" / f"{self.run.template}-{self.run.slug}.lock"

    def shared(self) -> Slot:
        """Return the place where another suite has recorded this run meanwhile; else this one."""
        found = recorded(self.record)
        return replace(self, folder=found.parents[1]) if found else self

    @property
    def key(self) -> str:
        """Return the key of the record that this run should have."""
        return record.key(self.run.parameters, self.run.template)

    @property
    def title(self) -> str:
        """Return what the run is called in tables and on its page."""
        return tables.run_title(self.run.parameters.model_dump())

    @property
    def label(self) -> str:
        """Return what the run is called beside others of its suite."""
        return ", ".join(filter(None, [self.title, self.apart]))

    def read(self) -> Record | None:
        """Return the record, or None where there is none that can be read."""
        try:
            return record.read(self.record)
        except record.RecordError:
            return None

    def status(self) -> Status:
        """Say whether the run is done.

        stale: the template's code has changed since. damaged: its record can't be read.
        """
        found = self.read()
        if found is None:
            if self.record.exists():
                return "damaged"
            return "failed" if self.notebook.exists() else "missing"
        return "done" if found.key == self.key else "stale"

    def restore(self) -> bool:
        """Write a record that is damaged or gone anew from its notebook, which holds it too.

        Says whether it was; a notebook that failed holds none.
        """
        if self.status() not in ("damaged", "failed"):
            return False
        try:
            made = record.read(self.notebook)
        except record.RecordError:
            return False
        asked = self.run.parameters.model_dump(mode="json")
        if (made.template, made.parameters) != (self.run.template, asked):
            return False
        record.write(made, self.record)
        return True


def recorded(place: Path) -> Path | None:
    """Return where the run whose record belongs here is recorded: here, else by another suite."""
    if place.exists():
        return place
    return next(place.parents[2].glob(f"*/{place.parent.name}/{place.name}"), None)


def slots(suite: str, runs: Iterable[Run], folder: Path | None = None) -> list[Slot]:
    """Return the runs of a suite with their places below `<folder>/<suite>/`.

    A run that another suite has recorded has its place there: suites share their runs.
    The folder is by default the one whose runs the book shows, `book/runs/`.
    """
    folder = folder or paths.runs()
    own = folder / suites.title(suite)
    there = sorted(folder.glob("*/*/*.json"), key=lambda path: (path.parents[1] == own, path))
    known = {(path.parent.name, path.stem): path.parents[1] for path in there}  # own ones last
    return _told_apart([Slot(run, known.get((run.template, run.slug), own)) for run in runs])


def _told_apart(places: list[Slot]) -> list[Slot]:
    """Note with each run the parameters in which runs of its title differ."""
    titles = [(slot.run.template, slot.title) for slot in places]
    values = [dict(slot.run.parameters) for slot in places]
    alike: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for title, have in zip(titles, values, strict=True):
        alike.setdefault(title, []).append(have)
    unlike = {
        title: [name for name in some[0] if len({have[name] for have in some}) > 1]
        for title, some in alike.items()
    }
    return [
        replace(slot, apart=", ".join(f"{name} {_text(have[name])}" for name in unlike[title]))
        for title, have, slot in zip(titles, values, places, strict=True)
    ]


def where(places: list[Slot], conditions: Iterable[str]) -> list[Slot]:
    """Keep the runs that meet `key=value` conditions: one for each key that is named.

    A key is a parameter or `template`. Raises ParameterError for any other, and for a value that
    no run has.
    """
    wanted: dict[str, set[str]] = {}
    values = {slot: {"template": slot.run.template, **dict(slot.run.parameters)} for slot in places}
    keys = sorted({key for have in values.values() for key in have})
    for condition in conditions:
        key, equals, value = condition.partition("=")
        if not equals:
            raise ParameterError(f"where={condition!r} is not allowed: write key=value")
        if key not in keys and places:
            raise ParameterError(
                f"where={condition!r} is not allowed: no run has a parameter {key!r}, "
                f"only {', '.join(keys)}{nearest(key, keys)}"
            )
        texts = sorted({_text(have[key]) for have in values.values() if key in have})
        if _text(value) not in texts and places:
            raise ParameterError(
                f"where={condition!r} is not allowed: it chooses among the suite's runs, whose "
                f"{key} is {' or '.join(texts)}{nearest(value, texts)}"
            )
        wanted.setdefault(key, set()).add(_text(value))
    return [
        slot
        for slot, have in values.items()
        if all(key in have and _text(have[key]) in texts for key, texts in wanted.items())
    ]


def only(places: list[Slot], names: Collection[str]) -> list[Slot]:
    """Keep the runs of these names, `q1a/<slug>`; all where none is given.

    Raises ParameterError for a name that no run has.
    """
    named = {f"{slot.run.template}/{slot.run.slug}": slot for slot in places}
    for name in names:
        if name not in named:
            raise ParameterError(
                f"only={name!r} is not allowed: no run of the suite is called so"
                f"{nearest(name, list(named))}"
            )
    return [slot for name, slot in named.items() if not names or name in names]


def _text(value: Any) -> str:
    """Write a value as the user would: numbers by their value, 1e-3 as 0.001; true, null."""
    if isinstance(value, tuple):
        return ",".join(map(_text, value))
    if isinstance(value, bool) or value in ("True", "False"):
        return str(value).lower()
    if value is None or value == "None":
        return "null"
    try:
        return f"{float(value):.12g}"
    except (TypeError, ValueError):
        return str(value)


def require_all(runs: Iterable[Run], here: bool = True) -> None:
    """Raise ParameterError, before anything starts, where a run needs what is nowhere, or not here.

    `here`: whether it is to be executed on this machine.
    """
    for run in runs:
        record.require(run.parameters, here)


@dataclass(frozen=True)
class Task:
    """All that is needed to execute a run anywhere: texts and numbers."""

    template: str
    notebook: str  # the template, JSON
    key: str  # of the record that is to come of it
    parameters: dict[str, Any]
    title: str
    timeout: float | None = None  # seconds
    fresh: bool = False  # not from a checkpoint that may be there

    @classmethod
    def of(cls, slot: Slot, timeout: float | None = None, fresh: bool = False) -> Task:
        template = slot.run.template
        source = record.template_path(template).read_text(encoding="utf-8")
        parameters = slot.run.parameters.model_dump(mode="json")
        return cls(template, source, slot.key, parameters, slot.title, timeout, fresh)


@dataclass(frozen=True)
class Performed:
    """What came of a task."""

    notebook: str  # executed, as far as it came: JSON
    error: str | None
    seconds: float


def perform(
    task: Task, share: Share | None = None, on_output: Callable[[str], None] = lambda text: None
) -> Performed:
    """Execute a task through papermill in a kernel of its own.

    `share` is the part of this machine that it may use; `on_output` is called with what it
    prints, as it prints it. An error is returned, not raised.
    """
    import papermill

    start = time.perf_counter()
    late = threading.Event()
    if task.fresh:
        checkpoint.remove(record.checkpoint_path(task.key))
    with tempfile.TemporaryDirectory(prefix="mlops-") as folder:
        source, target = Path(folder, "template.ipynb"), Path(folder, "run.ipynb")
        source.write_text(task.notebook, encoding="utf-8")
        error = None
        try:
            with kernels.forked(paths.BOOK, share) as kernel, _alarm(task.timeout, late, kernel):
                papermill.execute_notebook(
                    source, target, parameters=task.parameters, progress_bar=False,
                    stdout_file=_Tap(on_output), coalesce_streams=True, km=kernel,
                )  # fmt: skip
        except papermill.PapermillExecutionError as failed:
            error = f"{failed.ename}: {failed.evalue}"
        except RuntimeError as died:  # nbclient's DeadKernelError, or a kernel that didn't start
            error = f"the kernel ended before the notebook did: {died}"
        if error and late.is_set():
            error = f"stopped after {task.timeout:g} s (--timeout)"
        executed = target.read_text(encoding="utf-8") if target.exists() else task.notebook
        return Performed(_tidy(executed, task, error), error, time.perf_counter() - start)


def not_performed(task: Task, error: str) -> Performed:
    """Return what there is of a task that never came to be executed, and why."""
    return Performed(_tidy(task.notebook, task, error), error, 0.0)


@contextmanager
def _alarm(seconds: float | None, late: threading.Event, kernel) -> Iterator[None]:
    """End a kernel, and set `late`, when its time is over."""
    left = threading.Event()

    def ring() -> None:
        if not left.wait(seconds):
            late.set()
            kernel.end()
            while not left.wait(1):  # it may not have been there yet
                kernel.end()

    if seconds:
        threading.Thread(target=ring, daemon=True).start()
    try:
        yield
    finally:
        left.set()


def _tidy(notebook: str, task: Task, error: str | None) -> str:
    """Title the page after the run, note its error, take this machine's paths out, and save room.

    HTML is stored as one string: as a list of its lines, a long table takes twice the room.
    """
    content = json.loads(notebook)
    titled = heading(content)
    titled["source"] = re.sub(
        r"^# .*", lambda _: f"# {task.title}", "".join(titled["source"]), count=1
    )
    places = {"input_path": f"book/{task.template}.ipynb", "output_path": "run.ipynb"}
    content["metadata"].setdefault("papermill", {}).update(places)
    if error:
        content["metadata"][ERROR] = error
    for cell in content["cells"]:
        for output in cell.get("outputs", ()):
            if isinstance(data := output.get("data", {}).get("text/html"), list):
                output["data"]["text/html"] = "".join(data)
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def heading(notebook: dict[str, Any]) -> dict[str, Any]:
    """Return the cell with the notebook's title; papermill puts a note above it on errors."""
    return next(cell for cell in notebook["cells"] if "".join(cell["source"]).startswith("# "))


def check_place(slot: Slot) -> None:
    """Raise OSError, before the work, where its notebook and record could not be written."""
    slot.notebook.parent.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryFile(dir=slot.notebook.parent) as file:
            file.write(bytes(NOTEBOOK_BYTES))
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(slot.notebook.parent)) from None


def keep(slot: Slot, performed: Performed, key: str) -> Record | None:
    """Write a run's notebook and, as the last step, its record with this key; return the record.

    Without a record (None) the run has failed: its notebook, with the traceback, is kept, unless
    there is an earlier result that was to be replaced. Raises RecordError, as of a failed run,
    where the notebook holds no sound record.
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
    """What papermill takes for a file: hands on the last line of what is written to it."""

    def __init__(self, on_output: Callable[[str], None]) -> None:
        self.on_output = on_output

    def write(self, text: str) -> None:
        lines = [line.strip() for line in re.split(r"[\r\n]", text) if line.strip()]
        if lines:
            self.on_output(lines[-1])

    def flush(self) -> None:
        pass

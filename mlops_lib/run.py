"""Execute runs: skip what is recorded, run the rest through papermill, write records last."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mlops_lib import hardware, record, tables
from mlops_lib.record import BOOK, Record
from mlops_lib.suite import Run

Status = Literal["done", "stale", "failed", "missing"]
UNFINISHED: frozenset[Status] = frozenset({"missing", "failed"})


@dataclass(frozen=True)
class Slot:
    """A run and where in a suite's folder its notebook and record belong."""

    run: Run
    folder: Path

    @property
    def notebook(self) -> Path:
        return self.folder / self.run.template / f"{self.run.slug}.ipynb"

    @property
    def record(self) -> Path:
        return self.notebook.with_suffix(".json")

    @property
    def title(self) -> str:
        """Return what the run is called in tables and on its page."""
        return tables.run_title(self.run.parameters.model_dump())

    def read(self) -> Record | None:
        """Return the record, or None where there is none that can be read."""
        try:
            return record.read(self.record)
        except record.RecordError:
            return None

    def status(self) -> Status:
        """Say whether the run is done; stale: the template's code has changed since."""
        found = self.read()
        if found is None:
            return "failed" if self.notebook.exists() else "missing"
        current = record.key(self.run.parameters, self.run.template)
        return "done" if found.key == current else "stale"


def slots(suite: str, runs: Iterable[Run], folder: Path | None = None) -> list[Slot]:
    """Return the runs of a suite with their places below `<folder>/<suite>/`.

    The folder is by default the one whose runs the book shows, `book/runs/`.
    """
    return [Slot(run, (folder or tables.RUNS) / Path(suite).stem) for run in runs]


def check(runs: Iterable[Run]) -> None:
    """Raise ParameterError, before anything starts, where a run needs what is not here."""
    for run in runs:
        hardware.check(getattr(run.parameters, "device", "cpu"))


class RunFailed(RuntimeError):
    """A notebook stopped with an error; it is kept, with its traceback."""


def execute(slot: Slot, on_output: Callable[[str], None] = lambda text: None) -> Record:
    """Execute one run and write its notebook, then its record.

    `on_output` is called with what the run prints, as it prints it.
    Raises RunFailed with the last line of the notebook's error.
    """
    import nbformat
    import papermill

    from mlops_lib import kernels

    slot.notebook.parent.mkdir(parents=True, exist_ok=True)
    slot.record.unlink(missing_ok=True)
    start = time.perf_counter()
    try:
        with kernels.forked(BOOK) as kernel:
            notebook = papermill.execute_notebook(
                record.template_path(slot.run.template),
                slot.notebook,
                parameters=slot.run.parameters.model_dump(mode="json"),
                progress_bar=False,
                stdout_file=_Tap(on_output),
                coalesce_streams=True,
                km=kernel,
            )
    except papermill.PapermillExecutionError as error:
        raise RunFailed(f"{error.ename}: {error.evalue}") from None
    _tidy(notebook, slot)
    nbformat.write(notebook, slot.notebook)
    made = record.read(slot.notebook)
    made = made.model_copy(update={"duration_seconds": time.perf_counter() - start})
    record.write(made, slot.record)
    return made


def _tidy(notebook, slot: Slot) -> None:
    """Title the page after the run, and take this machine's paths out of the metadata."""
    heading = next(cell for cell in notebook.cells if cell.cell_type == "markdown")
    heading.source = re.sub(r"^# .*", f"# {slot.title}", heading.source, count=1)
    notebook.metadata.papermill.input_path = f"book/{slot.run.template}.ipynb"
    notebook.metadata.papermill.output_path = slot.notebook.name


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


@dataclass(frozen=True)
class Outcome:
    """How one run of a suite ended: its record, or why there is none."""

    slot: Slot
    skipped: bool = False
    record: Record | None = None
    error: str | None = None


def execute_all(
    places: list[Slot],
    *,
    again: frozenset[Status] = UNFINISHED,
    on_start: Callable[[Slot], None] = lambda slot: None,
    on_output: Callable[[str], None] = lambda text: None,
) -> Iterator[Outcome]:
    """Execute the runs whose status is in `again`, one after the other; yield each outcome.

    A run that fails leaves the others alone.
    """
    for slot in places:
        if slot.status() not in again:
            yield Outcome(slot, skipped=True, record=slot.read())
            continue
        on_start(slot)
        try:
            yield Outcome(slot, record=execute(slot, on_output))
        except RunFailed as error:
            yield Outcome(slot, error=str(error))

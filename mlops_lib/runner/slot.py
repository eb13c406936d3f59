"""A slot: a run and where its notebook and record belong; whether it is done; choosing among slots.

The runs of a suite lie below `book/runs/<suite>/<template>/`. Suites share their runs: a run that
another suite has recorded stays there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from mlops_lib import checkpoint, paths, provenance, record, tables
from mlops_lib.messages import nearest
from mlops_lib.params import ParameterError
from mlops_lib.record import Record
from mlops_lib.runner import suite
from mlops_lib.runner.suite import Run

Status = Literal["done", "stale", "failed", "missing", "damaged"]
STALE: frozenset[Status] = frozenset({"stale"})
FAILED: frozenset[Status] = frozenset({"failed"})
UNFINISHED: frozenset[Status] = FAILED | {"missing", "damaged"}
DONE: frozenset[Status] = STALE | {"done"}
NOTEBOOK_BYTES = 100_000  # the approximate size of an executed notebook and its record


@dataclass(frozen=True)
class Slot:
    """A run and the folder of a suite in which its notebook and record belong."""

    run: Run
    folder: Path
    differs_in: str = field(default="", compare=False)  # from runs of the same title: `seed 1`

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

    def where_recorded(self) -> Slot:
        """Return the slot in which any suite has recorded this run by now; this one if none has."""
        found = find_record(self.record)
        return replace(self, folder=found.parents[1]) if found else self

    @property
    def key(self) -> str:
        """Return the key of the record that this run should have."""
        return record.key(self.run.parameters, self.run.template)

    @property
    def title(self) -> str:
        """Return the run's name in tables and on its page."""
        return tables.run_title(self.run.parameters.model_dump())

    @property
    def label(self) -> str:
        """Return the run's name among the other runs of its suite."""
        return ", ".join(filter(None, [self.title, self.differs_in]))

    def read(self) -> Record | None:
        """Return the record, or None if there is none that can be read."""
        try:
            return record.read(self.record)
        except record.RecordError:
            return None

    def status(self, of_library: bool = False) -> Status:
        """Return whether the run is done, or why not.

        stale: the template's code has changed since, and was not adopted. damaged: its record
        can't be read. With `of_library`, a run of a library that has changed is stale, too.
        """
        found = self.read()
        if found is None:
            if self.record.exists():
                return "damaged"
            return "failed" if self.notebook.exists() else "missing"
        done = record.keys(self.run.parameters, self.run.template)
        changed = of_library and provenance.library_has_changed(found.environment)
        return "done" if found.key in done and not changed else "stale"

    def restore(self) -> bool:
        """Rewrite a damaged or missing record from its notebook, which holds it too.

        Returns whether that was done; the notebook of a failed run holds no record.
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

    def require_writable(self) -> None:
        """Raise OSError, before the work, if the notebook and record could not be written.

        A file beside them is written as they will be: created, and then replaced.
        """
        probe = self.notebook.with_suffix(".probe")
        try:
            for _ in range(2):
                with checkpoint.atomic_write(probe) as file:
                    file.write(bytes(NOTEBOOK_BYTES))
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(probe.parent)) from None
        finally:
            with suppress(OSError):
                probe.unlink(missing_ok=True)
                checkpoint.remove_unfinished(probe)


def find_record(path: Path) -> Path | None:
    """Return the record of the run whose record belongs at `path`: there, or in another suite."""
    if path.exists():
        return path
    return next(path.parents[2].glob(f"*/{path.parent.name}/{path.name}"), None)


def find_slots(name: str, runs: Iterable[Run], folder: Path | None = None) -> list[Slot]:
    """Return the slots of a suite's runs: below `<folder>/<suite>/`, or where they are recorded.

    The folder is by default the one whose runs the book shows, `book/runs/`.
    """
    folder = folder or paths.runs()
    own = folder / suite.title(name)
    found = sorted(folder.glob("*/*/*.json"), key=lambda path: (path.parents[1] == own, path))
    known = {(path.parent.name, path.stem): path.parents[1] for path in found}  # own ones last
    runs = [_as_named(run, folder) for run in runs]
    return _told_apart([Slot(run, known.get((run.template, run.slug), own)) for run in runs])


def _as_named(run: Run, folder: Path) -> Run:
    """Return a run by its former name, where files of that name are there."""
    if "e-" not in run.slug:
        return run
    former = replace(run, named_formerly=True)
    has_files = former.slug != run.slug and any(folder.glob(f"*/{run.template}/{former.slug}.*"))
    return former if has_files else run


def _told_apart(slots: list[Slot]) -> list[Slot]:
    """Note with each run the parameters in which runs of its title differ."""
    titles = [(slot.run.template, slot.title) for slot in slots]
    parameters = [dict(slot.run.parameters) for slot in slots]
    same_title: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for title, values in zip(titles, parameters, strict=True):
        same_title.setdefault(title, []).append(values)
    differing = {
        title: [name for name in some[0] if len({values[name] for values in some}) > 1]
        for title, some in same_title.items()
    }
    return [
        replace(slot, differs_in=", ".join(f"{n} {_text(values[n])}" for n in differing[title]))
        for title, values, slot in zip(titles, parameters, slots, strict=True)
    ]


def where(slots: list[Slot], conditions: Iterable[str]) -> list[Slot]:
    """Return the slots whose runs meet `key=value` conditions: one for each key that is named.

    A key is a parameter or `template`. Raises ParameterError for any other, and for a value that
    no run has.
    """
    wanted: dict[str, set[str]] = {}
    values = {slot: {"template": slot.run.template, **dict(slot.run.parameters)} for slot in slots}
    keys = sorted({key for have in values.values() for key in have})
    for condition in conditions:
        key, equals, value = condition.partition("=")
        if not equals:
            raise ParameterError(f"where={condition!r} is not allowed: write key=value")
        if key not in keys and slots:
            raise ParameterError(
                f"where={condition!r} is not allowed: no run has a parameter {key!r}, "
                f"only {', '.join(keys)}{nearest(key, keys)}"
            )
        texts = sorted({_text(have[key]) for have in values.values() if key in have})
        if _text(value) not in texts and slots:
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


def only(slots: list[Slot], names: Collection[str]) -> list[Slot]:
    """Return the slots of the runs with these names, `q1a/<slug>`; all slots if none is named.

    Raises ParameterError for a name that no run has.
    """
    named = {f"{slot.run.template}/{slot.run.slug}": slot for slot in slots}
    for name in names:
        if name not in named:
            raise ParameterError(
                f"only={name!r} is not allowed: no run of the suite has that name"
                f"{nearest(name, list(named))}"
            )
    return [slot for name, slot in named.items() if not names or name in names]


def _text(value: Any) -> str:
    """Write a value as the user would: numbers by their value, 1e-3 as 0.001; true, null."""
    if isinstance(value, tuple):
        return ",".join(map(_text, value))
    if isinstance(value, bool) or value in ("True", "False"):
        return str(value).lower()
    if value is None or str(value).lower() in ("none", "null"):
        return "null"
    try:
        return f"{float(value):.12g}"
    except (TypeError, ValueError):
        return str(value)


def require_all(runs: Iterable[Run], here: bool = True) -> None:
    """Raise ParameterError, before anything starts, if a run needs something not available here.

    `here`: whether the runs are to be executed on this machine.
    """
    for run in runs:
        record.require(run.parameters, here)

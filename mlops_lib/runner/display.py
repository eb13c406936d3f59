"""What a user sees while runs go on: live bars on a terminal, plain lines in a log."""

from __future__ import annotations

import time
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from mlops_lib import paths
from mlops_lib.record import Record
from mlops_lib.runner.execute import Slot, Status
from mlops_lib.runner.grid import BENCHMARK, Outcome, estimates
from mlops_lib.tables import accuracy_text, title

LOG_EVERY_SECONDS = 10
REASONS: dict[Status, str] = {
    "missing": "not run yet",
    "failed": "failed the last time",
    "damaged": "its record can't be read",
    "stale": "its template has changed since",
    "done": "recorded",
}


def result_line(slot: Slot, run: Record) -> str:
    """Return a run's result in a line: what, accuracy, time, where its notebook is."""
    seconds = run.results.get("train_seconds", run.results.get("fit_seconds"))
    verb = "trained" if "train_seconds" in run.results else "fitted"
    try:
        where = slot.notebook.relative_to(paths.PROJECT)
    except ValueError:
        where = slot.notebook
    return (
        f"{run.template}  {slot.label} on {title(run.environment['device'])}: "
        f"test accuracy {accuracy_text(run.results)} %, {verb} in {seconds:.1f} s, {where}"
    )


class RunDisplay:
    """Shows the progress of a suite; use as a context manager."""

    def __init__(self, total: int, console: Console) -> None:
        self.console, self.total, self.number = console, total, 0
        self.logged: dict[Slot, float] = {}  # when the last line of a running run was printed
        self.bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[now]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self.task = self.bars.add_task("runs", total=total, now="")
        self.running: dict[Slot, TaskID] = {}

    def __enter__(self) -> Self:
        self.bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        for task in self.running.values():
            self.bars.remove_task(task)
        self.bars.stop()

    def start(self, slot: Slot) -> None:
        """Say which run begins."""
        self.logged[slot] = time.monotonic()
        description = escape(f"  {slot.run.template}  {slot.label}")
        self.running[slot] = self.bars.add_task(description, total=1, now="")
        self.say(f"{slot.run.template}  {slot.label} …")

    def wait(self, slot: Slot) -> None:
        """Say that a run can't begin yet."""
        what = "it, or another measurement" if slot.run.template == BENCHMARK else "it"
        self.say(f"{slot.run.template}  {slot.label} waits: another runner is at {what}")

    def output(self, slot: Slot, text: str) -> None:
        """Show the newest line that a run printed; in a log, only every few seconds."""
        self.bars.update(self.running[slot], now=escape(text))
        quiet = time.monotonic() - self.logged[slot] <= LOG_EVERY_SECONDS
        if not self.console.is_terminal and not quiet:
            self.logged[slot] = time.monotonic()
            self.say(f"    {text}")

    def finish(self, outcome: Outcome) -> None:
        """Say how a run ended, and when the suite will have."""
        self.number += 1
        if outcome.slot in self.running:
            self.bars.remove_task(self.running.pop(outcome.slot))
        self.bars.update(self.task, completed=self.number)
        place = f"[{self.number}/{self.total}] {outcome.slot.run.template}  {outcome.slot.label}"
        if outcome.error:
            kept = outcome.slot.notebook
            what = "earlier result" if outcome.slot.read() else "notebook"
            where = f"; the {what} is kept: {kept}" if kept.exists() else ""
            self.say(f"{place}: FAILED: {outcome.error}{where}")
        elif outcome.skipped:
            self.say(f"{place}: another runner has done it meanwhile")
        elif outcome.record:
            accuracy = accuracy_text(outcome.record.results)
            took = outcome.record.duration_seconds
            diverged = ", DIVERGED" if outcome.record.results.get("diverged") else ""
            self.say(f"{place}: test accuracy {accuracy} %, {took:.0f} s in all{diverged}")

    def say(self, line: str) -> None:
        """Print a line above the bars, as it is."""
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)


def plan(
    places: list[Slot], statuses: list[Status], again: frozenset[Status], jobs: int
) -> Iterator[str]:
    """Yield a line for each run of a suite: whether it will run, for how long about, and why.

    How long `jobs` runs at a time take together is not known: the total is of one at a time.
    """
    waiting = [slot for slot, status in zip(places, statuses, strict=True) if status in again]
    seconds = estimates(waiting) if waiting else {}
    yield f"{'':8} {'about':8} run"
    for slot, status in zip(places, statuses, strict=True):
        runs = status in again
        about = duration_text(seconds.get(slot)) if runs else ""
        verb = "runs" if runs else "skipped"
        yield f"{verb:8} {about:8} {slot.run.template:4} {slot.label} ({REASONS[status]})"
    total = sum(seconds.values())
    unknown = len(waiting) - len(seconds)
    yield (
        f"{len(waiting)} to run"
        + (f", about {duration_text(total)}" if seconds else "")
        + (" one at a time" if seconds and jobs > 1 else "")
        + (f", and {unknown} of unknown length" if unknown else "")
    )


def duration_text(seconds: float | None) -> str:
    """Write a duration as people say it: 40 s, 3 min, 2.5 h; ? where it is not known."""
    if seconds is None:
        return "?"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"

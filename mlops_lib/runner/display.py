"""What a user sees while runs are executed: live bars on a terminal, plain lines in a log."""

from __future__ import annotations

import sys
import time
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
from mlops_lib.runner.execute import BENCHMARK
from mlops_lib.runner.grid import Outcome
from mlops_lib.runner.slot import Slot
from mlops_lib.tables import accuracy_text, title

LOG_EVERY_SECONDS = 10


def result_line(slot: Slot, made: Record) -> str:
    """Return a line about a recorded run: its name, accuracy and time, the path of its notebook."""
    seconds = made.results.get("train_seconds", made.results.get("fit_seconds"))
    verb = "trained" if "train_seconds" in made.results else "fitted"
    try:
        where = slot.notebook.relative_to(paths.PROJECT)
    except ValueError:
        where = slot.notebook
    return (
        f"{made.template}  {slot.label} on {title(made.environment['device'])}: "
        f"test accuracy {accuracy_text(made.results)} %, {verb} in {seconds:.1f} s, {where}"
    )


def terminal_or_log() -> Console:
    """Return a console on standard output: with bars and colours on a terminal alone.

    FORCE_COLOR, TTY_COMPATIBLE and TTY_INTERACTIVE, as CI sets them, make no terminal of a log.
    """
    never = None if sys.stdout and sys.stdout.isatty() else False
    return Console(force_terminal=never, force_interactive=never)


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
        """Print which run begins."""
        self.logged[slot] = time.monotonic()
        description = escape(f"  {slot.run.template}  {slot.label}")
        self.running[slot] = self.bars.add_task(description, total=1, now="")
        self.say(f"{slot.run.template}  {slot.label} …")

    def wait(self, slot: Slot) -> None:
        """Print that a run can't begin yet."""
        what = "it or another benchmark" if slot.run.template == BENCHMARK else "it"
        self.say(f"{slot.run.template}  {slot.label} waits: another runner is executing {what}")

    def output(self, slot: Slot, text: str) -> None:
        """Show the newest line that a run printed; in a log, only every few seconds."""
        self.bars.update(self.running[slot], now=escape(text))
        quiet = time.monotonic() - self.logged[slot] <= LOG_EVERY_SECONDS
        if not self.console.is_terminal and not quiet:
            self.logged[slot] = time.monotonic()
            self.say(f"    {text}")

    def finish(self, outcome: Outcome) -> None:
        """Print how a run ended, and advance the suite's bar."""
        self.number += 1
        if outcome.slot in self.running:
            self.bars.remove_task(self.running.pop(outcome.slot))
        self.bars.update(self.task, completed=self.number)
        prefix = f"[{self.number}/{self.total}] {outcome.slot.run.template}  {outcome.slot.label}"
        if outcome.error:
            kept = outcome.slot.notebook
            what = "earlier result" if outcome.slot.read() else "notebook"
            where = f"; the {what} is kept: {kept}" if kept.exists() else ""
            self.say(f"{prefix}: FAILED: {outcome.error}{where}")
        elif outcome.skipped:
            self.say(f"{prefix}: another runner has done it")
        elif outcome.record:
            accuracy = accuracy_text(outcome.record.results)
            took = outcome.record.duration_seconds
            diverged = ", DIVERGED" if outcome.record.results.get("diverged") else ""
            self.say(f"{prefix}: test accuracy {accuracy} %, {took:.0f} s in all{diverged}")

    def say(self, line: str) -> None:
        """Print a line above the bars, as it is."""
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)

"""What a user sees while runs go on: live bars on a terminal, plain lines in a log."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from mlops_lib.record import PROJECT, Record
from mlops_lib.run import Outcome, Slot
from mlops_lib.tables import accuracy_text, title

LOG_EVERY_SECONDS = 10


def result_line(slot: Slot, run: Record) -> str:
    """Return a run's result in a line: what, accuracy, time, where its notebook is."""
    seconds = run.results.get("train_seconds", run.results.get("fit_seconds"))
    verb = "trained" if "train_seconds" in run.results else "fitted"
    try:
        where = slot.notebook.relative_to(PROJECT)
    except ValueError:
        where = slot.notebook
    return (
        f"{run.template}  {slot.title} on {title(run.environment['device'])}: "
        f"test accuracy {accuracy_text(run.results)} %, {verb} in {seconds:.1f} s, {where}"
    )


class RunDisplay:
    """Shows the progress of a suite; use as a context manager."""

    def __init__(self, total: int, console: Console) -> None:
        self.console, self.total, self.number, self.logged = console, total, 0, 0.0
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

    def __enter__(self) -> Self:
        self.bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.bars.stop()

    def start(self, slot: Slot) -> None:
        """Say which run begins."""
        self.logged = time.monotonic()
        self.say(f"[{self.number + 1}/{self.total}] {slot.run.template}  {slot.title} …")

    def output(self, text: str) -> None:
        """Show the newest line that the run printed; in a log, only every few seconds."""
        self.bars.update(self.task, now=escape(text))
        if not self.console.is_terminal and time.monotonic() - self.logged > LOG_EVERY_SECONDS:
            self.logged = time.monotonic()
            self.say(f"    {text}")

    def finish(self, outcome: Outcome) -> None:
        """Say how a run ended."""
        self.number += 1
        self.bars.update(self.task, completed=self.number, now="")
        if outcome.error:
            self.say(f"    FAILED: {outcome.error}; the notebook is kept: {outcome.slot.notebook}")
        elif outcome.record and not outcome.skipped:
            accuracy = accuracy_text(outcome.record.results)
            took = outcome.record.duration_seconds
            self.say(f"    test accuracy {accuracy} %, {took:.0f} s in all")

    def say(self, line: str) -> None:
        """Print a line above the bars, as it is."""
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)

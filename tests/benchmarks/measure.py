"""Interleaved rounds of several contenders, and ratios between them."""

from __future__ import annotations

import itertools
import statistics
import subprocess
import sys
from pathlib import Path

WORKER = Path(__file__).with_name("worker.py")


class Contender:
    """A worker process that runs a round whenever it is asked to."""

    def __init__(self, name: str, **options: object) -> None:
        words = [f"{key}={value}" for key, value in options.items()]
        self.process = subprocess.Popen(
            [sys.executable, str(WORKER), name, *words],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
        )  # fmt: skip

    def wait_until_ready(self) -> None:
        self._answer()

    def start(self) -> None:
        self.process.stdin.write("go\n")

    def seconds(self) -> float:
        """Wait for the end of the round that was started; return its seconds."""
        return float(self._answer())

    def _answer(self) -> str:
        line = self.process.stdout.readline().strip()
        while line and line != "ready" and not line.replace(".", "").replace("e-", "").isdigit():
            line = self.process.stdout.readline().strip()
        if not line:
            raise RuntimeError(f"{self.process.args[2:]} ended without an answer")
        return line

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def rounds(sides: dict[str, list[Contender]], count: int) -> dict[str, list[float]]:
    """Run each side in turn, `count` times; a side's contenders run side by side.

    Returns the seconds of every round: that of the slowest contender of the side.
    """
    for contender in itertools.chain.from_iterable(sides.values()):
        contender.wait_until_ready()
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(count):
        for name, contenders in sides.items():
            for contender in contenders:
                contender.start()
            seconds[name].append(max(contender.seconds() for contender in contenders))
    return seconds


def ratio(slow: list[float], fast: list[float]) -> dict[str, float]:
    """Return the median of the ratios round by round, with their range and number."""
    ratios = [a / b for a, b in zip(slow, fast, strict=True)]
    return {
        "median": statistics.median(ratios),
        "low": min(ratios),
        "high": max(ratios),
        "n": len(ratios),
    }

"""`make bench`: ratios measured side by side on this machine, as a table and a JSON file.

Every figure is the median over interleaved rounds, with range and n. The exit code is 1 where
one falls short of what it should be at least.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from measure import Contender, ratio, rounds
from rich.console import Console
from rich.table import Table

from mlops_lib import record, run, suite
from mlops_lib.params import Q1a
from mlops_lib.tables import title

ROUNDS = 5
RESULT = Path(__file__).with_name("result.json")


def against_plain(least: float, steps: int, **options: object) -> dict:
    """Compare this project's loop with the plain loop."""
    sides = {name: [Contender(name, steps=steps, **options)] for name in ("plain", "ours")}
    return _figure(sides, least, 1)


def pair_against_plain(least: float, steps: int, **options: object) -> dict:
    """Compare two runs of one thread each, side by side, with the plain loop."""
    plain = [Contender("plain", steps=steps, **options)]
    os.environ["OMP_NUM_THREADS"] = "1"
    ours = [Contender("ours", steps=steps, threads=1, **options) for _ in range(2)]
    del os.environ["OMP_NUM_THREADS"]
    return _figure({"plain": plain, "ours": ours}, least, 2)


def evaluation(least: float) -> dict:
    """Compare predicting 14,000 test images with a plain loop over a DataLoader."""
    sides = {name: [Contender(name)] for name in ("plain_evaluation", "our_evaluation")}
    return _figure(sides, least, 1)


def svm(least: float) -> dict:
    """Compare fit and predict, 49,000 and 14,000 images, RBF and C=10, with scikit-learn."""
    sides = {name: [Contender(name)] for name in ("our_svm", "plain_svm")}
    return _figure(sides, least, 1, count=1)


def _figure(sides: dict, least: float, times_the_work: int, count: int = ROUNDS) -> dict:
    seconds = rounds(sides, count)
    for contenders in sides.values():
        for contender in contenders:
            contender.close()
    plain, ours = sorted(seconds, key=lambda name: name.startswith("our"))
    work = [times_the_work * value for value in seconds[plain]]
    return ratio(work, seconds[ours]) | {"least": least, "seconds": seconds}


def overhead(most: float) -> dict:
    """Measure what a q1a run in a grid takes beyond its training and evaluation."""
    beyond = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(4):  # the first one waits for the server to import everything
            p = Q1a(train_size=1000, epochs=1, seed=seed)
            slot = run.Slot(suite.Run("q1a", p), Path(folder))
            made = run.execute(slot)
            beyond.append(made.duration_seconds - _cells(slot.notebook))
    beyond = sorted(beyond[1:])
    return {"median": beyond[1], "low": beyond[0], "high": beyond[-1], "n": 3, "most": most}


def _cells(path: Path) -> float:
    """Return the seconds of the cells that train and evaluate."""
    cells = json.loads(path.read_text())["cells"]
    return sum(
        cell["metadata"]["papermill"]["duration"]
        for cell in cells
        if any(call in "".join(cell["source"]) for call in ("train.fit(", "train.test("))
    )


def figures() -> Iterator[tuple[str, dict]]:
    """Measure one figure after the other."""
    yield "ResNet-18, 28x28, batch 16: times the plain loop", against_plain(3.5, 60, batch=16)
    yield "ResNet-18, 28x28, batch 32: times the plain loop", against_plain(2.7, 40, batch=32)
    yield (
        "ResNet-50, 28x28, batch 16: times the plain loop",
        against_plain(2.0, 25, batch=16, model="resnet50"),
    )
    for model in ("resnet18", "resnet50"):
        yield (
            f"{title(model)}, 224x224, batch 16: times the plain loop",
            against_plain(3.0, 3, batch=16, model=model, size=224),
        )
    yield "two ResNet-18 side by side: times the plain loop", pair_against_plain(5.0, 60, batch=16)
    yield "evaluation of 14,000 images: times the plain loop", evaluation(1.5)
    yield "SVM fit + predict, 49,000 images: times scikit-learn", svm(6.0)
    yield "a q1a run beyond training and evaluation (s)", overhead(2.0)


def main() -> int:
    table = Table("figure", "median", "range", "n", "wanted", "", title=record.cpu_name())
    measured, short = {}, 0
    for name, figure in figures():
        good = figure["median"] >= figure.get("least", 0)
        good = good and figure["median"] <= figure.get("most", float("inf"))
        short += not good
        wanted = f"at most {figure['most']}" if "most" in figure else f"at least {figure['least']}"
        spread = f"{figure['low']:.2f} to {figure['high']:.2f}"
        mark = "" if good else "SHORT"
        table.add_row(name, f"{figure['median']:.2f}", spread, str(figure["n"]), wanted, mark)
        print(f"{name}: {figure['median']:.2f} ({spread}), {wanted} {mark}", flush=True)
        measured[name] = figure
    RESULT.write_text(json.dumps({"machine": record.environment(), "figures": measured}, indent=1))
    Console().print(table)
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main())

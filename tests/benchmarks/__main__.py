"""`make bench`: ratios measured side by side on this machine, as lines and a JSON file.

Every figure is the median over interleaved rounds, with range and n. The exit code is 1 where
one falls short of what is wanted of it.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "study"))

import book_builds
import numpy as np
import torch
from measure import Contender, ratio, rounds

from mlops_lib import hardware, machine, paths, provenance, record
from mlops_lib.params import Q1a
from mlops_lib.runner import grid, suite
from mlops_lib.runner.slot import Slot, find_slots
from mlops_lib.study import speed

ROUNDS, CUDA_STEPS = 5, 150
Figure = dict[str, Any]


def against_plain(least: float, steps: int, **options: object) -> Figure:
    """Compare this project's loop with the plain loop."""
    return _figure(["plain"], "ours", least, steps=steps, **options)


def pair_against_plain(least: float, steps: int, **options: object) -> Figure:
    """Compare two runs side by side, the cores divided as `--jobs 2` does, with the plain loop."""
    ours = [Contender("ours", steps=steps, job=job, jobs=2, **options) for job in range(2)]
    plain = [Contender("plain", steps=steps, **options)]
    return _ratio({"plain": plain, "ours": ours}, least, work=2)


def without(trick: str, least: float) -> Figure:
    """Compare steps of ResNet-18 without a trick of `mlops_lib/fast/` with those that have it.

    Each of three rounds starts both processes anew: where memory lies differs between starts.
    """
    ratios = []
    for _ in range(3):
        sides = {
            name: [Contender("ours", batch=16, steps=60, **options)]
            for name, options in (("without", {"without": trick}), ("with", {}))
        }
        ratios.append(_ratio(sides, least)["median"])
    return _values(ratios, statistics.median(ratios)) | {"least": least}


@cache
def cuda(model: str, least: float) -> Figure:
    """Compare this project's loop with the plain loop, both in mixed precision on the GPU."""
    return against_plain(least, CUDA_STEPS, batch=16, model=model, device="cuda")


def cuda_step(most: float, *compared: Any) -> Figure:
    """Say how long a step of ours took in that comparison, in ms."""
    taken = [1e3 * seconds / CUDA_STEPS for seconds in cuda(*compared)["seconds"]["ours"]]
    return _values(taken, statistics.median(taken)) | {"most": most}


def against_peers(least: float, steps: int) -> Figure:
    """Compare with the fastest of the libraries that people train with."""
    return _figure(["lightning", "skorch", "accelerate"], "ours", least, batch=16, steps=steps)


def evaluation(least: float) -> Figure:
    """Compare predicting 14,000 test images with a plain loop over a DataLoader."""
    return _figure(["plain_evaluation"], "our_evaluation", least)


def svm(least: float) -> Figure:
    """Compare fit and predict, 49,000 and 14,000 images, RBF and C=10, with scikit-learn."""
    return _figure(["plain_svm"], "our_svm", least, count=1)


def _figure(
    others: list[str], ours: str, least: float, count: int = ROUNDS, **options: object
) -> Figure:
    """Compare contenders with ours, all in the same rounds; the fastest of the others counts."""
    sides = {name: [Contender(name, **options)] for name in (*others, ours)}
    return _ratio(sides, least, count=count)


def _ratio(sides: dict, least: float, work=1, count=ROUNDS) -> Figure:
    seconds = rounds(sides, count)
    for contenders in sides.values():
        for contender in contenders:
            contender.close()
    *others, ours = sides
    fastest = min(others, key=lambda name: statistics.median(seconds[name]))
    figure = ratio([work * value for value in seconds[fastest]], seconds[ours])
    return figure | {"least": least, "against": fastest, "seconds": seconds}


def agreement(least: float) -> Figure:
    """Compare predictions with libsvm's over kernels, C and datasets, all 49,000 images.

    The figure is the smallest share of equal predictions, in per cent.
    """
    asked = [
        {"dataset": dataset, "C": C} | kernel
        for dataset in ("mnist", "fashion_mnist")
        for kernel in ({"kernel": "rbf"}, *({"kernel": "poly", "degree": d} for d in (2, 3)))
        for C in (1.0, 10.0)
    ]
    cases = []
    with multiprocessing.Pool(2) as pool:  # libsvm uses one core
        references = pool.imap(predictions, [case | {"backend": "libsvm"} for case in asked])
        references = list(references)
    for case, (truth, reference) in zip(asked, references, strict=True):
        _, ours = predictions(case | {"backend": "auto"})
        points = 100 * abs(np.mean(ours == truth) - np.mean(reference == truth))
        cases.append(case | {"equal": 100 * np.mean(ours == reference), "points": points})
        print(f"  {cases[-1]}", flush=True)
    equal = sorted(case["equal"] for case in cases)
    points = max(case["points"] for case in cases)
    return _values(equal, equal[0]) | {"least": least, "points_apart": points, "cases": cases}


def predictions(case: dict) -> tuple[np.ndarray, np.ndarray]:
    """Fit and predict; return the test images' classes and what was predicted, int (14000,)."""
    from mlops_lib import data, svm

    case = dict(case)
    images, labels = data.load(case.pop("dataset"))
    train, _, test = data.split(labels, 0)
    features = data.features(images)
    fitted = svm.fit(features[train], labels[train], **case)
    return labels[test], fitted.predict(features[test])


def same_accuracy(most: float) -> Figure:
    """Train fully with the plain loop and with ours, 3 seeds each, and compare test accuracies.

    The figure is the distance of the two means in units of the larger spread (max - min) over
    seeds: ResNet-18, MNIST, one epoch of batches of 128.
    """
    reached = {name: [] for name in ("plain_accuracy", "our_accuracy")}
    for seed in range(3):
        for name in reached:
            contender = Contender(name, seed=seed)
            contender.wait_until_ready()
            contender.start()
            reached[name].append(contender.seconds())
            contender.close()
    plain, ours = reached.values()
    spread = max(max(values) - min(values) for values in (plain, ours))
    apart = abs(statistics.mean(plain) - statistics.mean(ours)) / spread
    return _values([apart], apart) | {"most": most, "accuracies": reached}


def _values(values: list[float], shown: float) -> Figure:
    return {"median": shown, "low": min(values), "high": max(values), "n": len(values)}


def overhead(most: float) -> Figure:
    """Measure what a q1a run in a grid takes beyond its training and evaluation."""
    beyond = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(4):  # the first one waits for the server to import everything
            p = Q1a(train_size=1000, epochs=1, seed=seed)
            slot = Slot(suite.Run("q1a", p), Path(folder, "suite"))
            made = next(grid.execute_all([slot])).record
            beyond.append(made.duration_seconds - _cells(slot.notebook))
    return _values(beyond[1:], statistics.median(beyond[1:])) | {"most": most}


def papermill_overhead(most: float) -> Figure:
    """Measure the same through the papermill command, from its start to its end."""
    beyond = []
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.ipynb"
        for seed in range(4):  # the first one warms the disk cache
            words = ["-p", "train_size", "1000", "-p", "epochs", "1", "-p", "seed", str(seed)]
            start = time.perf_counter()
            subprocess.run(
                [Path(sys.executable).with_name("papermill"), "book/q1a.ipynb", out, *words],
                cwd=paths.PROJECT, check=True, capture_output=True,
            )  # fmt: skip
            beyond.append(time.perf_counter() - start - _cells(out))
    return _values(beyond[1:], statistics.median(beyond[1:])) | {"most": most}


def _cells(path: Path) -> float:
    """Return the seconds of the cells that train and evaluate."""
    cells = json.loads(path.read_text())["cells"]
    return sum(
        cell["metadata"]["papermill"]["duration"]
        for cell in cells
        if any(call in "".join(cell["source"]) for call in ("train.fit(", "train.test("))
    )


MANY = 10_000  # recorded runs
# The mlops command, or the tables, with runs in another folder; ends with the memory it took.
IN_FOLDER = """
import os, resource, sys
from mlops_lib import cli, tables
os.environ["MLOPS_RUNS"] = sys.argv[1]
try:
    tables.all_runs() if sys.argv[2] == "tables" else cli.main(sys.argv[2:])
finally:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, file=sys.stderr)
"""


def many_runs(most: float) -> Figure:
    """Measure the slowest of dry run, status and tables over 10,000 recorded runs, in seconds."""
    seconds, gibibytes = {}, 0.0
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "many.yaml")
        seeds = f"{{seed: [{', '.join(map(str, range(MANY)))}]}}"
        file.write_text(
            "description: many runs\ngrids:\n  - template: q1b\n"
            f"    fixed: {{dataset: digits, train_size: 400}}\n    grid: {seeds}\n"
        )
        slots = find_slots(str(file), suite.read(str(file)), Path(folder, "runs"))
        first = next(grid.execute_all(slots[:1])).record
        for slot in slots[1:]:
            parameters = slot.run.parameters.model_dump(mode="json")
            made = first.model_copy(update={"key": slot.key, "parameters": parameters})
            record.write(made, slot.record)
        for words in (["run", str(file), "--dry-run"], ["status", str(file)], ["tables"]):
            start = time.perf_counter()
            taken = _mlops(Path(folder, "runs"), *words)
            seconds[words[0]] = time.perf_counter() - start
            gibibytes = max(gibibytes, float(taken.split()[-1]))
    return _values(list(seconds.values()), max(seconds.values())) | {
        "most": most, "each": seconds, "gibibytes": gibibytes,
    }  # fmt: skip


def jobs(least: float) -> Figure:
    """Compare the suite `quick` with --jobs 2 to the same, a run at a time: once each."""
    seconds = {}
    for count in (1, 2):
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            _mlops(Path(folder), "run", "quick", "--jobs", str(count))
            seconds[count] = time.perf_counter() - start
    gain = seconds[1] / seconds[2]
    return _values([gain], gain) | {"least": least, "seconds": seconds}


def nothing_to_do(most: float) -> Figure:
    """Measure `mlops run smoke` where every run is recorded, from its start to its end."""
    taken = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(6):
            start = time.perf_counter()
            _mlops(Path(folder), "run", "smoke")
            taken.append(time.perf_counter() - start)
    return _values(taken[1:], statistics.median(taken[1:])) | {"most": most}


def build(way: str, most: float) -> Figure:
    """Measure the build of the recorded runs' book: from nothing, unchanged, a record changed."""
    taken = book_builds.builds()[way]
    return _values(taken, statistics.median(taken)) | {"most": most, "seconds": taken}


def false_verdicts(most: float) -> Figure:
    """Draw 2,000 tables for each of 12 known cases; the figure is the worst share of wrong words.

    Half a point above 5 % is what 2,000 draws may differ by.
    """
    from simulated import false_verdicts  # of the tests

    shares = false_verdicts(2_000)
    return _values(list(shares.values()), max(shares.values())) | {"most": most, "each": shares}


def _mlops(folder: Path, *words: str) -> str:
    """Run the mlops command with its runs in another folder; return what it writes to stderr."""
    command = [sys.executable, "-c", IN_FOLDER, str(folder), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stderr


# Name → what measures it.
FIGURES: dict[str, Callable[[], Figure]] = {
    "ResNet-18, 28x28, batch 16: times the plain loop": lambda: against_plain(3.5, 60, batch=16),
    "ResNet-18, 28x28, batch 32: times the plain loop": lambda: against_plain(2.7, 40, batch=32),
    "ResNet-50, 28x28, batch 16: times the plain loop": lambda: against_plain(
        2.0, 25, batch=16, model="resnet50"
    ),
    "ResNet-18, 224x224, batch 16: times the plain loop": lambda: against_plain(
        3.0, 3, batch=16, size=224
    ),
    "ResNet-50, 224x224, batch 16: times the plain loop": lambda: against_plain(
        3.0, 3, batch=16, size=224, model="resnet50"
    ),
    "ResNet-18, 28x28, batch 16: times the fastest peer": lambda: against_peers(3.0, 60),
    "two ResNet-18 side by side: times the plain loop": lambda: pair_against_plain(
        5.0, 60, batch=16
    ),
    "evaluation of 14,000 images: times the plain loop": lambda: evaluation(1.5),
    "a q1a run in a grid, beyond training and evaluation (s)": lambda: overhead(2.0),
    "a q1a run through papermill, beyond training and evaluation (s)": (
        lambda: papermill_overhead(8.0)
    ),
    "10,000 recorded runs: the slowest of dry run, status and tables (s)": lambda: many_runs(5.0),
    "a suite with nothing to do, the whole command (s)": lambda: nothing_to_do(2.0),
    "the suite quick with --jobs 2: times a run at a time": lambda: jobs(1.0),
    speed.BOOK_NEW: lambda: build("from nothing", 75),
    "the book unchanged (s)": lambda: build("unchanged", 15),
    speed.BOOK_CHANGED: lambda: build("one record changed", 25),
    "verdicts on tables of known effects: wrong ones, worst of 12 cases (%)": (
        lambda: false_verdicts(5.5)
    ),
    "SVM fit + predict, 49,000 images: times scikit-learn": lambda: svm(6.0),
    "test accuracy, fast and plain: distance of means in spreads over seeds": (
        lambda: same_accuracy(1.0)
    ),
    "SVM predictions equal to libsvm's, least of 12 cases (%)": lambda: agreement(99.97),
}
TRICKS = ["taps", "small_maps", "pooling", "norms", "adam", "memory"]
if hardware.prepare("cpu").amp_dtype != torch.float32:
    TRICKS = ["taps", "few_pixels", "pooling", "norms", "adam", "memory"]  # in bfloat16
for _trick in TRICKS:
    FIGURES[f"ResNet-18, 28x28, batch 16, without {_trick}: times a step with it"] = partial(
        without, _trick, 1.03
    )
if machine.cuda_is_present():
    FIGURES |= {
        "CUDA, ResNet-18, 28x28, batch 16: times the plain loop": lambda: cuda("resnet18", 5.0),
        "CUDA, ResNet-18, 28x28, batch 16: a step (ms)": lambda: cuda_step(0.9, "resnet18", 5.0),
        "CUDA, ResNet-50, 28x28, batch 16: times the plain loop": lambda: cuda("resnet50", 3.0),
        "CUDA, ResNet-50, 28x28, batch 16: a step (ms)": lambda: cuda_step(2.3, "resnet50", 3.0),
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests/benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="measure figures whose name contains this text")
    only = parser.parse_args().only
    machine, measured = speed.machine(), speed.read()
    kept = measured.get(machine, {}) if only else {}
    chosen = [name for name in FIGURES if only in name]
    if not chosen:
        parser.error(f"--only {only!r}: no figure is called so; there are {', '.join(FIGURES)}")
    for name in chosen:
        figure = FIGURES[name]() | {"commit": provenance.commit()}
        print(_line(name, figure), flush=True)
        kept[name] = figure
        measured[machine] = {name: kept[name] for name in FIGURES if name in kept}
        speed.BENCHMARKS.write_text(json.dumps(measured, indent=1, default=float) + "\n")
    short = [name for name in chosen if speed.is_short(kept[name])]
    print(
        f"{len(chosen) - len(short)} of {len(chosen)} figures are what they should be", flush=True
    )
    return 1 if short else 0


def _line(name: str, figure: Figure) -> str:
    spread = f"{figure['low']:.2f} to {figure['high']:.2f}, n={figure['n']}"
    mark = "  SHORT" if speed.is_short(figure) else ""
    return f"{name}: {figure['median']:.2f} ({spread}), wanted {speed.wanted(figure)}{mark}"


if __name__ == "__main__":
    sys.exit(main())

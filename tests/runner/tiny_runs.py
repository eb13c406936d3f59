"""Runs of less than a second, and runners that execute them."""

import subprocess
import sys
from pathlib import Path

import psutil

from mlops_lib.params import Q1b
from mlops_lib.record import Record
from mlops_lib.runner import suite
from mlops_lib.runner.slot import find_slots

FOLDER = Path(__file__).parent
# The mlops command with its runs in another folder; it heeds SIGINT and SIGQUIT, which shells keep
# from what they start in the background, tests included. First it imports a module of `FOLDER`.
RUNNER = (
    "import importlib, os, signal, sys; from mlops_lib import cli; "
    f"sys.path.insert(0, {str(FOLDER)!r}); importlib.import_module(sys.argv[1]); "
    "signal.signal(signal.SIGINT, signal.default_int_handler); "
    "signal.signal(signal.SIGQUIT, signal.SIG_DFL); "
    "os.environ['MLOPS_RUNS'] = sys.argv[2]; cli.main(sys.argv[3:])"
)
LIGHT_WORKERS = {"DASK_DISTRIBUTED__WORKER__PRELOAD": str(FOLDER / "light.py")}


def tiny(count):
    """Return that many runs of less than a second each, the same to the bit on any cores."""
    return [
        suite.Run("q1b", Q1b(backend="libsvm", dataset="digits", train_size=200, C=1 + number / 8))
        for number in range(count)
    ]


def written(path, count):
    """Write a suite file of tiny runs."""
    values = ", ".join(f"[{run.parameters.C[0]}]" for run in tiny(count))
    path.write_text(
        "description: tiny runs\n"
        "grids:\n"
        "  - template: q1b\n"
        "    fixed: {backend: libsvm, dataset: digits, train_size: 200}\n"
        f"    grid: {{C: [{values}]}}\n"
    )
    return path


def tiny_slots(folder, count):
    return find_slots("tiny", tiny(count), folder)


def start(folder, *words, light=True, **options):
    """Start a runner whose runs are kept in a folder; `light`: its kernels need no torch."""
    return subprocess.Popen(
        [sys.executable, "-c", RUNNER, "light" if light else "os", str(folder),
         *map(str, words)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options,
    )  # fmt: skip


def assert_gone(processes):
    """Check that processes end within 30 s; what waits for its parent to notice has ended."""
    _, alive = psutil.wait_procs(processes, timeout=30)
    assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


def outcome_of(made: Record):
    """Return what a repeated run must reproduce: all but times and paths."""

    def timeless(value):
        if isinstance(value, dict):
            return {k: timeless(v) for k, v in value.items() if "seconds" not in k}
        return [timeless(item) for item in value] if isinstance(value, list) else value

    return made.key, made.parameters, timeless(made.results)

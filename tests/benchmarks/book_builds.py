"""Seconds of building the recorded runs' book: from nothing, unchanged, one record changed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path

from mlops_lib import paths

ROUNDS = 3
BUILT_FROM = ("book", "mlops_lib", "params")
WAYS = ("from nothing", "unchanged", "one record changed")


@cache
def builds() -> dict[str, list[float]]:
    """Build a copy of the book in each way, in turn, `ROUNDS` times; return the seconds."""
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory(prefix="mlops-") as folder:
        project = Path(folder)
        unbuilt = shutil.ignore_patterns("_build", "__pycache__")
        for name in BUILT_FROM:
            shutil.copytree(paths.PROJECT / name, project / name, symlinks=True, ignore=unbuilt)
        record = next(project.glob("book/runs/*/q1a/*.json"))
        for _ in range(ROUNDS):
            shutil.rmtree(project / "book" / "_build", ignore_errors=True)
            seconds["from nothing"].append(_build(project))
            seconds["unchanged"].append(_build(project))
            _change(record)
            seconds["one record changed"].append(_build(project))
    return seconds


def _build(project: Path) -> float:
    """Build the book of a folder; return the seconds of the whole command."""
    command = [sys.executable, "-m", "mlops_lib", "report"]
    here = os.environ | {"PYTHONPATH": str(project)}
    start = time.perf_counter()
    subprocess.run(command, cwd=project, env=here, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def _change(record: Path) -> None:
    """Let the training of a record have taken a second more."""
    content = json.loads(record.read_text(encoding="utf-8"))
    content["results"]["train_seconds"] += 1
    record.write_text(json.dumps(content), encoding="utf-8")

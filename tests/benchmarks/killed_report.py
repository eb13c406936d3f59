"""Kill `make report` in each of its stages and give it again: it resumes, and does nothing twice.

    python tests/benchmarks/killed_report.py

It works in a clone of this checkout's last commit, takes some minutes and 6 GB of disk, and ends
with exit code 1 if something was done twice.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
COMMAND = ["make", "report", "SUITE=smoke", f"PYTHON={sys.executable}"]
PACKAGES = ".venv/lib/python*/site-packages/"
# Stage → a file that is there in the middle of it, and all that it leaves.
STAGES = {
    "install": (f"{PACKAGES}torch-*.dist-info", f"{PACKAGES}*.dist-info/INSTALLER"),
    "data": ("data/**/*-ubyte", "data/**/*-ubyte"),
    "training": ("book/runs/smoke/*/*.json", "book/runs/smoke/*/*.json"),
    "book": ("book/_build/html/_static/*", ""),  # it is built again
}
OURS = ("MLOPS_", "PYTHONPATH", "VIRTUAL_ENV")  # settings that would lead out of the clone
Kept = dict[Path, tuple[int, int]]


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="mlops-") as folder:
        project = Path(folder, "project")
        subprocess.run(["git", "clone", "-q", str(PROJECT), str(project)], check=True)
        kept: Kept = {}
        repeated: set[Path] = set()
        for stage, (reached, left) in STAGES.items():
            seconds = _killed_when(project, reached)
            repeated |= {path for path, mark in kept.items() if _mark(path) != mark}
            kept |= {path: _mark(path) for path in project.glob(left or "none")}
            print(f"{stage}: killed after {seconds:.0f} s, with {len(kept)} files kept", flush=True)
        start = time.monotonic()
        code = _start(project).wait()
        repeated |= {path for path, mark in kept.items() if _mark(path) != mark}
        print(f"the last: exit code {code} after {time.monotonic() - start:.0f} s")
        print(
            f"{len(repeated)} of {len(kept)} files were made twice", *sorted(repeated), sep="\n  "
        )
    return int(bool(code or repeated))


def _start(project: Path) -> subprocess.Popen:
    here = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    with _log(project).open("w") as log:
        return subprocess.Popen(
            COMMAND, cwd=project, env=here, stdout=log, stderr=log, start_new_session=True
        )


def _log(project: Path) -> Path:
    return project.with_name("log")


def _killed_when(project: Path, reached: str) -> float:
    """Start the command; kill all of it when there is such a file; return the seconds."""
    start = time.monotonic()
    process = _start(project)
    while not any(project.glob(reached)):
        if process.poll() is not None:
            raise RuntimeError(f"make ended before it was killed: {_log(project).read_text()}")
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return time.monotonic() - start


def _mark(path: Path) -> tuple[int, int]:
    """Return what changes if a file is written again; (0, 0) if it is gone."""
    if not path.exists():
        return 0, 0
    found = path.stat()
    return found.st_ino, found.st_mtime_ns


if __name__ == "__main__":
    sys.exit(main())

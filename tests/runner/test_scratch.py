"""The scratch folder: removed at the end, or by the next runner."""

import subprocess
import sys

MAKE = """
import sys, os
from mlops_lib.runner import scratch
made = scratch.folder()
made.joinpath("socket").touch()
print(made, flush=True)
sys.stdin.read(1)
"""


def start(parent):
    process = subprocess.Popen(
        [sys.executable, "-c", MAKE],
        env={"TMPDIR": str(parent)}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    return process, process.stdout.readline().strip()


def folders(parent):
    return {str(path) for path in parent.iterdir() if path.is_dir()}


def test_what_a_killed_process_leaves_is_removed_by_the_next(tmp_path):
    tmp_path.joinpath("mlops-mine").mkdir()  # of someone else
    killed, dead = start(tmp_path)
    living, alive = start(tmp_path)
    assert folders(tmp_path) == {dead, alive, str(tmp_path / "mlops-mine")}
    killed.kill()
    killed.wait()
    ended, last = start(tmp_path)
    assert folders(tmp_path) == {alive, last, str(tmp_path / "mlops-mine")}
    for process in (living, ended):
        process.communicate("x")
    assert folders(tmp_path) == {str(tmp_path / "mlops-mine")}

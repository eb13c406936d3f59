"""A run, and a small book of it, on machines that are set up differently from ours.

Settings that can't hide one another share a run: each takes some seconds.
"""

import os
import re
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from PIL import Image

from mlops_lib import record

ODD = "a b {c} é #1 %20"  # in a path: what other programs may take for a pattern
USER = 65534
SUITE = """\
description: a run of each template, of some seconds in all
grids:
  - template: q1b
    fixed: {backend: libsvm, dataset: digits, train_size: 200, C: 1.0}
  - template: q1a
    fixed: {dataset: digits, train_size: 100, epochs: 1}
  - template: q2
    fixed: {dataset: digits, train_size: 100, epochs: 1}
"""
BOOK = """\
format: jb-book
root: why
chapters:
  - file: all_runs
  - file: glossary
"""
# As in a container, on a server without locales, in CI, and for who prints figures for a journal.
SETTINGS = {
    "LC_ALL": "C",
    "FORCE_COLOR": "1",
    "TTY_COMPATIBLE": "1",
    "TTY_INTERACTIVE": "1",
    "PY_COLORS": "1",
}
PLACES = ("MLOPS_DATA", "MLOPS_RUNS", "MLOPS_CHECKPOINTS", "MLOPS_BUILD")


@pytest.fixture
def place():
    """Return a folder that every user may enter; pytest's own are for its user alone."""
    with tempfile.TemporaryDirectory(prefix="mlops-tests-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def checkout(place, copy_project):
    """Return a copy of the project with a book of two pages and those of the runs."""
    project = place / ODD
    project.mkdir()
    copy_project(project)
    (project / "book" / "_toc.yml").write_text(BOOK)
    (project / "tiny.yaml").write_text(SUITE)
    return project


def mlops(checkout, before, *words, **settings):
    """Run the command in a checkout after what bash is to do; return what it prints."""
    command = [sys.executable, "-m", "mlops_lib", *words]
    ours = ("MLOPS_", "TORCHINDUCTOR_")  # set by tests, and by torch
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    done = subprocess.run(
        ["bash", "-c", f'{before} "$@"', "bash", *command], cwd=checkout,
        env=kept | {"PYTHONPATH": str(checkout)} | settings, capture_output=True, text=True,
    )  # fmt: skip
    printed = done.stdout + done.stderr
    assert done.returncode == 0, printed[-4000:]
    assert not re.search("\x1b|WARNING|Traceback", printed), printed[-4000:]
    return done.stdout.splitlines()


def assert_whole(runs, html):
    """See that the run has its record and the book its page of results."""
    (path,) = runs.glob("tiny/q1b/*.json")
    accuracy = record.read(path).results["test_accuracy"]
    assert f"{100 * accuracy:.2f} (" in (html / "all_runs.html").read_text()
    assert "\x1b" not in (html.parent / "build.log").read_text()


def test_settings_of_a_user_and_of_a_system(checkout, place):
    startup = place / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "00.py").write_text("import builtins; del builtins.print, builtins.len")
    (place / "matplotlibrc").write_text("text.usetex: True\nsavefig.dpi: 600\n")
    scratch = place / f"{ODD} [x]"
    scratch.mkdir()
    settings = SETTINGS | {
        "TMPDIR": str(scratch), "MATPLOTLIBRC": str(place / "matplotlibrc"),
        "IPYTHONDIR": str(startup.parents[1]), "PYTHONSTARTUP": str(startup / "00.py"),
    }  # fmt: skip
    before = "umask 077; unset HOME; ulimit -n 128; exec"
    said = mlops(checkout, before, "run", "tiny.yaml", **settings)
    assert said[-1].startswith("[3/3]") and "test accuracy" in said[-1] and len(said) < 20
    said = mlops(checkout, before, "report", "--suite", "tiny.yaml", **settings)
    html = checkout / "book" / "_build" / "html"
    assert said[-1] == f"The book: {html / 'index.html'}"
    assert_whole(checkout / "book" / "runs", html)
    (page,) = html.glob("runs/tiny/q1b/*.html")
    for path in (html / "all_runs.html", page, *(checkout / "book" / "runs").glob("tiny/*/*")):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    widths = [Image.open(path).width for path in html.glob("_images/*.png")]
    assert widths and max(widths) < 1000


# In mounts of its own, which end with it: a Python that every user can read, a read-only checkout
# and a folder for scratch files from which nothing can be executed; then as another user.
AS_ANOTHER = """\
set -e
if [ -n "$CLOSED" ]; then
    mount --rbind "$PYTHON" "$PLACE/python"
    mount -t tmpfs -o mode=755 tmpfs "$CLOSED"
    mkdir -p "$PYTHON"
    mount --rbind "$PLACE/python" "$PYTHON"
fi
mount -t tmpfs -o noexec,mode=1777 tmpfs "$TMPDIR"
mount --bind "$PWD" "$PWD"
mount -o remount,bind,ro "$PWD"
cd "$PWD"
exec setpriv --reuid 65534 --regid 65534 --clear-groups "$@"
"""


@pytest.fixture
def another_user(place):
    """Return what starts a command as another user, and its environment."""
    python = Path(os.path.realpath(sys.base_prefix))
    closed = [str(path) for path in python.parents if not path.stat().st_mode & stat.S_IXOTH]
    for name in ("python", "scratch", "own"):
        (place / name).mkdir()
    os.chown(place / "own", USER, USER)
    (place / "as_another.sh").write_text(AS_ANOTHER)
    before = f"exec unshare -m bash {place}/as_another.sh"
    settings = {name: str(place / "own" / name) for name in PLACES} | {
        "TMPDIR": str(place / "scratch"), "HOME": "/nonexistent", "PLACE": str(place),
        "PYTHON": str(python), "CLOSED": (closed or [""])[-1],
    }  # fmt: skip
    command = ["bash", "-c", f'{before} "$@"', "bash", sys.executable, "-c", "import numpy"]
    can = os.geteuid() == 0 and subprocess.run(
        command, cwd=place / "own", env=os.environ | settings, capture_output=True
    )
    if not can or can.returncode:
        pytest.skip("no root, no mounts, or an environment that other users can't read")
    return before, settings


def test_another_user_in_a_checkout_that_is_not_theirs(checkout, place, another_user):
    before, settings = another_user
    with pytest.raises(AssertionError, match="set MLOPS_BUILD"):
        mlops(checkout, before, "report", **settings | {"MLOPS_BUILD": ""})
    said = mlops(checkout, before, "run", "tiny.yaml", **settings)
    assert said[-1].startswith("[3/3]") and "test accuracy" in said[-1]
    said = mlops(checkout, before, "report", "--suite", "tiny.yaml", **settings)
    html = place / "own" / "MLOPS_BUILD" / "_build" / "html"
    assert said[-1] == f"The book: {html / 'index.html'}"
    assert_whole(place / "own" / "MLOPS_RUNS", html)
    assert {path.stat().st_uid for path in (place / "own").rglob("*")} == {USER}

"""What several tests share: tiny data, and one executed smoke run of each kind."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from mlops_lib import machine

# Where `tmp_path` stays, also for workers of pytest-xdist.
os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())
SCRATCH = tempfile.TemporaryDirectory(
    prefix="mlops-tests-", dir=os.environ["PYTEST_DEBUG_TEMPROOT"], ignore_cleanup_errors=True
)
# For what tests and the processes that they kill leave behind, and for the runner's lock of a q2
# run: else tests wait for that of a user.
os.environ["TMPDIR"] = tempfile.tempdir = SCRATCH.name
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # tests side by side need each other's cores
os.environ["MLOPS_CHECKPOINTS"] = f"{SCRATCH.name}/checkpoints"
if not machine.cuda_is_present():
    os.environ["TRITON_INTERPRET"] = "1"  # read once, when anything imports Triton
PROJECT = Path(__file__).resolve().parents[1]
COPIED = ("book", "mlops_lib", "params")  # what a book is built from


def pytest_itemcollected(item):
    """Let one worker of pytest-xdist have all tests of a thing that takes long to make."""
    fixtures = getattr(item, "fixturenames", ())
    if "filled" in fixtures or "smoke" in fixtures:  # the book of the smoke runs
        item.add_marker(pytest.mark.xdist_group("smoke"))
    if "undisturbed" in fixtures:  # runs that disturbed ones are compared with
        item.add_marker(pytest.mark.xdist_group("undisturbed"))


@pytest.fixture(autouse=True)
def _environment():
    """Undo what a test changes in the environment; Dask's worker keepers set OMP_NUM_THREADS=1."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def small():
    """Return 60 random images, uint8 (60, 28, 28), and labels 0..9, six of each."""
    import numpy as np

    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (60, 28, 28), dtype=np.uint8)
    return images, np.arange(60, dtype=np.int64) % 10


@pytest.fixture
def matplotlibrc():
    """Set what the settings of a user may be; see that they are the same after the test."""
    import matplotlib.pyplot as plt

    theirs = {"text.usetex": True, "savefig.dpi": 600, "axes.facecolor": "red", "font.size": 30}
    with plt.rc_context(theirs):
        yield
        assert {name: plt.rcParams[name] for name in theirs} == theirs


@pytest.fixture(scope="session")
def digits():
    """Return scikit-learn's digits for an SVM: training and test part, (rows, labels) each."""
    import numpy as np
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    rows = (images / 16).astype(np.float32)
    return (rows[:900], labels[:900]), (rows[900:], labels[900:])


@pytest.fixture
def runs(tmp_path):
    """Return a function that writes records and reads them as a table."""
    from mlops_lib import record, tables

    def write_and_read(*records):
        for number, made in enumerate(records):
            record.write(made, tmp_path / "suite" / made.template / f"{number}.json")
        return tables.all_runs(tmp_path)

    return write_and_read


@pytest.fixture(scope="session")
def smoke(tmp_path_factory):
    """Execute the smoke suite once, through the runner; return its outcomes."""
    from mlops_lib.runner import grid, suite
    from mlops_lib.runner.slot import find_slots

    folder = tmp_path_factory.mktemp("runs")
    os.environ.pop("MLOPS_DATA", None)
    slots = find_slots("smoke", suite.read("smoke"), folder)
    return list(grid.execute_all(slots))


@pytest.fixture(scope="session")
def executed(smoke):
    """Return the first smoke run of each template as (slot, record)."""
    found = {}
    for outcome in smoke:
        assert outcome.error is None, outcome.error
        found.setdefault(outcome.slot.run.template, (outcome.slot, outcome.record))
    return found


@pytest.fixture(scope="session")
def filled(tmp_path_factory, smoke):
    """Return the folder of the book of the smoke runs, as HTML: what `mlops report` builds."""
    project = _copied(tmp_path_factory.mktemp("filled"))
    shutil.copytree(smoke[0].slot.folder, project / "book" / "runs" / "smoke")
    command = [sys.executable, "-m", "mlops_lib", "report", "--suite", "smoke"]
    *said, last = _built(command, project).splitlines()
    html = project / "book" / "_build" / "html"
    assert last == f"The book: {html / 'index.html'}"
    assert [": test accuracy " in line for line in said] == [False] + [True] * len(smoke)
    return html


def _copied(project):
    """Copy what a book is built from into a folder, without runs; return the folder."""
    ignore = shutil.ignore_patterns("_build", "runs", "__pycache__")
    for name in COPIED:
        shutil.copytree(PROJECT / name, project / name, symlinks=True, ignore=ignore)
    return project


def _without_links(project):
    """Make each symbolic link a text file, as git does where `core.symlinks` is false."""
    for path in [path for path in project.rglob("*") if path.is_symlink()]:
        target = os.readlink(path)
        path.unlink()
        path.write_text(target)
    return project


def _built(command, project):
    """Run what builds a book without a warning; return what it prints."""
    environment = os.environ | {"PYTHONPATH": str(project)}
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    assert "WARNING" not in done.stdout + done.stderr
    return done.stdout


def _build_book(project):
    """Build the book without runs in a folder, warnings as errors; return that of the HTML."""
    command = Path(sys.executable).with_name("jupyter-book")
    _built([command, "build", "book", "-W", "-n", "--keep-going"], _without_links(_copied(project)))
    return project / "book" / "_build" / "html"


@pytest.fixture(scope="session")
def copy_project():
    """Return the function that copies what a book is built from into a folder."""
    return _copied


@pytest.fixture(scope="module")
def browser():
    """Return the system's Chromium, driven by Playwright."""
    from playwright.sync_api import sync_playwright

    from mlops_lib.publish import build

    if (chromium := build.browser()) is None:
        pytest.skip("no Chromium here")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        yield started
        started.close()


@pytest.fixture(scope="session")
def build_book():
    """Return the function that builds the book in a folder, and returns that of the HTML."""
    return _build_book

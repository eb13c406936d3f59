"""Workers of a Dask cluster whose environment is not that of the runner."""

import shutil
import subprocess
import sys

import pytest
from tiny_runs import LIGHT_WORKERS, start, tiny_slots, written

from mlops_lib import paths
from mlops_lib.runner import cluster, grid
from mlops_lib.runner.grid import Options


@pytest.fixture
def scheduler():
    """Return the address of a scheduler without workers."""
    from distributed import LocalCluster

    with LocalCluster(n_workers=0, dashboard_address=None) as started:
        yield started.scheduler_address


@pytest.fixture
def start_worker(scheduler, tmp_path):
    """Return a function that starts a worker which finds its modules in a folder first."""
    started = []

    def start_one(path):
        command = [sys.executable, "-m", "distributed.cli.dask_worker", scheduler, "--nthreads=1"]
        options = ["--no-dashboard", "--no-nanny", f"--local-directory={tmp_path}"]
        process = subprocess.Popen(
            [*command, *options],
            cwd=path,
            env={"PYTHONPATH": str(path)} | (LIGHT_WORKERS if path == paths.PROJECT else {}),
        )
        started.append(process)
        return process

    yield start_one
    for worker in started:
        worker.kill()
        worker.wait()


def without_project(folder):
    """Return a folder in which there is no project to import."""
    package = folder / "without" / "mlops_lib"
    package.mkdir(parents=True)
    package.joinpath("__init__.py").write_text("raise ModuleNotFoundError('no such project')")
    return package.parent


def with_other_code(folder):
    """Return a folder with another version of the project."""
    package = folder / "other" / "mlops_lib"
    shutil.copytree(paths.PROJECT / "mlops_lib", package)
    package.joinpath("svm.py").open("a").write("\n")
    return package.parent


def wait_for(scheduler, count):
    from distributed import Client

    with Client(scheduler, set_as_default=False) as client:
        client.wait_for_workers(count, timeout=60)


@pytest.mark.parametrize(
    ("unfit", "said"), [(without_project, "no such project"), (with_other_code, "other code")]
)
def test_a_worker_that_lacks_this_code_is_named(tmp_path, scheduler, start_worker, unfit, said):
    worker = start_worker(unfit(tmp_path))
    wait_for(scheduler, 1)
    file = written(tmp_path / "tiny.yaml", 3)
    runner = start(tmp_path / "runs", "run", file, "--scheduler", scheduler)
    assert runner.wait(timeout=60) == 1
    printed = runner.stdout.read()
    assert said in printed
    assert "tcp://" in printed
    assert "Traceback" not in printed
    assert worker.poll() is None  # it serves others
    assert not list(tmp_path.glob("runs/*/*/*.ipynb"))


def test_a_worker_that_lacks_this_code_costs_the_others_nothing(tmp_path, scheduler, start_worker):
    start_worker(without_project(tmp_path))
    start_worker(paths.PROJECT)
    wait_for(scheduler, 2)
    slots = tiny_slots(tmp_path / "runs", 2)
    outcomes = list(grid.execute_all(slots, Options(jobs=2, scheduler=scheduler)))
    assert [outcome.error for outcome in outcomes] == [None] * 2


def test_a_worker_that_lacks_this_code_may_come_later(tmp_path, scheduler, start_worker):
    how = Options(
        scheduler=scheduler, on_start=lambda slot: start_worker(without_project(tmp_path))
    )
    (outcome,) = grid.execute_all(tiny_slots(tmp_path / "runs", 3), how)
    assert "no such project" in outcome.error
    assert not list(tmp_path.glob("runs/*/*/*.ipynb"))


def test_workers_that_are_lost_end_the_wait(tmp_path, scheduler, start_worker, monkeypatch):
    monkeypatch.setattr(cluster, "LOST_SECONDS", 2)
    worker = start_worker(paths.PROJECT)
    wait_for(scheduler, 1)
    slots = tiny_slots(tmp_path / "runs", 3)
    said = []
    how = Options(
        scheduler=scheduler,
        on_start=lambda slot: worker.kill(),
        on_output=lambda slot, text: said.append(text),
    )
    (outcome,) = grid.execute_all(slots, how)
    assert "lost" in outcome.error
    assert any("no worker" in text for text in said)

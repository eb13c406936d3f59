"""Grids executed for real, disturbed in every way, on tiny SVM runs of the 8x8 digits."""

import contextlib
import os
import random
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import psutil
import pytest
from tiny_runs import LIGHT_WORKERS, assert_gone, outcome_of, start, tiny_slots, written

from mlops_lib import record
from mlops_lib.runner import grid, kernels
from mlops_lib.runner.grid import Options

KILLS = 3
RUNS = 9  # more than are done before the last kill


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Return what every tiny run gives when nothing disturbs it, by its slug."""
    slots = tiny_slots(tmp_path_factory.mktemp("undisturbed"), RUNS)
    outcomes = list(grid.execute_all(slots, Options(jobs=2)))
    assert all(outcome.error is None for outcome in outcomes)
    return {outcome.slot.run.slug: outcome_of(outcome.record) for outcome in outcomes}


def assert_all_done(slots, undisturbed):
    for slot in slots:
        assert slot.status() == "done", slot.title
        assert outcome_of(record.read(slot.record)) == undisturbed[slot.run.slug]
    left = [path for path in slots[0].folder.rglob("*") if path.name.startswith(".")]
    assert not left


def test_a_killed_runner_leaves_no_process_and_costs_nothing_that_was_done(tmp_path, undisturbed):
    chance = random.Random(0)
    file = written(tmp_path / "tiny.yaml", RUNS)
    slots = tiny_slots(tmp_path / "runs", RUNS)
    done = {}
    for number in range(KILLS):
        runner = start(tmp_path / "runs", "run", file, "--jobs", "2")
        if number % 2:  # every other one is killed after its first run, the others earlier
            next((line for line in runner.stdout if " s in all" in line), None)
        time.sleep(chance.uniform(0, 3))
        children = psutil.Process(runner.pid).children(recursive=True)
        runner.kill()
        runner.wait()
        assert_gone(children)
        for path, content in done.items():
            assert path.read_bytes() == content  # was not run a second time
        done = {slot.record: slot.record.read_bytes() for slot in slots if slot.status() == "done"}
    assert done
    runner = start(tmp_path / "runs", "run", file, "--jobs", "2")
    assert runner.wait(timeout=120) == 0, runner.stdout.read()
    assert_all_done(slots, undisturbed)


@pytest.mark.parametrize("fault", ["", "; raise OSError('no such library')"])
def test_a_server_that_can_not_import_ends_the_wait_for_it(tmp_path, fault):
    seconds = 1 if fault else 60
    (tmp_path / "torchvision.py").write_text(f"import time; time.sleep({seconds}){fault}")
    file = written(tmp_path / "tiny.yaml", 1)
    slow = os.environ | {"PYTHONPATH": str(tmp_path)}
    runner = start(tmp_path / "runs", "run", file, light=False, env=slow, start_new_session=True)
    assert any("…" in line for line in runner.stdout)  # a run has started
    if fault:
        assert "EOFError" in runner.stdout.read()
        assert runner.wait() == 1
        return
    time.sleep(2)  # it imports by now
    os.killpg(runner.pid, signal.SIGINT)  # as a terminal does
    assert runner.wait(timeout=20) == 130
    said = runner.stdout.read()
    assert "run it again to resume" in said and "Traceback" not in said


def test_a_killed_kernel_costs_its_run_alone(tmp_path, undisturbed):
    chance = random.Random(0)
    slots = tiny_slots(tmp_path, 8)
    finished = threading.Event()

    def kill_kernels():
        for _ in range(KILLS):
            time.sleep(chance.uniform(0.2, 1.5))
            kernels.end_all()
        finished.set()

    killer = threading.Thread(target=kill_kernels)
    killer.start()
    errors = [outcome.error for outcome in grid.execute_all(slots, Options(jobs=2))]
    while not finished.is_set():  # kills what is repeated, too
        errors += [outcome.error for outcome in grid.execute_all(slots, Options(jobs=2))]
    killer.join()
    assert any(
        "the kernel ended before the notebook did" in error for error in filter(None, errors)
    )
    list(grid.execute_all(slots, Options(jobs=2)))
    assert_all_done(slots, undisturbed)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_an_interrupted_runner_says_how_to_resume(tmp_path, monkeypatch, number):
    scratch = tempfile.mkdtemp()  # a path that is short enough for sockets
    monkeypatch.setenv("TMPDIR", scratch)
    file = written(tmp_path / "tiny.yaml", 12)
    runner = start(tmp_path / "runs", "run", file)
    assert any("…" in line for line in runner.stdout)  # a run has started
    children = psutil.Process(runner.pid).children(recursive=True)
    runner.send_signal(number)  # the server of the kernels still imports
    runner.send_signal(number)
    assert runner.wait(timeout=60) == 130
    (said,) = runner.stdout.read().splitlines()
    assert "run it again to resume" in said
    assert_gone(children)
    assert not [*Path(scratch).glob("mlops-*/"), *Path(scratch).glob("pymp-*")]


@pytest.mark.parametrize("all_of_it", [False, True])
def test_a_machine_that_sleeps_costs_nothing(tmp_path, undisturbed, all_of_it):
    """Kernels are in process groups of their own: they run on while only the runner's stands."""
    file = written(tmp_path / "tiny.yaml", 2)
    runner = start(tmp_path / "runs", "run", file, start_new_session=True)
    assert any("…" in line for line in runner.stdout)  # a run has started
    time.sleep(1)
    asleep = psutil.Process(runner.pid).children(recursive=True) if all_of_it else []
    os.killpg(runner.pid, signal.SIGSTOP)
    for process in asleep:
        process.suspend()
    time.sleep(6)  # longer than nbclient waits for output after a reply
    for process in asleep:
        process.resume()
    os.killpg(runner.pid, signal.SIGCONT)
    assert runner.wait(timeout=120) == 0
    assert_all_done(tiny_slots(tmp_path / "runs", 2), undisturbed)


def test_two_runners_share_a_suite(tmp_path, undisturbed):
    file = written(tmp_path / "tiny.yaml", 6)
    runners = [start(tmp_path / "runs", "run", file) for _ in range(2)]
    texts = [runner.communicate(timeout=120)[0] for runner in runners]
    assert [runner.returncode for runner in runners] == [0, 0], texts
    assert sum(text.count(" s in all") for text in texts) == 6
    assert_all_done(tiny_slots(tmp_path / "runs", 6), undisturbed)


@pytest.fixture
def light_workers(monkeypatch):
    """Let Dask workers that are started have kernels without torch."""
    for variable, value in LIGHT_WORKERS.items():
        monkeypatch.setenv(variable, value)


@pytest.mark.usefixtures("light_workers")
def test_workers_of_a_cluster_give_the_same_records(tmp_path, undisturbed):
    from distributed import Client, LocalCluster

    chance = random.Random(0)
    over = threading.Event()
    killed, all_slots = [], []
    with (
        LocalCluster(n_workers=3, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):

        def kill_workers():
            while len(killed) < KILLS and not over.wait(chance.uniform(1, 5)):
                for pid in list(client.run(os.getpid, on_error="ignore").values())[:1]:
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)

        killer = threading.Thread(target=kill_workers)
        killer.start()
        how = Options(jobs=64, scheduler=cluster.scheduler_address)
        while not all_slots or len(killed) < KILLS:
            slots = tiny_slots(tmp_path / str(len(all_slots)), 6 if all_slots else RUNS)
            all_slots.append(slots)
            assert len(list(grid.execute_all(slots, how))) == len(slots)
        over.set()
        killer.join()
    for slots in all_slots:
        list(grid.execute_all(slots))  # what lost more workers than Dask allows a task
        assert_all_done(slots, undisturbed)


def training(workers):
    """Return the processes that the workers' servers have forked and that are at work."""
    found = []
    for child in [child for worker in workers for child in worker.children()]:
        # Not all are kernels: an import may run a program, which may have ended by now.
        with contextlib.suppress(psutil.NoSuchProcess):
            found += [kernel for kernel in child.children() if kernel.cpu_times().user > 1]
    return found


@pytest.mark.usefixtures("light_workers")
def test_an_interrupt_ends_the_kernels_of_workers(tmp_path):
    from distributed import LocalCluster

    file = tmp_path / "long.yaml"
    many = list(range(1, 101))
    fixed = f"{{backend: libsvm, dataset: digits, C: {many}, gamma: {many}}}"
    file.write_text(
        f"description: long\ngrids: [{{template: q1b, fixed: {fixed}, grid: {{seed: [0, 1]}}}}]"
    )
    with LocalCluster(n_workers=3, threads_per_worker=1, dashboard_address=None) as cluster:
        workers = [psutil.Process(nanny.pid) for nanny in cluster.workers.values()]
        address = cluster.scheduler_address
        runner = start(tmp_path / "runs", "run", file, "--jobs", 2, "--scheduler", address)
        while not (busy := training(workers)):
            assert runner.poll() is None
            time.sleep(0.5)
        runner.send_signal(signal.SIGINT)
        assert "interrupted: 0 of 2 runs done" in runner.stdout.read()
        assert runner.wait() == 130
        assert_gone(busy)
    assert not list(tmp_path.glob("runs/long/*/*.json"))


def test_an_interrupt_ends_the_wait_for_a_worker(tmp_path):
    from distributed import LocalCluster

    file = written(tmp_path / "tiny.yaml", 3)
    with LocalCluster(n_workers=0, dashboard_address=None) as cluster:
        runner = start(tmp_path / "runs", "run", file, "--scheduler", cluster.scheduler_address)
        assert any("…" in line for line in runner.stdout)
        time.sleep(1)  # it waits by now
        runner.send_signal(signal.SIGINT)
        assert runner.wait(timeout=20) == 130


def test_a_full_disk_is_said_and_what_was_done_stays(tmp_path, undisturbed):
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", small])
    if mounted.returncode:
        pytest.skip("a small file system can't be mounted here")
    try:
        slots = tiny_slots(small, 5)
        outcomes = list(grid.execute_all(slots))
        full = [outcome for outcome in outcomes if outcome.error]
        good = [outcome.slot for outcome in outcomes if not outcome.error]
        assert full
        assert good
        assert all("No space left on device" in outcome.error for outcome in full)
        assert_all_done(good, undisturbed)
        subprocess.run(["mount", "-o", "remount,ro", small], check=True)
        (outcome,) = grid.execute_all([full[0].slot])
        assert "Read-only file system" in outcome.error
        assert_all_done(good, undisturbed)
    finally:
        subprocess.run(["umount", small], check=True)

"""Suites executed for real, disturbed in every way, on tiny SVM runs of the 8x8 digits."""

import contextlib
import ctypes
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from filelock import FileLock

from mlops_lib import record
from mlops_lib.params import Q2, ParameterError, Q1a, Q1b
from mlops_lib.record import Record
from mlops_lib.runner import execute as run
from mlops_lib.runner import grid, kernels, suite
from mlops_lib.runner import repeat as again
from mlops_lib.runner.execute import Performed
from mlops_lib.runner.grid import Options

KILLS = 10
RUNS = 30  # more than are done before the last kill
# The mlops command with its runs in another folder; it heeds an interrupt, which shells keep from
# what they start in the background, tests included.
RUNNER = (
    "import os, signal, sys; from mlops_lib import cli; "
    "signal.signal(signal.SIGINT, signal.default_int_handler); "
    "os.environ['MLOPS_RUNS'] = sys.argv[1]; cli.main(sys.argv[2:])"
)


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


def places(folder, count):
    return run.slots("tiny", tiny(count), folder)


def start(folder, *words, **options):
    return subprocess.Popen(
        [sys.executable, "-c", RUNNER, str(folder), *map(str, words)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options,
    )  # fmt: skip


def assert_gone(processes):
    """Check that processes end within 30 s; what waits for its parent to notice has ended."""
    _, alive = psutil.wait_procs(processes, timeout=30)
    assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


def outcome_of(made: Record):
    """Return what a repeated run must give again: all but times and places."""

    def timeless(value):
        if isinstance(value, dict):
            return {k: timeless(v) for k, v in value.items() if "seconds" not in k}
        return [timeless(item) for item in value] if isinstance(value, list) else value

    return made.key, made.parameters, timeless(made.results)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Return what every tiny run gives when nothing disturbs it, by its slug."""
    slots = places(tmp_path_factory.mktemp("undisturbed"), RUNS)
    outcomes = list(grid.execute_all(slots, Options(jobs=2)))
    assert all(outcome.error is None for outcome in outcomes)
    return {outcome.slot.run.slug: outcome_of(outcome.record) for outcome in outcomes}


def assert_all_done(slots, undisturbed):
    for slot in slots:
        assert slot.status() == "done", slot.title
        assert outcome_of(record.read(slot.record)) == undisturbed[slot.run.slug]
    left = [path for path in slots[0].folder.rglob("*") if path.name.startswith(".")]
    assert not left


def test_jobs_divide_the_machine(tmp_path):
    shares = kernels.shares(2)
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1:
        assert set(shares[0].cores).isdisjoint(shares[1].cores)
    assert all(share.threads == max(1, len(cores) // 2) for share in shares)
    outcomes = list(grid.execute_all(places(tmp_path, 2), Options(jobs=2)))
    assert {outcome.record.environment["cores"] for outcome in outcomes} == {shares[0].threads}


def test_a_container_with_a_quota_is_not_bound_to_the_first_cores(monkeypatch):
    if len(os.sched_getaffinity(0)) > 1:
        assert kernels.shares(1)[0].cores
        monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")
        assert kernels.shares(1)[0].cores == ()
        assert kernels.shares(1)[0].threads == 1


def test_a_grid_takes_as_many_threads_as_a_notebook_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    fixed = "{dataset: digits, train_size: 100, epochs: 1}"
    file = tmp_path / "one.yaml"
    file.write_text(
        f"description: one\ngrids: [{{template: q1a, fixed: {fixed}, grid: {{seed: [0]}}}}]"
    )
    assert start(tmp_path / "runs", "run", file).wait() == 0
    (path,) = tmp_path.glob("runs/one/q1a/*.json")
    assert record.read(path).environment["threads"] == 1


def test_each_of_several_gpus_has_its_own_job(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(kernels.machine, "cuda_count", lambda: 2)
    assert [share.gpu for share in kernels.shares(3)] == ["0", "1", "0"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert [share.gpu for share in kernels.shares(2)] == ["3", "5"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    assert [share.gpu for share in kernels.shares(2)] == [None, None]
    assert [share.gpu_shared for share in kernels.shares(2)] == [True, True]
    assert not kernels.shares(1)[0].gpu_shared


class Recorder:
    """A place that performs nothing and remembers how many tasks it had at a time."""

    def __init__(self, answers=()):
        self.jobs, self.answers = 64, list(answers)
        self.now, self.most, self.tasks = 0, {}, []

    def perform(self, task, on_output):
        self.tasks.append(task)
        self.now += 1
        self.most[task.template] = max(self.now, self.most.get(task.template, 0))
        time.sleep(0.05)
        self.now -= 1
        return self.answers.pop(0) if self.answers else Performed("{}", "made up", 0.0)

    def end_kernels(self):
        pass

    def close(self):
        pass


@pytest.fixture
def recorder(monkeypatch):
    recorder = Recorder()
    monkeypatch.setattr(grid, "_Here", lambda jobs: recorder)
    return recorder


def test_benchmarks_run_alone_and_last(tmp_path, recorder):
    runs = [suite.Run("q2", Q2(seed=seed)) for seed in range(3)] + tiny(4)
    list(grid.execute_all(run.slots("mixed", runs, tmp_path), Options(jobs=4)))
    assert recorder.most["q1b"] > 1
    assert recorder.most["q2"] == 1
    assert [task.template for task in recorder.tasks][-3:] == ["q2"] * 3


def test_benchmarks_of_several_runners_wait_for_each_other(tmp_path, recorder):
    def execute(folder):
        runs = [suite.Run("q2", Q2(seed=seed)) for seed in range(3)]
        return list(grid.execute_all(run.slots("times", runs, folder)))

    with ThreadPoolExecutor() as runners:
        outcomes = [*runners.map(execute, (tmp_path / "one", tmp_path / "other"))]
    assert [len(of_one) for of_one in outcomes] == [3, 3]
    assert len(recorder.tasks) == 6
    assert recorder.most["q2"] == 1


def test_a_run_that_another_runner_holds_says_so_once(tmp_path, recorder):
    waiting = []
    runs = [*tiny(2), suite.Run("q2", Q2())]
    slots = run.slots("held", runs, tmp_path)
    held = slots[0]
    held.lock.parent.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor() as runner:
        with FileLock(held.lock), FileLock(grid.ALONE):
            options = Options(on_wait=waiting.append)
            outcomes = runner.submit(list, grid.execute_all(slots[:2], options))
            alone = runner.submit(list, grid.execute_all(slots[2:], options))
            end = time.monotonic() + 60
            while len(waiting) < 2:
                assert time.monotonic() < end
                time.sleep(0.01)
            time.sleep(3 * grid.POLL_SECONDS)
        assert [len(outcomes.result()), len(alone.result())] == [2, 1]
    assert {slot.title for slot in waiting} == {held.title, slots[2].title}
    assert len(waiting) == 2


def test_a_done_run_is_repeated_from_its_beginning(tmp_path, recorder, monkeypatch):
    for status in ("failed", "stale", "done"):
        monkeypatch.setattr(run.Slot, "status", lambda slot, status=status: status)
        again = Options(again=run.UNFINISHED | run.DONE, retries=1)
        list(grid.execute_all(places(tmp_path, 1), again))
    assert [task.fresh for task in recorder.tasks] == [False] * 4 + [True, False]


def test_a_failed_run_is_tried_again_as_often_as_asked(tmp_path, recorder):
    (outcome,) = grid.execute_all(places(tmp_path, 1), Options(retries=2))
    assert len(recorder.tasks) == 3
    assert outcome.error == "made up"
    assert outcome.slot.status() == "failed"


def test_a_notebook_without_a_record_fails_alone(tmp_path, recorder):
    recorder.answers = [Performed("{}", None, 0.0)] * 2
    outcomes = list(grid.execute_all(places(tmp_path, 2)))
    assert len(outcomes) == 2
    assert all("holds no record" in outcome.error for outcome in outcomes)


def test_what_is_wrong_with_one_run_is_said_of_that_run(tmp_path, recorder):
    def stumble(task, on_output):
        raise KeyError(task.key)

    recorder.perform = stumble
    outcomes = list(grid.execute_all(places(tmp_path, 2)))
    assert ["KeyError" in outcome.error for outcome in outcomes] == [True, True]


def test_fail_fast_starts_nothing_more(tmp_path, recorder):
    outcomes = list(grid.execute_all(places(tmp_path, 9), Options(fail_fast=True)))
    assert len(outcomes) == len(recorder.tasks) == 1
    assert len(list(grid.execute_all(places(tmp_path, 9), Options()))) == 9


def test_a_run_that_takes_too_long_is_ended(tmp_path):
    runs = [suite.Run("q1a", Q1a(dataset="digits", epochs=10_000)), *tiny(1)]
    slots = run.slots("slow", runs, tmp_path)
    late, good = grid.execute_all(slots, Options(timeout=10))
    assert late.error == "stopped after 10 s (--timeout)"
    assert late.slot.status() == "failed"
    assert again.failure(late.slot.notebook)[1] == late.error
    assert good.record is not None


def test_suites_share_their_runs(tmp_path):
    (first,) = grid.execute_all(run.slots("one", tiny(1), tmp_path))
    (slot,) = run.slots("two", tiny(1), tmp_path)
    assert slot.record == first.slot.record
    assert next(grid.execute_all([slot])).skipped


def test_a_killed_runner_leaves_no_process_and_costs_nothing_that_was_done(tmp_path, undisturbed):
    chance = random.Random(0)
    file = written(tmp_path / "tiny.yaml", RUNS)
    slots = places(tmp_path / "runs", RUNS)
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


def hang():
    """Be busy in compiled code that holds Python's lock."""
    kernels.end_with_runner()
    print(os.getpid(), flush=True)
    ctypes.PyDLL(None).sleep(60)


def test_a_killed_runner_ends_what_compiled_code_keeps_busy():
    code = (
        "import multiprocessing, test_grid\n"
        "context = multiprocessing.get_context('forkserver')\n"
        "busy = context.Process(target=test_grid.hang)\n"
        "busy.start()\n"
        "busy.join()"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(
        command, cwd=Path(__file__).parent, stdout=subprocess.PIPE, text=True
    ) as runner:
        busy = psutil.Process(int(runner.stdout.readline()))
        time.sleep(0.5)  # it sleeps by now
        runner.kill()
        assert_gone([busy])


def test_a_killed_runner_ends_the_server_that_is_still_importing(tmp_path):
    (tmp_path / "torchvision.py").write_text("import time; time.sleep(60)")  # a slow import
    code = (
        "import subprocess, sys, time\n"
        "server = subprocess.Popen([sys.executable, '-c', 'import mlops_lib.runner.preload'])\n"
        "print(server.pid, flush=True)\n"
        "server.wait()"
    )
    slow = os.environ | {"PYTHONPATH": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", code], env=slow, stdout=subprocess.PIPE, text=True
    ) as runner:
        server = psutil.Process(int(runner.stdout.readline()))
        time.sleep(0.5)  # it imports by now
        runner.kill()
        assert_gone([server])


@pytest.mark.parametrize("fault", ["", "; raise OSError('no such library')"])
def test_a_server_that_can_not_import_ends_the_wait_for_it(tmp_path, fault):
    seconds = 1 if fault else 60
    (tmp_path / "torchvision.py").write_text(f"import time; time.sleep({seconds}){fault}")
    file = written(tmp_path / "tiny.yaml", 1)
    slow = os.environ | {"PYTHONPATH": str(tmp_path)}
    runner = start(tmp_path / "runs", "run", file, env=slow, start_new_session=True)
    assert any("…" in line for line in runner.stdout)  # a run has started
    if fault:
        assert "EOFError" in runner.stdout.read()
        assert runner.wait() == 1
        return
    time.sleep(2)  # it imports by now
    os.killpg(runner.pid, signal.SIGINT)  # as a terminal does
    assert runner.wait(timeout=20) == 130
    said = runner.stdout.read()
    assert "run it again to go on" in said and "Traceback" not in said


def test_a_path_too_long_for_sockets_is_refused(tmp_path, monkeypatch):
    place = tmp_path / ("x" * 80)
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    with pytest.raises(ParameterError, match=r"TMPDIR='.*x' is not allowed: .* at most 75 char"):
        list(grid.execute_all(places(tmp_path, 1)))


def test_a_killed_kernel_costs_its_run_alone(tmp_path, undisturbed):
    chance = random.Random(0)
    slots = places(tmp_path, 12)
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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_runner_says_how_to_go_on(tmp_path, monkeypatch, number):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    file = written(tmp_path / "tiny.yaml", 12)
    runner = start(tmp_path / "runs", "run", file)
    assert any("…" in line for line in runner.stdout)  # a run has started
    children = psutil.Process(runner.pid).children(recursive=True)
    runner.send_signal(number)
    assert runner.wait(timeout=60) == 130  # on a busy machine, the kernel's server still imports
    assert "run it again to go on" in runner.stdout.read()
    assert_gone(children)
    assert not [path for path in scratch.glob("mlops-*") if path.is_dir()]


def test_a_run_that_another_suite_records_meanwhile_is_not_repeated(tmp_path):
    here, there = places(tmp_path, 1), run.slots("other", tiny(1), tmp_path)
    assert next(grid.execute_all(there)).record
    (outcome,) = grid.execute_all(here)
    assert outcome.skipped and outcome.record
    assert not here[0].notebook.exists()


def test_two_runners_share_a_suite(tmp_path, undisturbed):
    file = written(tmp_path / "tiny.yaml", 6)
    runners = [start(tmp_path / "runs", "run", file) for _ in range(2)]
    texts = [runner.communicate(timeout=120)[0] for runner in runners]
    assert [runner.returncode for runner in runners] == [0, 0], texts
    assert sum(text.count(" s in all") for text in texts) == 6
    assert_all_done(places(tmp_path / "runs", 6), undisturbed)


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
            slots = places(tmp_path / str(len(all_slots)), 10 if all_slots else RUNS)
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


def test_an_interrupt_ends_the_kernels_of_workers(tmp_path):
    from distributed import LocalCluster

    file = tmp_path / "long.yaml"
    fixed = "{dataset: digits, batch_size: 2, epochs: 1000}"
    file.write_text(
        f"description: long\ngrids: [{{template: q1a, fixed: {fixed}, grid: {{seed: [0, 1]}}}}]"
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


def test_a_scheduler_that_does_not_answer_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(grid, "CONNECT_SECONDS", 1)
    with pytest.raises(ParameterError, match=r"scheduler='tcp://127.0.0.1:9'"):
        list(grid.execute_all(places(tmp_path, 1), Options(scheduler="tcp://127.0.0.1:9")))
    with pytest.raises(ParameterError, match=r"scheduler='nonsense' is not allowed: .*tcp://"):
        list(grid.execute_all(places(tmp_path, 1), Options(scheduler="nonsense")))


def test_a_folder_that_can_not_be_written_is_said_before_the_work(tmp_path, recorder):
    (slot,) = places(tmp_path, 1)
    slot.notebook.parent.parent.mkdir(parents=True)
    slot.notebook.parent.touch()  # a file where the folder of its notebook should be
    (outcome,) = grid.execute_all([slot])
    assert str(slot.notebook.parent) in outcome.error
    assert not recorder.tasks


def test_a_full_disk_is_said_and_what_was_done_stays(tmp_path, undisturbed):
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", small])
    if mounted.returncode:
        pytest.skip("a small file system can't be mounted here")
    try:
        slots = places(small, 5)
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


def test_times_are_estimated_from_runs_like_it(tmp_path, monkeypatch):
    (done,) = grid.execute_all(places(tmp_path, 1))
    monkeypatch.setenv("MLOPS_RUNS", str(tmp_path))
    longer = suite.Run("q1b", Q1b(dataset="digits", train_size=400, C=(1, 2)))
    unlike = suite.Run("q1b", Q1b(dataset="digits", kernel="poly"))
    slots = run.slots("more", [longer, unlike], tmp_path)
    seconds = grid.estimates(slots)
    assert seconds == {slots[0]: pytest.approx(8 * done.record.duration_seconds)}

"""Execute the runs of a suite: in parallel, here or on Dask workers; skip what is done.

Every run is locked while it is executed (the lock ends with the process that holds it), so that
several runners may work on one suite. Records are written last: a runner that is killed loses
only the runs that it was executing, and those resume from their last checkpoint.
"""

from __future__ import annotations

import os
import queue
import statistics
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from filelock import FileLock, Timeout

from mlops_lib import data, machine, tables
from mlops_lib.params import ParameterError
from mlops_lib.record import Record, RecordError
from mlops_lib.runner import execute as run
from mlops_lib.runner import kernels
from mlops_lib.runner.execute import UNFINISHED, Performed, Slot, Status, Task
from mlops_lib.runner.kernels import Share

BENCHMARK = "q2"  # has the machine for itself
# Held by what does. A lock for each user: they may not open each other's files there.
ALONE = Path(tempfile.gettempdir(), f"mlops-alone-{getattr(os, 'getuid', int)()}.lock")
POLL_SECONDS = 0.5
CONNECT_SECONDS = 10
MOST_TASKS = 64  # at the scheduler at a time


@dataclass(frozen=True)
class Outcome:
    """How one run of a suite ended: its record, or why there is none."""

    slot: Slot
    skipped: bool = False
    record: Record | None = None
    error: str | None = None


@dataclass(kw_only=True)
class Options:
    """How to execute a suite."""

    again: frozenset[Status] = UNFINISHED  # runs with this status are executed
    jobs: int = 1  # runs at a time
    retries: int = 0  # further attempts at a run that fails
    timeout: float | None = None  # seconds a run may take
    fail_fast: bool = False  # start no further run after one that failed
    scheduler: str | None = None  # address of a Dask scheduler
    on_start: Callable[[Slot], None] = lambda slot: None
    on_wait: Callable[[Slot], None] = lambda slot: None  # for another runner
    on_output: Callable[[Slot, str], None] = lambda slot, text: None
    stop: threading.Event = field(default_factory=threading.Event)  # start nothing more
    interrupted: threading.Event = field(default_factory=threading.Event)  # nothing counts any more


class Site(Protocol):
    """Where tasks are performed."""

    jobs: int

    def perform(self, task: Task, on_output: Callable[[str], None]) -> Performed: ...

    def end_kernels(self) -> None: ...

    def close(self) -> None: ...


class _Here:
    """Kernels on this machine, its cores and GPUs divided among the jobs."""

    def __init__(self, jobs: int) -> None:
        kernels.require_short_paths()
        self.jobs = jobs
        self.shares: queue.SimpleQueue[Share] = queue.SimpleQueue()
        for share in kernels.shares(jobs):
            self.shares.put(share)

    def perform(self, task: Task, on_output: Callable[[str], None]) -> Performed:
        share = self.shares.get()
        try:
            return run.perform(task, share, on_output)
        finally:
            self.shares.put(share)

    def end_kernels(self) -> None:
        kernels.end_all()

    def close(self) -> None:
        pass


class _Workers:
    """Workers of a Dask cluster: tasks travel there, executed notebooks come back."""

    def __init__(self, address: str) -> None:
        from distributed import Client

        if ":" not in address:  # Dask would look for it for a while, and complain on its own
            raise ParameterError(
                f"scheduler={address!r} is not allowed: write its address as tcp://HOST:PORT"
            )
        try:
            self.client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
        except (OSError, ValueError) as error:
            raise ParameterError(f"scheduler={address!r} can't be reached: {error}") from None
        self.jobs = MOST_TASKS  # the scheduler hands them out as workers come and go
        self.futures: set[Any] = set()

    def perform(self, task: Task, on_output: Callable[[str], None]) -> Performed:
        needs = {"GPU": 1} if task.parameters.get("device") == "cuda" else None
        future = self.client.submit(_on_worker, task, self.client.id, pure=False, resources=needs)
        self.futures.add(future)
        try:
            return future.result()
        except Exception as error:  # whatever befell the workers
            return run.not_performed(task, f"{type(error).__name__}: {error}")
        finally:
            self.futures.discard(future)

    def end_kernels(self) -> None:
        with suppress(Exception):  # of workers or a scheduler that have gone
            self.client.cancel(list(self.futures))  # also those that no worker has begun, or can
            self.client.run(kernels.end_all, self.client.id, on_error="ignore")

    def close(self) -> None:
        self.client.close()


def _on_worker(task: Task, owner: str) -> Performed:
    """Perform a task on a Dask worker, which has a task for each of its threads.

    What measures time is alone there, and may use them all.
    """
    from distributed import get_worker

    threads, alone = get_worker().state.nthreads, task.template == BENCHMARK
    shared = threads > 1 and not alone
    return run.perform(task, Share(1 if shared else threads, gpu_shared=shared, owner=owner))


def execute_all(places: list[Slot], options: Options | None = None) -> Iterator[Outcome]:
    """Execute the runs that are not done; yield each outcome as soon as it is known.

    A run that fails leaves the others alone. Raises ParameterError where the scheduler can't
    be reached.
    """
    options = options or Options()
    alone = [slot for slot in places if slot.run.template == BENCHMARK]
    together = [slot for slot in places if slot.run.template != BENCHMARK]
    for some, jobs in ((together, options.jobs), (alone, 1)):
        if some:
            here = _Here(jobs) if options.scheduler is None else _Workers(options.scheduler)
            try:
                yield from _side_by_side(some, here, min(jobs, here.jobs), options)
            finally:
                here.close()


def _side_by_side(places: list[Slot], here: Site, jobs: int, options: Options) -> Iterator[Outcome]:
    """Execute runs, `jobs` at a time; those that another runner executes are looked at last."""
    pool = ThreadPoolExecutor(jobs)
    submitted = [pool.submit(_run_one, slot, here, options) for slot in places]
    started = {future: number for number, future in enumerate(submitted)}
    waiting = set(started)
    try:
        while waiting:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in sorted(done, key=started.__getitem__):
                outcome = future.result()
                if outcome is None:
                    continue
                if isinstance(outcome, Slot):
                    again = pool.submit(_run_one, outcome, here, options, patient=True)
                    started[again] = len(started)
                    waiting.add(again)
                    continue
                yield outcome
    finally:  # with runs still going on where the user interrupts
        if waiting:
            options.stop.set()
            options.interrupted.set()
        while waiting:
            here.end_kernels()
            _, waiting = wait(waiting, timeout=POLL_SECONDS)
        pool.shutdown()


def _run_one(
    slot: Slot, here: Site, options: Options, patient: bool = False
) -> Outcome | Slot | None:
    """Execute a run as `_unless_done` does; where it fails, see to it that no further one starts.

    This thread takes the next run before any other learns how this one ended.
    """
    outcome = _unless_done(slot, here, options, patient)
    if options.fail_fast and isinstance(outcome, Outcome) and outcome.error:
        options.stop.set()
    return outcome


def _unless_done(slot: Slot, here: Site, options: Options, patient: bool) -> Outcome | Slot | None:
    """Execute a run unless it is done; return its slot if another runner is at it.

    What measures time waits until no other does on this machine, whoever started it.
    `patient` waits for the other runner. None: nothing more is to be started.
    """
    timeout = POLL_SECONDS if patient else 0
    waits = False
    lock = alone = FileLock(slot.lock)  # a lock may be taken twice
    if slot.run.template == BENCHMARK and options.scheduler is None:
        alone = FileLock(ALONE)
    try:
        slot.lock.parent.mkdir(parents=True, exist_ok=True)
        while not options.stop.is_set():
            with suppress(Timeout), lock.acquire(timeout=timeout), alone.acquire(timeout=timeout):
                recorded = slot.shared()
                if (status := recorded.status()) not in options.again:
                    return Outcome(slot, skipped=True, record=recorded.read())
                return _attempt(slot, here, options, fresh=status == "done")
            if not patient:
                return slot
            if not waits:
                waits = True
                options.on_wait(slot)
    except OSError as error:
        return Outcome(slot, error=f"{error.filename or slot.notebook}: {error.strerror or error}")
    except RecordError as error:
        return Outcome(slot, error=str(error))
    except Exception as error:  # of this run alone: the others go on
        return Outcome(slot, error=f"{type(error).__name__}: {error}")
    return None


def _attempt(slot: Slot, here: Site, options: Options, fresh: bool) -> Outcome:
    """Execute a run, again where it fails and that is asked for, and keep what came out.

    `fresh`: from its beginning, though a checkpoint may be left.
    """
    options.on_start(slot)
    run.check_place(slot)
    task = Task.of(slot, options.timeout, fresh)
    performed = here.perform(task, lambda text: options.on_output(slot, text))
    for attempt in range(options.retries):
        if performed.error is None or options.stop.is_set():
            break
        options.on_output(slot, f"attempt {attempt + 2}, after {performed.error}")
        task = replace(task, fresh=False)
        performed = here.perform(task, lambda text: options.on_output(slot, text))
    if options.interrupted.is_set() and performed.error is not None:
        return Outcome(slot, error="interrupted")
    return Outcome(slot, record=run.keep(slot, performed, task.key), error=performed.error)


def estimates(places: list[Slot]) -> dict[Slot, float]:
    """Estimate the seconds of runs from the recorded runs that are like them.

    Like: the same template, model or kernel, and device. A training grows with epochs and images,
    an SVM search with candidates and the square of images.
    """
    rates: dict[tuple, list[float]] = {}
    for made in tables.records().values():
        rate = made.duration_seconds / _work(made.parameters)
        kind = _kind(made.template, made.parameters, made.environment["device"])
        rates.setdefault(kind, []).append(rate)
    asked = {slot: slot.run.parameters.model_dump() for slot in places}
    gpu = machine.cuda_is_present()
    kinds = {}
    for slot, parameters in asked.items():
        wanted = parameters.get("device", "cpu")
        device = ("cuda" if gpu else "cpu") if wanted == "auto" else wanted
        kinds[slot] = _kind(slot.run.template, parameters, device)
    return {
        slot: statistics.median(rates[kinds[slot]]) * _work(asked[slot])
        for slot in places
        if kinds[slot] in rates
    }


def _kind(template: str, parameters: dict[str, Any], device: str) -> tuple:
    model = parameters.get("model") or parameters["kernel"]
    dataset = parameters["dataset"]
    usual = data.TRAINING_IMAGES.get(dataset) == tables.ALL_IMAGES
    other = None if usual else dataset  # of any number of images
    return template, model, parameters.get("input_size"), device, other


def _work(parameters: dict[str, Any]) -> float:
    images = parameters["train_size"] or tables.ALL_IMAGES
    if "epochs" in parameters:
        return parameters["epochs"] * images
    degrees = len(parameters["degree"]) if parameters["kernel"] == "poly" else 1
    return len(parameters["C"]) * degrees * len(parameters["gamma"]) * images**2

"""Execute the runs of a suite: in parallel, here or on Dask workers; skip what is done.

Every run is locked while it is executed (the lock ends with the process that holds it), so that
several runners may work on one suite. Records are written last: a killed runner loses only the
runs that it was executing, and those resume from their last checkpoint.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Protocol

from filelock import FileLock, Timeout

from mlops_lib.record import Record, RecordError
from mlops_lib.runner import execute, kernels, scratch
from mlops_lib.runner.cluster import ClusterError, DaskWorkers
from mlops_lib.runner.execute import BENCHMARK, Performed, Task
from mlops_lib.runner.kernels import Share
from mlops_lib.runner.slot import UNFINISHED, Slot, Status

ALONE = scratch.users_lock("alone")  # held by a run that has the machine to itself
POLL_SECONDS = 0.2
GRACE_SECONDS = 1  # after an interrupt: for what threads are writing


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

    pending: frozenset[Status] = UNFINISHED  # runs with this status are executed
    jobs: int = 1  # runs at a time
    retries: int = 0  # further attempts at a run that fails
    timeout: float | None = None  # seconds a run may take
    fail_fast: bool = False  # start no further run after one that failed
    scheduler: str | None = None  # address of a Dask scheduler
    on_start: Callable[[Slot], None] = lambda slot: None
    on_wait: Callable[[Slot], None] = lambda slot: None  # another runner is executing it
    on_output: Callable[[Slot, str], None] = lambda slot, text: None
    stop: threading.Event = field(default_factory=threading.Event)  # start no further run
    interrupted: threading.Event = field(default_factory=threading.Event)  # end, keep no failure


class Site(Protocol):
    """Where tasks are performed."""

    jobs: int

    def perform(self, task: Task, on_output: Callable[[str], None]) -> Performed: ...

    def end_kernels(self) -> None: ...

    def close(self) -> None: ...


class _ThisMachine:
    """Kernels on this machine, its cores and GPUs divided among the jobs."""

    def __init__(self, jobs: int) -> None:
        kernels.require_scratch_folder()
        self.jobs = jobs
        self.shares: queue.SimpleQueue[Share] = queue.SimpleQueue()
        for share in kernels.shares(jobs):
            self.shares.put(share)

    def perform(self, task: Task, on_output: Callable[[str], None]) -> Performed:
        share = self.shares.get()
        try:
            return execute.perform(task, share, on_output)
        finally:
            self.shares.put(share)

    def end_kernels(self) -> None:
        kernels.end_all()

    def close(self) -> None:
        pass


def execute_all(slots: list[Slot], options: Options | None = None) -> Iterator[Outcome]:
    """Execute the runs that are not done; yield each outcome as soon as it is known.

    A run that fails does not stop the others. Benchmarks come last, one at a time. Raises
    ParameterError if the scheduler can't be reached, ClusterError if its
    workers are all unfit. Ends early where `options.interrupted` is set.
    """
    options = options or Options()
    benchmarks = [slot for slot in slots if slot.run.template == BENCHMARK]
    others = [slot for slot in slots if slot.run.template != BENCHMARK]
    for batch, jobs in ((others, options.jobs), (benchmarks, 1)):
        if batch and not options.interrupted.is_set():
            scheduler = options.scheduler
            site = _ThisMachine(jobs) if scheduler is None else DaskWorkers(scheduler)
            try:
                yield from _side_by_side(batch, site, min(jobs, site.jobs), options)
            finally:
                site.close()


def _side_by_side(slots: list[Slot], site: Site, jobs: int, options: Options) -> Iterator[Outcome]:
    """Execute runs, `jobs` at a time; runs that another runner is executing come last."""
    pool = ThreadPoolExecutor(jobs)
    submitted = [pool.submit(_run_one, slot, site, options) for slot in slots]
    started = {future: number for number, future in enumerate(submitted)}
    waiting = set(started)
    try:
        while waiting and not options.interrupted.is_set():
            done, waiting = wait(waiting, POLL_SECONDS, FIRST_COMPLETED)
            for future in sorted(done, key=started.__getitem__):
                outcome = future.result()
                if outcome is None:
                    continue
                if isinstance(outcome, Slot):
                    retried = pool.submit(_run_one, outcome, site, options, patient=True)
                    started[retried] = len(started)
                    waiting.add(retried)
                    continue
                if outcome.error and options.interrupted.is_set():
                    continue
                yield outcome
    finally:  # runs are still being executed if the user has interrupted
        if waiting:
            options.stop.set()
            options.interrupted.set()
        deadline = time.monotonic() + GRACE_SECONDS
        while waiting and time.monotonic() < deadline:
            site.end_kernels()
            _, waiting = wait(waiting, timeout=POLL_SECONDS)
        pool.shutdown(wait=not waiting)


def _run_one(
    slot: Slot, site: Site, options: Options, patient: bool = False
) -> Outcome | Slot | None:
    """Execute a run as `_unless_done` does; with `fail_fast`, start no other if it fails.

    That is decided here because this thread takes its next run before any other thread learns
    how this one ended.
    """
    outcome = _unless_done(slot, site, options, patient)
    if options.fail_fast and isinstance(outcome, Outcome) and outcome.error:
        options.stop.set()
    return outcome


def _unless_done(slot: Slot, site: Site, options: Options, patient: bool) -> Outcome | Slot | None:
    """Execute a run unless it is done; return its slot if another runner is executing it.

    A benchmark waits until no runner on this machine executes another one. With `patient`, wait
    for the other runner. None: no further run is to be started.
    """
    timeout = POLL_SECONDS if patient else 0
    told = False
    lock = alone = FileLock(slot.lock)  # a lock may be taken twice
    if slot.run.template == BENCHMARK and options.scheduler is None:
        alone = FileLock(ALONE)
    try:
        slot.lock.parent.mkdir(parents=True, exist_ok=True)
        while not options.stop.is_set():
            with suppress(Timeout), lock.acquire(timeout=timeout), alone.acquire(timeout=timeout):
                recorded = slot.where_recorded()
                if (status := recorded.status()) not in options.pending:
                    return Outcome(slot, skipped=True, record=recorded.read())
                return _attempt(slot, site, options, fresh=status == "done")
            if not patient:
                return slot
            if not told:
                told = True
                options.on_wait(slot)
    except ClusterError as error:  # no other run would fare better
        options.stop.set()
        return Outcome(slot, error=str(error))
    except OSError as error:
        return Outcome(slot, error=f"{error.filename or slot.notebook}: {error.strerror or error}")
    except RecordError as error:
        return Outcome(slot, error=str(error))
    except Exception as error:  # the other runs continue
        return Outcome(slot, error=f"{type(error).__name__}: {error}")
    return None


def _attempt(slot: Slot, site: Site, options: Options, fresh: bool) -> Outcome:
    """Execute a run, up to `retries` times more if it fails, and keep its notebook and record.

    `fresh`: from its beginning, even if there is a checkpoint.
    """
    options.on_start(slot)
    slot.require_writable()
    task = Task.of(slot, options.timeout, fresh)
    performed = site.perform(task, lambda text: options.on_output(slot, text))
    for attempt in range(options.retries):
        if performed.error is None or options.stop.is_set():
            break
        options.on_output(slot, f"attempt {attempt + 2}, after {performed.error}")
        task = replace(task, fresh=False)
        performed = site.perform(task, lambda text: options.on_output(slot, text))
    if options.interrupted.is_set() and performed.error is not None:
        return Outcome(slot, error="interrupted")
    return Outcome(slot, record=execute.keep(slot, performed, task.key), error=performed.error)

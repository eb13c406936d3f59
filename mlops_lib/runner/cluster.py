"""The workers of a Dask cluster: they receive tasks and return executed notebooks.

Workers come and go. One whose environment lacks the project, or has other code, is asked for
nothing more; a cluster that has no other worker is an error.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from typing import Any

from mlops_lib import checkpoint
from mlops_lib.params import ParameterError
from mlops_lib.runner import execute, kernels
from mlops_lib.runner.execute import Performed, Task
from mlops_lib.runner.kernels import Share

CONNECT_SECONDS = 10
POLL_SECONDS = 1
LOST_SECONDS = 30  # without a worker, after there were some
CLOSE_SECONDS = 1
MAX_TASKS = 64  # at the scheduler at a time
CODE = (".", "fast", "runner")  # the parts of `mlops_lib` that a worker executes


Unfit = tuple[str, str]  # a worker's address, and why it can't execute runs


class ClusterError(RuntimeError):
    """No worker can execute a run; the message says why."""


def _sent() -> tuple[Callable[[str], str], Callable[..., Performed | Unfit]]:
    """Return the functions that workers call: nested, so that all of their code is sent.

    A worker without the project could not even load a function of this module, and would end.
    """

    def why_unfit(code: str) -> str:
        try:
            from mlops_lib.runner import cluster

            found = cluster.code_hash()
        except (ImportError, AttributeError) as error:
            return f"it can't import this project's mlops_lib: {error}"
        return "" if found == code else "its mlops_lib has other code"

    def perform(task: dict[str, Any], owner: str, code: str) -> Performed | Unfit:
        from distributed import get_worker

        if reason := why_unfit(code):
            return get_worker().address, reason
        from mlops_lib.runner import cluster

        return cluster.perform_here(task, owner)

    return why_unfit, perform


why_unfit, perform = _sent()


@cache
def code_hash() -> str:
    """Hash the code that a worker executes."""
    return checkpoint.code_hash(*CODE)


def perform_here(task: dict[str, Any], owner: str) -> Performed:
    """Perform a task on this worker, which has a task for each of its threads.

    A benchmark may use all of the worker's threads.
    """
    from distributed import get_worker

    threads, alone = get_worker().state.nthreads, task["template"] == execute.BENCHMARK
    shared = threads > 1 and not alone
    share = Share(1 if shared else threads, gpu_shared=shared, owner=owner)
    return execute.perform(Task(**task), share)


class DaskWorkers:
    """The workers of the cluster whose scheduler has this address.

    Raises ParameterError if it can't be reached, ClusterError if it has workers and all are unfit.
    """

    def __init__(self, address: str) -> None:
        from distributed import Client

        if ":" not in address:  # Dask would search for it for a while, with messages of its own
            raise ParameterError(
                f"scheduler={address!r} is not allowed: write its address as tcp://HOST:PORT"
            )
        try:
            self.client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
        except (OSError, ValueError) as error:
            raise ParameterError(f"scheduler={address!r} can't be reached: {error}") from None
        self.jobs = MAX_TASKS  # the scheduler distributes them as workers come and go
        self.futures: set[Any] = set()
        self.code = code_hash()
        answers = self.client.run(why_unfit, self.code, on_error="ignore")
        self.unfit = {worker: reason for worker, reason in answers.items() if reason}
        self.seen: float | None = None  # when there was a worker
        if answers:
            self._fit_workers()

    def perform(self, task: Task, on_output: Callable[[str], None]) -> Performed:
        """Let a worker perform a task; raise ClusterError if none is left that can."""
        needs = {"GPU": 1} if task.parameters.get("device") == "cuda" else None
        while True:
            fit = self._fit_workers() if self.unfit else None
            future = self.client.submit(
                perform, asdict(task), self.client.id, self.code, pure=False, resources=needs,
                workers=fit, allow_other_workers=bool(fit),
            )  # fmt: skip
            self.futures.add(future)
            try:
                answer = self._result(future, on_output)
            except ClusterError:
                raise
            except Exception as error:  # whatever happened to the workers
                return execute.not_performed(task, f"{type(error).__name__}: {error}")
            finally:
                self.futures.discard(future)
            if isinstance(answer, Performed):
                return answer
            worker, self.unfit[worker] = answer

    def _result(self, future: Any, on_output: Callable[[str], None]) -> Performed | Unfit:
        """Wait for what a task returns; raise ClusterError where all workers have been lost."""
        while True:
            with suppress(TimeoutError):
                return future.result(timeout=POLL_SECONDS)
            if self._fit_workers():
                continue
            on_output("waits: the cluster has no worker")
            if self.seen and time.monotonic() - self.seen > LOST_SECONDS:
                raise ClusterError("the cluster has lost all of its workers")

    def _fit_workers(self) -> list[str]:
        """Return the workers that are there, without unfit ones; raise ClusterError if all are."""
        workers = list(self.client.scheduler_info()["workers"])
        fit = [worker for worker in workers if worker not in self.unfit]
        if workers and not fit:
            worker = workers[0]
            raise ClusterError(f"no worker is fit for a run; {worker}: {self.unfit[worker]}")
        if fit:
            self.seen = time.monotonic()
        return fit

    def end_kernels(self) -> None:
        """Kill the kernels of this client's tasks."""
        with suppress(Exception):  # the workers or the scheduler may be gone
            self.client.cancel(list(self.futures))  # also tasks that no worker has begun
            self.client.run(kernels.end_all, self.client.id, on_error="ignore")

    def close(self) -> None:
        """Leave the cluster."""
        self.client.close(timeout=CLOSE_SECONDS)

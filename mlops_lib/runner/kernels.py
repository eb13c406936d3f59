"""Kernels for grids, which start at once: each is forked from a process that has imported it all.

A notebook spends most of a short run's time importing torch, seaborn and scikit-learn. The
runner starts one server (Python's own `multiprocessing` forkserver) that imports them, and
every run gets a clean copy of it: a process of its own, in a process group of its own.
Nothing is computed and no CUDA is touched before the copy is made.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty
from typing import Any

from jupyter_client.asynchronous import AsyncKernelClient
from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning import LocalProvisioner
from jupyter_client.utils import run_sync

from mlops_lib import machine, paths, record
from mlops_lib.params import ParameterError

SOCKET_PATH, SOCKET_NAME = 107, 32  # characters: of a socket's path; of its name below TMPDIR
_live: dict[_Manager, str] = {}  # kernels of this process, and whom they work for
_starting = threading.Lock()


@dataclass(frozen=True)
class Share:
    """The part of a machine that a kernel may use."""

    threads: int  # at most; fewer where torch or OMP_NUM_THREADS would take fewer
    cores: tuple[int, ...] = ()  # empty: any
    gpu: str | None = None  # as CUDA_VISIBLE_DEVICES names it; None: as it is set already
    gpu_shared: bool = False  # other kernels of the runner may use it meanwhile
    owner: str = ""  # the Dask client whose task this is; else it is of this runner


def shares(jobs: int) -> list[Share]:
    """Divide this machine's cores, and its GPUs where there are several, among jobs."""
    cores = machine.cores()
    each = max(1, len(cores) // jobs)
    bound = not machine.is_rationed()  # else the system sees better which cores are free
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    gpus = visible.split(",") if visible else list(map(str, range(machine.cuda_count())))
    return [
        Share(
            threads=each,
            cores=tuple(cores[(job * each + k) % len(cores)] for k in range(each)) if bound else (),
            gpu=gpus[job % len(gpus)] if len(gpus) > 1 else None,
            gpu_shared=0 < len(gpus) < jobs,
        )
        for job in range(jobs)
    ]


def end_all(owner: str = "") -> None:
    """Kill the kernels that this process has started (for `owner`, on a Dask worker)."""
    for manager in [manager for manager, whose in list(_live.items()) if whose == owner]:
        manager.end()


def available() -> bool:
    """Say whether this system can fork a kernel."""
    return "forkserver" in multiprocessing.get_all_start_methods()


def require_short_paths() -> None:
    """Raise ParameterError where kernels can't be spoken to: sockets have short paths."""
    place, most = tempfile.gettempdir(), SOCKET_PATH - SOCKET_NAME
    if len(os.fsencode(place)) > most:
        raise ParameterError(
            f"TMPDIR={place!r} is not allowed: the path of a folder for sockets has at most "
            f"{most} characters"
        )


def start_server() -> None:
    """Start the process that imports everything; returns at once, and once is enough."""
    from multiprocessing import forkserver

    paths.make_absolute()  # kernels work in another folder
    os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"
    os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"  # a note of the debugger, who is not asked
    multiprocessing.get_context("forkserver").set_forkserver_preload(["mlops_lib.runner.preload"])
    forkserver.ensure_running()


@contextmanager
def forked(directory: Path, share: Share | None = None) -> Iterator[_Manager]:
    """Hand out a manager whose kernel works in `directory`, and end that kernel afterwards.

    On systems that can't fork, the kernel is an ordinary one, and may use the whole machine.
    """
    with tempfile.TemporaryDirectory(prefix="mlops-") as sockets:
        km = _Manager(
            kernel_name="python3", transport="ipc", ip=f"{sockets}/kernel",
            connection_file=f"{sockets}/kernel.json",
        )  # fmt: skip
        if available():
            start_server()
            km.provisioner = ForkProvisioner(
                kernel_id="", kernel_spec=km.kernel_spec, parent=km, directory=str(directory),
                share=share,
            )  # fmt: skip
        _live[km] = share.owner if share else ""
        try:
            yield km
        finally:
            del _live[km]
            for client in km.clients:
                client.stop_channels()
            if km.has_kernel:
                run_sync(km.shutdown_kernel)(now=True)


class _Client(AsyncKernelClient):
    """A client that goes on as soon as it hears its kernel.

    jupyter_client's listens for a fifth of a second more, lest something late is taken for an
    answer; nbclient knows what answers it.
    """

    async def wait_for_ready(self, timeout: float | None = None) -> None:
        """Wait until the kernel answers; raises RuntimeError if it ends, or after `timeout` s."""
        end = time.monotonic() + (math.inf if timeout is None else timeout)
        while not await self._answers():
            if not await self.is_alive():
                raise RuntimeError("the kernel died before it was ready")
            if time.monotonic() > end:
                raise RuntimeError(f"the kernel was not ready in {timeout} seconds")

    async def _answers(self) -> bool:
        self.kernel_info()
        try:
            reply = await self.get_shell_msg(timeout=1)
            await self.get_iopub_msg(timeout=0.05)  # what cells print comes this way
        except Empty:
            return False
        self._handle_kernel_info_reply(reply)
        return True


class _Manager(AsyncKernelManager):
    """A manager that knows its clients: nbclient leaves their sockets open."""

    def __init__(self, **traits: Any) -> None:
        super().__init__(client_factory=_Client, **traits)
        self.clients: list[Any] = []

    def end(self) -> None:
        """Kill the kernel, if it has started."""
        process = getattr(self.provisioner, "process", None)
        if process is not None:
            process.kill()

    def client(self, **options: Any) -> Any:
        self.clients.append(super().client(**options))
        return self.clients[-1]


def _serve(connection_file: str, directory: str, share: Share | None) -> None:
    """Be a kernel: runs in the forked process, until the kernel is shut down."""
    os.setsid()
    os.chdir(directory)
    # A daemon to its server, which does not wait for it; but a DataLoader has children.
    vars(multiprocessing.current_process())["_config"]["daemon"] = False
    if share is not None:
        keep_to(share)
        if not share.owner:
            os.environ[record.RUNNER] = str(os.getppid())
    sys.path.insert(0, "")
    from ipykernel.kernelapp import IPKernelApp
    from tqdm import tqdm

    # A run is what its notebook says: no start-up files, settings or history of the user.
    os.environ["IPYTHONDIR"] = str(Path(connection_file).with_name("ipython"))
    end_with_runner()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    tqdm.set_lock(threading.RLock())  # tqdm's own would be a semaphore that outlives a kill
    options = {
        "IPKernelApp.parent_handle": os.getppid(),
        "IPKernelApp.matplotlib": "inline",  # pyplot, imported already, has seen no notebook
        "IPKernelApp.exec_PYTHONSTARTUP": False,
    }
    arguments = [f"--{name}={value}" for name, value in options.items()]
    IPKernelApp.launch_instance(argv=["-f", connection_file, *arguments])


@contextmanager
def _plain_parent() -> Iterator[None]:
    """Start a process that knows nothing of this one.

    `multiprocessing` would run the caller's script again in the new process, and refuses
    children to a daemon, which a Dask worker is.
    """
    main = vars(sys.modules["__main__"])
    config = vars(multiprocessing.current_process())["_config"]
    with _starting:
        hidden: dict[str, Any] = {
            name: main[name] for name in ("__file__", "__spec__") if name in main
        }
        daemon = config.pop("daemon", None)
        main.update(dict.fromkeys(hidden))
        try:
            yield
        finally:
            main.update(hidden)
            if daemon is not None:
                config["daemon"] = daemon


def end_with_runner() -> None:
    """End this process as soon as the runner has ended, however it did.

    A thread waits for that. It does not come to its turn in compiled code that holds Python's
    lock, as a fit of minutes does; on Linux, the system ends the process even then.
    """
    runner: Any = multiprocessing.parent_process()
    if sys.platform == "linux":
        import fcntl

        # Nothing is ever written to this pipe: what is to be reported of it is its end.
        fcntl.fcntl(runner.sentinel, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(runner.sentinel, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(runner.sentinel, fcntl.F_SETFL, os.O_ASYNC)

    def wait() -> None:
        runner.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def keep_to(share: Share) -> None:
    """Let this process use no more of the machine than the share."""
    import torch

    if share.cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, share.cores)
    if share.gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = share.gpu
    if share.gpu_shared:
        os.environ[record.GPU_SHARED] = "1"
    threads = min(share.threads, torch.get_num_threads())
    os.environ["OMP_NUM_THREADS"] = str(threads)
    torch.set_num_threads(threads)


class _Process:
    """A forked process with the methods of `subprocess.Popen` that jupyter_client calls."""

    stdin = stdout = stderr = None

    def __init__(self, *arguments: Any) -> None:
        context = multiprocessing.get_context("forkserver")
        self.process: Any = context.Process(target=_serve, args=arguments, daemon=True)
        with _plain_parent():
            self.process.start()
        self.pid: Any = self.process.pid

    def poll(self) -> int | None:
        return self.process.exitcode

    def wait(self, timeout: float | None = None) -> int | None:
        self.process.join(timeout)
        return self.process.exitcode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:  # else its number may be another process's by now
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class ForkProvisioner(LocalProvisioner):
    """What jupyter_client asks for a process: a fork where it would start a program."""

    parent: Any
    process: Any

    def __init__(self, directory: str, share: Share | None, **traits: Any) -> None:
        super().__init__(**traits)
        self.directory, self.share = directory, share

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Fork a kernel; `cmd`, the program that would be started, is not needed."""
        self.process = _Process(self.parent.connection_file, self.directory, self.share)
        self.pid = self.pgid = self.process.pid
        return self.connection_info

    async def kill(self, restart: bool = False) -> None:
        """Kill the process and see it end, before the manager looks every tenth of a second."""
        await super().kill(restart)
        self.process.wait(0.1)

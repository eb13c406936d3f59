"""Kernels for grids and the book that start at once: forks of a process that has imported all.

The trick: a notebook spends most of a short run's time importing torch, seaborn and scikit-learn.
The runner starts one server (Python's own `multiprocessing` forkserver) that imports them
(`preload`), and every run gets a clean copy of it: a process of its own, in a process group of its
own. Nothing is computed and CUDA is not touched before the copy is made.

The gain: benchmark "a q1a run in a grid, beyond training and evaluation (s)" against "a q1a run
through papermill, beyond training and evaluation (s)".

Where it applies: on systems that can fork (Linux, macOS), in grids and for the book's pages, which
have a server of their own. Elsewhere, and with `MLOPS_FAST=off`, a run gets an ordinary kernel,
which may use the whole machine.

Private parts of other packages are touched here:

- `ensure_running` of `multiprocessing.forkserver` and `.resource_tracker`, undocumented: starts the
  server before the first run needs it (`start_server`);
- `_config["daemon"]` of `multiprocessing.current_process()`: allows kernels, started as daemons,
  to have children (`_serve`), and Dask workers, daemons too, to start kernels (`plain_parent`);
- `__file__` and `__spec__` of `__main__`: hidden while a process starts, otherwise
  `multiprocessing` would run the caller's script again in it (`plain_parent`);
- `KernelManager.provisioner` of jupyter_client: set before the start, otherwise it would be chosen
  by the kernel's specification, which users may change (`forked`);
- `process`, `pid` and `pgid` of its `LocalProvisioner`: set to those of the fork
  (`ForkProvisioner`).
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning import LocalProvisioner
from jupyter_client.utils import run_sync

from mlops_lib import fast, machine, paths, record
from mlops_lib.params import ParameterError
from mlops_lib.runner import scratch

PRELOAD = "mlops_lib.runner.preload"  # the module that the server imports
MAX_SOCKET_PATH, SOCKET_NAME = 107, 48  # characters: of a path; of the part below TMPDIR
_live: dict[_Manager, str] = {}  # kernels of this process, and their owners
_starting = threading.Lock()


@dataclass(frozen=True)
class Share:
    """The part of a machine that a kernel may use."""

    threads: int  # at most; fewer if torch or OMP_NUM_THREADS would use fewer
    cores: tuple[int, ...] = ()  # empty: any
    gpu: str | None = None  # for CUDA_VISIBLE_DEVICES; None: leave that as it is
    gpu_shared: bool = False  # with other kernels of the runner
    owner: str = ""  # the Dask client whose task this is; empty: this runner


def shares(jobs: int) -> list[Share]:
    """Divide this machine's cores, and its GPUs if there are several, among jobs."""
    cores = machine.cores()
    each = max(1, len(cores) // jobs)
    bound = not machine.is_rationed()  # if it is, the system knows better which cores are free
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


def can_fork() -> bool:
    """Return whether kernels are forked: on systems that can, unless `MLOPS_FAST=off`."""
    return fast.is_on() and "forkserver" in multiprocessing.get_all_start_methods()


def require_scratch_folder() -> None:
    """Raise ParameterError where TMPDIR is no place for kernels' sockets or papermill's files."""
    folder, limit = tempfile.gettempdir(), MAX_SOCKET_PATH - SOCKET_NAME
    try:
        folder.encode()
    except UnicodeEncodeError:  # papermill writes it into notebooks
        raise ParameterError(
            f"TMPDIR={folder!r} is not allowed: its name is to be in UTF-8"
        ) from None
    if len(os.fsencode(folder)) > limit:
        raise ParameterError(
            f"TMPDIR={folder!r} is not allowed: the path of a folder for sockets has at most "
            f"{limit} characters"
        )


def start_server(preload: str | None = None) -> None:
    """Start the process that imports the module `preload`, unless it runs already.

    Returns at once. Without a module, it is `PRELOAD`: what runs need.
    """
    from multiprocessing import forkserver, resource_tracker

    paths.make_absolute()  # kernels work in another folder
    # The process that multiprocessing starts beside the server may be killed: it starts another.
    warnings.filterwarnings("ignore", "resource_tracker", UserWarning)
    os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"
    os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"  # no warning: no debugger is used
    multiprocessing.get_context("forkserver").set_forkserver_preload([preload or PRELOAD])
    with _starting:
        resource_tracker.ensure_running()  # first: it unblocks the signal
        before, tempfile.tempdir = tempfile.tempdir, str(scratch.folder())  # for its socket
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # until `preload` runs
        try:
            forkserver.ensure_running()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            tempfile.tempdir = before


@contextmanager
def forked(
    directory: Path, share: Share | None = None, preload: str | None = None
) -> Iterator[_Manager]:
    """Yield a manager whose kernel works in `directory`; end that kernel afterwards.

    It is forked from the server of `start_server`. Where kernels are not forked, it is an ordinary
    one, which may use the whole machine.
    """
    with tempfile.TemporaryDirectory(dir=scratch.folder()) as sockets:
        km = _Manager(
            kernel_name="python3", transport="ipc", ip=f"{sockets}/kernel",
            connection_file=f"{sockets}/kernel.json",
            kernel_spec_manager=KernelSpecManager(kernel_dirs=[]),  # of this environment alone
        )  # fmt: skip
        if can_fork():
            start_server(preload)
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


class _Manager(AsyncKernelManager):
    """A manager that remembers its clients: nbclient leaves their sockets open."""

    def __init__(self, **traits: Any) -> None:
        super().__init__(**traits)
        self.clients: list[Any] = []

    async def start_kernel(self, **options: Any) -> None:  # type: ignore[override]
        """Start the kernel; an ordinary one, too, reads nothing of the user's (`own_settings`)."""
        own = own_settings(Path(self.connection_file).with_name("ipython"))
        await super().start_kernel(**{"env": os.environ | own} | options)

    def end(self) -> None:
        """Kill the kernel, if it has started."""
        process = getattr(self.provisioner, "process", None)
        if process is not None:
            process.kill()

    def client(self, **options: Any) -> Any:
        self.clients.append(super().client(**options))
        return self.clients[-1]


def own_settings(folder: Path) -> dict[str, str]:
    """Return the environment variables of a kernel that has its settings and history in a folder.

    Only the notebook defines a run: no start-up files, settings or history of the user.
    """
    return {"IPYTHONDIR": str(folder), "PYTHONSTARTUP": ""}


def _serve(connection_file: str, directory: str, share: Share | None) -> None:
    """Be a kernel, in the forked process, until it is shut down."""
    os.setsid()
    os.chdir(directory)
    # Started as a daemon, so that nothing waits for it at exit; but a DataLoader has children.
    vars(multiprocessing.current_process())["_config"]["daemon"] = False
    if share is not None:
        keep_to(share)
        if not share.owner:
            os.environ[record.RUNNER] = str(os.getppid())
    sys.path.insert(0, "")
    from ipykernel.kernelapp import IPKernelApp
    from tqdm import tqdm

    os.environ.update(own_settings(Path(connection_file).with_name("ipython")))
    end_with_runner()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    tqdm.set_lock(threading.RLock())  # its default is a semaphore that outlives a kill
    options = {
        "IPKernelApp.parent_handle": os.getppid(),
        "IPKernelApp.matplotlib": "inline",  # pyplot was imported outside a notebook
    }
    arguments = [f"--{name}={value}" for name, value in options.items()]
    IPKernelApp.launch_instance(argv=["-f", connection_file, *arguments])


@contextmanager
def plain_parent() -> Iterator[None]:
    """Start a process that inherits nothing from the caller's script.

    `multiprocessing` would run that script again in the new process, and allows no children to a
    daemon, which a Dask worker is.
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
    """End this process as soon as the runner ends, for whatever reason.

    A thread waits for that. It cannot run while compiled code, such as a long fit, holds the GIL;
    on Linux, the system kills the process even then.
    """
    runner: Any = multiprocessing.parent_process()
    if sys.platform == "linux":
        import fcntl

        # Nothing is ever written to this pipe, so the only event is that its other end closes.
        fcntl.fcntl(runner.sentinel, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(runner.sentinel, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(runner.sentinel, fcntl.F_SETFL, os.O_ASYNC)

    def wait() -> None:
        runner.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def keep_to(share: Share) -> None:
    """Limit this process to its share of the machine."""
    if share.cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, share.cores)
    if share.gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = share.gpu
    if share.gpu_shared:
        os.environ[record.GPU_SHARED] = "1"
    torch = sys.modules.get("torch")  # `PRELOAD` may leave it out; it heeds the variable later
    threads = min(share.threads, torch.get_num_threads() if torch else machine.threads())
    os.environ["OMP_NUM_THREADS"] = str(threads)
    if torch:
        torch.set_num_threads(threads)


class _Process:
    """A forked process with the methods of `subprocess.Popen` that jupyter_client calls."""

    stdin = stdout = stderr = None

    def __init__(self, *arguments: Any) -> None:
        context = multiprocessing.get_context("forkserver")
        self.process: Any = context.Process(target=_serve, args=arguments, daemon=True)
        with plain_parent():
            self.process.start()
        self.pid: Any = self.process.pid

    def poll(self) -> int | None:
        return self.process.exitcode

    def wait(self, timeout: float | None = None) -> int | None:
        self.process.join(timeout)
        return self.process.exitcode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:  # otherwise another process may have its number by now
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class ForkProvisioner(LocalProvisioner):
    """Gives jupyter_client a forked process instead of starting a program."""

    parent: Any
    process: Any

    def __init__(self, directory: str, share: Share | None, **traits: Any) -> None:
        super().__init__(**traits)
        self.directory, self.share = directory, share

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Fork a kernel; `cmd`, the program that LocalProvisioner would start, is not used."""
        try:
            self.process = _Process(self.parent.connection_file, self.directory, self.share)
        except OSError as error:  # of the server or the system: not of the run's files
            raise RuntimeError(f"it could not be forked: {error}") from None
        self.pid = self.pgid = self.process.pid
        return self.connection_info

    async def kill(self, restart: bool = False) -> None:
        """Kill the process and wait until it ends: the manager polls only every 0.1 s."""
        await super().kill(restart)
        self.process.wait(0.1)

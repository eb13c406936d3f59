"""Kernels for grids, which start at once: each is forked from a process that has imported it all.

A notebook spends most of a short run's time importing torch, seaborn and scikit-learn. The
runner starts one server (Python's own `multiprocessing` forkserver) that imports them, and
every run gets a clean copy of it: a process of its own, in a process group of its own.
Nothing is computed and no CUDA is touched before the copy is made.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from jupyter_client.manager import AsyncKernelManager, KernelManager
from jupyter_client.provisioning import LocalProvisioner
from jupyter_client.utils import run_sync


def available() -> bool:
    """Say whether this system can fork a kernel."""
    return "forkserver" in multiprocessing.get_all_start_methods()


def start_server() -> None:
    """Start the process that imports everything; returns at once, and once is enough."""
    from multiprocessing import forkserver

    os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"
    os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"  # a note of the debugger, who is not asked
    multiprocessing.get_context("forkserver").set_forkserver_preload(["mlops_lib.preloaded"])
    forkserver.ensure_running()


@contextmanager
def forked(directory: Path) -> Iterator[KernelManager]:
    """Hand out a manager whose kernel works in `directory`, and end that kernel afterwards.

    On systems that can't fork, the kernel is an ordinary one.
    """
    with tempfile.TemporaryDirectory(prefix="mlops-") as sockets:
        km = AsyncKernelManager(kernel_name="python3", transport="ipc", ip=f"{sockets}/kernel")
        if available():
            start_server()
            km.provisioner = ForkProvisioner(
                kernel_id="", kernel_spec=km.kernel_spec, parent=km, directory=str(directory)
            )
        try:
            yield km
        finally:
            if km.has_kernel:
                run_sync(km.shutdown_kernel)(now=True)


def _serve(connection_file: str, directory: str) -> None:
    """Be a kernel: runs in the forked process, until the kernel is shut down."""
    os.setsid()
    os.chdir(directory)
    sys.path.insert(0, "")
    from ipykernel.kernelapp import IPKernelApp
    from tqdm import tqdm

    signal.signal(signal.SIGINT, signal.default_int_handler)
    tqdm.set_lock(threading.RLock())  # tqdm's own would be a semaphore that outlives a kill
    options = {
        "IPKernelApp.parent_handle": os.getppid(),  # the kernel ends when its parent does
        "IPKernelApp.matplotlib": "inline",  # pyplot, imported already, has seen no notebook
    }
    arguments = [f"--{name}={value}" for name, value in options.items()]
    IPKernelApp.launch_instance(argv=["-f", connection_file, *arguments])


@contextmanager
def _no_main() -> Iterator[None]:
    """Keep `multiprocessing` from running the caller's script again in the new process."""
    main = sys.modules["__main__"]
    hidden = {
        name: main.__dict__.pop(name) for name in ("__file__", "__spec__") if name in vars(main)
    }
    main.__spec__ = None
    try:
        yield
    finally:
        vars(main).update(hidden)


class _Process:
    """A forked process with the methods of `subprocess.Popen` that jupyter_client calls."""

    stdin = stdout = stderr = None

    def __init__(self, *arguments: Any) -> None:
        context = multiprocessing.get_context("forkserver")
        self.process = context.Process(target=_serve, args=arguments, daemon=True)
        with _no_main():
            self.process.start()
        self.pid = self.process.pid

    def poll(self) -> int | None:
        return self.process.exitcode

    def wait(self) -> int | None:
        self.process.join()
        return self.process.exitcode

    def send_signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class ForkProvisioner(LocalProvisioner):
    """What jupyter_client asks for a process: a fork where it would start a program."""

    def __init__(self, directory: str, **traits: Any) -> None:
        super().__init__(**traits)
        self.directory = directory

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> dict[str, Any]:
        """Fork a kernel; `cmd`, the program that would be started, is not needed."""
        self.process = _Process(self.parent.connection_file, self.directory)
        self.pid = self.pgid = self.process.pid
        return self.connection_info

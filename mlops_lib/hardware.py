"""Where a run computes: device, precision, threads, memory."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_lib import machine
from mlops_lib.params import ParameterError

if TYPE_CHECKING:
    import torch

# Of glibc's malloc.h and Linux's mman.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX, NEVER, MADV_HUGEPAGE = -1, -3, -4, -1, 14
HUGE_PAGE = 2**21
BLOCK_BYTES, HEAP_BLOCKS = 2**29, 8  # of address space: it takes no memory until it is used

CPUINFO = Path("/proc/cpuinfo")
MAPS = Path("/proc/self/maps")
AMX_GAINS_FROM_PIXELS = 64  # smaller images gain nothing from bf16 on a CPU with AMX


@dataclass(frozen=True)
class Device:
    """A device and the precision in which autocast computes there; float32: no autocast."""

    device: torch.device
    amp_dtype: torch.dtype
    allocator: str = "default"  # of host memory

    def autocast(self) -> AbstractContextManager:
        """Return the context in which a forward pass runs."""
        import torch

        if self.amp_dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, self.amp_dtype)

    @property
    def is_plain_cpu(self) -> bool:
        """Say whether this is a CPU in full precision."""
        import torch

        return self.device.type == "cpu" and self.amp_dtype == torch.float32

    def stream(self) -> torch.cuda.Stream | None:
        """Return a new CUDA stream; None on a CPU."""
        import torch

        return torch.cuda.Stream(self.device) if self.device.type == "cuda" else None

    @contextmanager
    def within(self, side: torch.cuda.Stream | None) -> Iterator[None]:
        """Work in a stream apart, as what comes before a capture has to; in None, as usual."""
        if side is None:
            yield
            return
        import torch

        main = torch.cuda.current_stream(self.device)
        side.wait_stream(main)
        with torch.cuda.stream(side):
            yield
        main.wait_stream(side)

    def capture(self, work: Callable[[], None]) -> Callable[[], None]:
        """Record `work` as a CUDA graph, without doing it; return what does it.

        Raises RuntimeError where the work can't be captured.
        """
        import torch

        graph = torch.cuda.CUDAGraph()
        # A DataLoader's thread may pin memory meanwhile. Where a capture fails, torch may leave its
        # stream the current one.
        with (
            torch.cuda.stream(torch.cuda.current_stream(self.device)),
            torch.cuda.graph(graph, capture_error_mode="thread_local"),
        ):
            work()
        return graph.replay

    def synchronize(self) -> None:
        """Wait until the device has finished: to be called before a clock is read."""
        import torch

        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def describe(self) -> dict[str, str | int | None]:
        """Return what a record says of device, threads, precision and memory."""
        import torch

        cuda = self.device.type == "cuda"
        return {
            "device": self.device.type,
            "device_name": torch.cuda.get_device_name(self.device) if cuda else machine.cpu_name(),
            "threads": torch.get_num_threads(),
            "amp_dtype": str(self.amp_dtype).removeprefix("torch."),
            "allocator": self.allocator,
        }


def prepare(device: str = "auto", amp: str = "auto", input_size: int = 28, seed: int = 0) -> Device:
    """Choose device and precision, and seed torch's generators.

    `amp="auto"` is mixed precision on CUDA, and on a CPU that computes in bf16 where that gains:
    with AVX-512 BF16 at any size, but where there is AMX, for larger images only. float16 (with a
    gradient scaler) is for CUDA devices without bfloat16.
    Raises ParameterError where CUDA is asked for and absent.
    """
    require(device)
    import torch

    cuda = device != "cpu" and torch.cuda.is_available()
    if device == "cuda" and not cuda:  # the driver is there, but too old for this PyTorch
        raise ParameterError(
            "device='cuda' is not allowed: PyTorch can't use this machine's CUDA device; "
            "use 'auto' or 'cpu'"
        )
    allocator = "glibc, freed memory kept on huge pages" if keep_memory() else "default"
    torch.backends.cudnn.allow_tf32 = False  # float32 is float32, in convolutions as in products
    # Set even where they are as many: MKL then rounds as where a runner sets them.
    torch.set_num_threads(min(torch.get_num_threads(), len(machine.cores())))
    torch.manual_seed(seed)
    where = torch.device("cuda" if cuda else "cpu")
    return Device(where, _amp_dtype(amp, cuda, input_size), allocator)


def keep_memory() -> bool:
    """Let glibc keep freed memory for the next step, on huge pages; say whether it does.

    Else every large tensor is returned to the system when freed, and its pages are cleared
    and mapped anew a moment later. Elsewhere than on glibc nothing is changed.
    """
    if sys.platform != "linux":
        return False
    import resource  # Unix alone has it

    libc = ctypes.CDLL(None)
    if not hasattr(libc, "gnu_get_libc_version"):
        return False
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    # Before 2.35, glibc took no threshold above 32 MiB.
    kept = libc.mallopt(M_MMAP_THRESHOLD, 2**30) or libc.mallopt(M_MMAP_MAX, 0)
    kept = kept and libc.mallopt(M_TRIM_THRESHOLD, NEVER)
    scarce = resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY
    blocks = [libc.malloc(BLOCK_BYTES) for _ in range(1 if scarce else HEAP_BLOCKS)]
    # Freed, the blocks stay glibc's; they lie in the heap, but where that can't grow. What the heap
    # holds by now, torch's tables that each call reads, the system moves in the background.
    for start, size in [*((block, BLOCK_BYTES) for block in filter(None, blocks)), _heap()]:
        aligned = -(-start // HUGE_PAGE) * HUGE_PAGE
        if size > HUGE_PAGE:
            libc.madvise(aligned, size - HUGE_PAGE, MADV_HUGEPAGE)
    for block in blocks:
        libc.free(block)
    return bool(kept)


def _heap() -> tuple[int, int]:
    """Return where the heap of this process begins, and its bytes, on Linux; zeros without one."""
    lines = MAPS.read_text().splitlines() if MAPS.exists() else []
    places = [line.split()[0] for line in lines if line.endswith("[heap]")]
    if not places:
        return 0, 0
    start = int(places[0].split("-")[0], 16)
    return start, int(places[-1].split("-")[1], 16) - start


def require(device: str) -> None:
    """Raise ParameterError where CUDA is asked for and absent."""
    if device == "cuda" and not machine.cuda_is_present():
        raise ParameterError(
            "device='cuda' is not allowed: this machine has no CUDA device; use 'auto' or 'cpu'"
        )


def _cpu_gains(input_size: int) -> bool:
    """Say whether this CPU trains on images of this size faster in bf16 than in float32."""
    import torch

    able = torch.cpu.get_capabilities()
    if able.get("amx_tile", False):
        return input_size >= AMX_GAINS_FROM_PIXELS
    return able.get("avx512_bf16", False)


def _amp_dtype(amp: str, cuda: bool, input_size: int) -> torch.dtype:
    import torch

    gains = cuda or _cpu_gains(input_size)
    if amp == "off" or (amp == "auto" and not gains):
        return torch.float32
    if cuda and not torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.float16
    return torch.bfloat16

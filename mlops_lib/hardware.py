"""Where a run computes: the device, and the precision there."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_lib import fast, machine
from mlops_lib.fast import memory
from mlops_lib.params import ParameterError

if TYPE_CHECKING:
    import torch

AMX_GAINS_FROM_PIXELS = 64  # smaller images gain nothing from bf16 on a CPU with AMX


@dataclass(frozen=True)
class Device:
    """A device of torch's, the precision in which autocast computes there, and how."""

    device: torch.device
    amp_dtype: torch.dtype  # float32: no autocast
    allocator: str = "default"  # of host memory
    fast: bool = True  # with the tricks of `mlops_lib/fast/`

    def autocast(self) -> AbstractContextManager:
        """Return the context in which a forward pass runs."""
        import torch

        if self.amp_dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, self.amp_dtype)

    @property
    def is_cuda(self) -> bool:
        """Return whether this is a CUDA device."""
        return self.device.type == "cuda"

    @property
    def is_plain_cpu(self) -> bool:
        """Return whether this is a CPU in full precision."""
        import torch

        return self.device.type == "cpu" and self.amp_dtype == torch.float32

    def synchronize(self) -> None:
        """Wait until the device has finished: to be called before a clock is read."""
        import torch

        if self.is_cuda:
            torch.cuda.synchronize(self.device)

    def describe(self) -> dict[str, str | int | bool | None]:
        """Return what a record says of device, threads, precision, memory and tricks."""
        import torch

        name = torch.cuda.get_device_name(self.device) if self.is_cuda else machine.cpu_name()
        return {
            "device": self.device.type,
            "device_name": name,
            "threads": torch.get_num_threads(),
            "amp_dtype": str(self.amp_dtype).removeprefix("torch."),
            "allocator": self.allocator,
            "fast": self.fast,
        }


def prepare(device: str = "auto", amp: str = "auto", input_size: int = 28, seed: int = 0) -> Device:
    """Choose device and precision, and seed torch's generators.

    `amp="auto"` is mixed precision on CUDA, and on a CPU that computes in bf16 where that gains:
    with AMX for larger images, with AMD's AVX-512 BF16 at any size. float16 (with a gradient
    scaler) is for CUDA devices without bfloat16. `MLOPS_FAST=off` leaves the tricks of
    `mlops_lib/fast/` out.
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
    with_tricks = fast.is_on()
    kept = with_tricks and memory.keep()
    allocator = "glibc, freed memory kept on huge pages" if kept else "default"
    torch.backends.cudnn.allow_tf32 = False  # float32 is float32, in convolutions as in products
    # Set even where the number is the same: MKL then rounds as where a runner sets it.
    torch.set_num_threads(min(torch.get_num_threads(), len(machine.cores())))
    torch.manual_seed(seed)
    where = torch.device("cuda" if cuda else "cpu")
    return Device(where, _amp_dtype(amp, cuda, input_size), allocator, with_tricks)


def require(device: str) -> None:
    """Raise ParameterError where CUDA is asked for and absent."""
    if device == "cuda" and not machine.cuda_is_present():
        raise ParameterError(
            "device='cuda' is not allowed: this machine has no CUDA device; use 'auto' or 'cpu'"
        )


def _cpu_gains(input_size: int) -> bool:
    """Return whether this CPU trains on images of this size faster in bf16 than in float32."""
    import torch

    able = torch.cpu.get_capabilities()
    if able.get("amx_tile", False):
        return input_size >= AMX_GAINS_FROM_PIXELS
    # AMD's multiply twice as many numbers a cycle in bf16 as in float32, Intel's no more.
    return able.get("avx512_bf16", False) and machine.is_amd()


def _amp_dtype(amp: str, cuda: bool, input_size: int) -> torch.dtype:
    import torch

    gains = cuda or _cpu_gains(input_size)
    if amp == "off" or (amp == "auto" and not gains):
        return torch.float32
    if cuda and not torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.float16
    return torch.bfloat16

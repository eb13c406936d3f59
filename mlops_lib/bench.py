"""Timing on a device: warm up, synchronise, repeat."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from mlops_lib.hardware import Device

PEAK_SIZE = {"cpu": 2048, "cuda": 8192}  # rows and columns of the matrices multiplied


@dataclass(frozen=True)
class Timing:
    """Seconds of each repeat; the median is the figure to quote."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def measure(
    work: Callable[[], object], device: Device, repeats: int = 10, warmup: int = 3
) -> Timing:
    """Time `work` on a device `repeats` times, after `warmup` calls that don't count."""
    for _ in range(warmup):
        work()
    seconds = []
    for _ in range(repeats):
        device.synchronize()
        start = time.perf_counter()
        work()
        device.synchronize()
        seconds.append(time.perf_counter() - start)
    return Timing(tuple(seconds))


def matmul_peak(device: Device, size: int | None = None) -> float:
    """Measure the device's peak: FLOP/s of a product of two square matrices in its precision.

    A multiply-add counts as two, as vendors count.
    """
    size = size or PEAK_SIZE[device.device.type]
    a, b = torch.randn(2, size, size, device=device.device).to(device.amp_dtype)
    return 2 * size**3 / measure(lambda: a @ b, device).median

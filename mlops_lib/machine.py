"""What this computer has: processor, cores, CUDA devices. Nothing here imports torch."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import sys
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
INSTRUCTIONS = {"amx_tile": "AMX", "avx512f": "AVX-512", "avx2": "AVX2"}  # the widest first


def cpu_name() -> str:
    """Return the processor's name as the system gives it."""
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def instructions() -> str:
    """Return the processor's widest vector instructions: AMX, AVX-512 or AVX2; "" if unknown."""
    flags = _cpuinfo("flags").split()
    return next((name for flag, name in INSTRUCTIONS.items() if flag in flags), "")


def is_amd() -> bool:
    """Return whether the processor is one of AMD's."""
    return _cpuinfo("vendor_id") == "AuthenticAMD"


def _cpuinfo(field: str) -> str:
    """Return a field of the first core in /proc/cpuinfo; "" if it is not there."""
    text = CPUINFO.read_text("utf-8", "replace") if CPUINFO.exists() else ""  # Linux has it
    found = re.search(rf"^{field}\s*:(.*)$", text, re.MULTILINE)
    return found[1].strip() if found else ""


def cores() -> list[int]:
    """Return the numbers of the processor cores that this process may use.

    As many as its container has time for, where that is fewer.
    """
    import joblib

    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))[: joblib.cpu_count()]
    return list(range(joblib.cpu_count()))


def is_rationed() -> bool:
    """Return whether this process may use more cores than it has time for, as in a container."""
    return hasattr(os, "sched_getaffinity") and len(cores()) < len(os.sched_getaffinity(0))


def threads() -> int:
    """Return how many threads this process is to use: one a core, at most OMP_NUM_THREADS.

    To OpenMP that is a list, a number for each level of nested parallel regions.
    """
    levels = [level.strip() for level in os.environ.get("OMP_NUM_THREADS", "").split(",")]
    sound = all(level.isdecimal() and int(level) for level in levels)
    return min(len(cores()), int(levels[0])) if sound else len(cores())


def cuda_count() -> int:
    """Ask NVIDIA's driver how many devices it finds; takes milliseconds, needs no torch."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
        count = ctypes.c_int(0)
        found = driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0
    except (OSError, AttributeError):
        return 0
    return count.value if found else 0


def cuda_is_present() -> bool:
    """Return whether there is a CUDA device."""
    return cuda_count() > 0

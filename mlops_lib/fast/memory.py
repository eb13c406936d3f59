"""Freed memory kept for the next step, on huge pages.

By default every large tensor is returned to the system when it is freed, and its pages are cleared
and mapped again a moment later.

Gain: part of the benchmark "ResNet-18, 28x28, batch 16: times the plain loop".
Where: Linux with glibc; no effect elsewhere. Called by `hardware.prepare`, for the whole process.
Off: `MLOPS_FAST=off`.
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

# From glibc's malloc.h and Linux's mman.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX, NEVER, MADV_HUGEPAGE = -1, -3, -4, -1, 14
HUGE_PAGE = 2**21
BLOCK_BYTES, HEAP_BLOCKS = 2**29, 8  # of address space: it takes no memory until it is used
MAPS = Path("/proc/self/maps")


def keep() -> bool:
    """Let glibc keep freed memory for the next step, on huge pages; return whether it does."""
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
    lines = MAPS.read_text("utf-8", "replace").splitlines() if MAPS.exists() else []
    places = [line.split()[0] for line in lines if line.endswith("[heap]")]
    if not places:
        return 0, 0
    start = int(places[0].split("-")[0], 16)
    return start, int(places[-1].split("-")[1], 16) - start

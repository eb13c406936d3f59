import mmap
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from mlops_lib.fast import memory


def test_memory_is_kept_on_glibc():
    assert memory.keep() == ("glibc" in platform.libc_ver()[0])


@pytest.mark.skipif(sys.platform != "linux", reason="of Linux's maps")
def test_a_library_in_a_folder_that_is_not_named_in_utf_8_is_no_obstacle(tmp_path):
    library = os.fsencode(tmp_path) + b"/caf\xe9.so"
    with open(library, "w+b") as file:
        file.truncate(mmap.PAGESIZE)
        with mmap.mmap(file.fileno(), 0):
            assert b"caf\xe9" in memory.MAPS.read_bytes()
            assert memory._heap()[1] > 0


@pytest.mark.skipif("glibc" not in platform.libc_ver()[0], reason="of glibc's heap")
@pytest.mark.parametrize(("limit", "blocks"), [(-1, memory.HEAP_BLOCKS), (2**31, 1)])
def test_memory_is_reserved_where_there_is_room_and_not_taken(limit, blocks):
    code = f"""
import re, resource
from pathlib import Path
from mlops_lib.fast import memory

def size(name):
    return 1024 * int(re.search(name + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

resource.setrlimit(resource.RLIMIT_AS, ({limit}, {limit}))
before = size("VmSize"), size("VmRSS")
assert memory.keep()
print(size("VmSize") - before[0], size("VmRSS") - before[1])
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    reserved, taken = map(int, ran.stdout.split())
    assert reserved == pytest.approx(blocks * memory.BLOCK_BYTES, rel=0.05)
    assert taken < memory.BLOCK_BYTES / 8


@pytest.mark.skipif("glibc" not in platform.libc_ver()[0], reason="of glibc's heap")
def test_huge_pages_are_asked_for_in_all_of_the_heap():
    code = """
import re
from pathlib import Path
from mlops_lib.fast import memory

assert memory.keep()
pieces = re.split(r"\\n(?=[0-9a-f]+-)", Path("/proc/self/smaps").read_text())
sizes = {True: 0, False: 0}
for piece in pieces:
    if "[heap]" in piece:
        advised = " hg" in piece.partition("VmFlags")[2]
        sizes[advised] += 1024 * int(re.search(r"Size: +(\\d+)", piece)[1])
assert sum(sizes.values()) == memory._heap()[1]
print(sizes[True], sizes[False])
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    advised, rest = map(int, ran.stdout.split())
    if Path("/sys/kernel/mm/transparent_hugepage").exists():
        assert advised > memory.BLOCK_BYTES * memory.HEAP_BLOCKS
        assert rest <= 2 * memory.HUGE_PAGE

import platform

import pytest
import torch

from mlops_lib import hardware, machine
from mlops_lib.params import ParameterError


@pytest.fixture
def no_cuda(monkeypatch):
    monkeypatch.setattr(machine, "cuda_is_present", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def test_cuda_without_one_is_refused(no_cuda):
    with pytest.raises(ParameterError, match=r"device='cuda' is not allowed.*'auto' or 'cpu'"):
        hardware.prepare("cuda")


def test_cuda_that_torch_can_not_use_is_refused(no_cuda, monkeypatch):
    monkeypatch.setattr(machine, "cuda_is_present", lambda: True)
    with pytest.raises(ParameterError, match=r"device='cuda' is not allowed: PyTorch can't use"):
        hardware.prepare("cuda")


def test_auto_is_the_cpu_without_cuda(no_cuda):
    assert hardware.prepare("auto").device == torch.device("cpu")


def test_the_seed_decides_the_next_random_numbers():
    hardware.prepare("cpu", seed=3)
    first = torch.rand(4)
    hardware.prepare("cpu", seed=3)
    assert torch.equal(first, torch.rand(4))


@pytest.mark.parametrize(
    ("amp", "cuda", "amx", "amd", "size", "dtype"),
    [
        ("off", True, True, True, 224, torch.float32),
        ("on", False, False, False, 28, torch.bfloat16),
        ("auto", False, True, True, 28, torch.float32),
        ("auto", False, True, False, 28, torch.float32),
        ("auto", False, False, True, 28, torch.bfloat16),
        ("auto", False, False, False, 28, torch.float32),
        ("auto", False, True, False, 224, torch.bfloat16),
        ("auto", False, False, True, 224, torch.bfloat16),
        ("auto", False, False, False, 224, torch.float32),
    ],
)
def test_mixed_precision_is_used_where_it_gains(monkeypatch, amp, cuda, amx, amd, size, dtype):
    able = {"amx_tile": amx, "avx512_bf16": True}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    monkeypatch.setattr(machine, "is_amd", lambda: amd)
    assert hardware._amp_dtype(amp, cuda, size) == dtype


def test_a_cpu_without_bfloat16_trains_in_float32(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    monkeypatch.setattr(machine, "is_amd", lambda: True)
    assert hardware._amp_dtype("auto", False, 224) == torch.float32


@pytest.mark.parametrize(("native", "dtype"), [(True, torch.bfloat16), (False, torch.float16)])
def test_cuda_without_bfloat16_uses_float16(monkeypatch, native, dtype):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: native)
    assert hardware._amp_dtype("auto", True, 28) == dtype


def test_autocast_is_off_in_float32():
    place = hardware.Device(torch.device("cpu"), torch.float32)
    with place.autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
    with hardware.Device(torch.device("cpu"), torch.bfloat16).autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16


def test_the_record_says_where_it_ran():
    described = hardware.Device(torch.device("cpu"), torch.bfloat16).describe()
    assert described["device"] == "cpu"
    assert described["amp_dtype"] == "bfloat16"
    assert described["threads"] == torch.get_num_threads()
    kept = "glibc" in platform.libc_ver()[0]
    assert ("huge pages" in hardware.prepare("cpu").describe()["allocator"]) == kept


@pytest.mark.parametrize(
    ("asked", "count"),
    [("", 3), ("2", 2), ("8", 3), ("0", 3), ("x", 3), ("1,2", 1), (" 2, 1", 2), ("1,x", 3)],
)
def test_threads_are_one_a_core_and_at_most_what_is_asked_for(monkeypatch, asked, count):
    monkeypatch.setattr(machine, "cores", lambda: [0, 1, 2])
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert machine.threads() == count


def test_a_processor_whose_name_is_not_in_utf_8_has_one_all_the_same(monkeypatch, tmp_path):
    (tmp_path / "cpuinfo").write_bytes(b"processor : 0\nmodel name : caf\xe9\n")
    monkeypatch.setattr(machine, "CPUINFO", tmp_path / "cpuinfo")
    assert machine.cpu_name() == "caf\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize(
    ("flags", "widest"),
    [("fma avx2", "AVX2"), ("avx2 avx512f", "AVX-512"), ("amx_tile avx512f avx2", "AMX"), ("", "")],
)
def test_a_processors_widest_instructions_are_named(monkeypatch, tmp_path, flags, widest):
    (tmp_path / "cpuinfo").write_text(
        f"model name\t: x\nflags\t\t: sse {flags}\nbugs\t: amx_tile\n"
    )
    monkeypatch.setattr(machine, "CPUINFO", tmp_path / "cpuinfo")
    assert machine.instructions() == widest


def test_a_container_has_as_many_cores_as_it_has_time_for(monkeypatch):
    every = machine.cores()
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")  # as a quota of one processor counts
    assert machine.cores() == every[:1]

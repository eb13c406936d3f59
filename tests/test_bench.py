import torch

from mlops_lib import bench
from mlops_lib.hardware import Device

CPU = Device(torch.device("cpu"), torch.float32)


def test_warm_up_does_not_count():
    calls = []
    timing = bench.measure(lambda: calls.append(1), CPU, repeats=4, warmup=2)
    assert len(calls) == 6
    assert len(timing.seconds) == 4


def test_the_device_has_finished_whenever_a_clock_is_read(monkeypatch):
    log = []
    monkeypatch.setattr(Device, "synchronize", lambda place: log.append("wait"))
    monkeypatch.setattr(bench.time, "perf_counter", lambda: log.append("clock") or 0.0)
    bench.measure(lambda: log.append("work"), CPU, repeats=2, warmup=1)
    assert log == ["work"] + 2 * ["wait", "clock", "work", "wait", "clock"]


def test_the_peak_is_measured_in_the_precision_of_the_place():
    assert bench.matmul_peak(Device(torch.device("cpu"), torch.bfloat16), size=64) > 0


def test_the_median_is_quoted():
    assert bench.Timing((3.0, 1.0, 100.0)).median == 3.0


def test_peak_counts_a_multiply_add_as_two(monkeypatch):
    monkeypatch.setattr(bench, "measure", lambda work, place: bench.Timing((0.5,)))
    assert bench.matmul_peak(CPU, size=10) == 2 * 10**3 / 0.5

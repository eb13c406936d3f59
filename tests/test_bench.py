import torch

from mlops_lib import bench
from mlops_lib.hardware import Place

CPU = Place(torch.device("cpu"), torch.float32)


def test_warm_up_does_not_count():
    calls = []
    timing = bench.measure(lambda: calls.append(1), CPU, repeats=4, warmup=2)
    assert len(calls) == 6
    assert len(timing.seconds) == 4


def test_the_median_is_quoted():
    assert bench.Timing((3.0, 1.0, 100.0)).median == 3.0


def test_peak_counts_a_multiply_add_as_two(monkeypatch):
    monkeypatch.setattr(bench, "measure", lambda work, place: bench.Timing((0.5,)))
    assert bench.matmul_peak(CPU, size=10) == 2 * 10**3 / 0.5

"""Without a CUDA device, a stand-in captures: it does again what was recorded."""

import pytest
import torch
from test_train import CPU, small_network, source

from mlops_lib import train
from mlops_lib.fast import graph
from mlops_lib.hardware import Device


@pytest.fixture
def captured(monkeypatch):
    """Let a capture return its work; return the list of what was captured."""
    works = []
    monkeypatch.setattr(graph, "capture", lambda work: works.append(work) or work)
    return works


def make_step(batches, optimizer="sgd"):
    network = small_network()
    made = train.make_optimizer(optimizer, network, 0.05)
    return train.Step(network, CPU, made, batches.batch)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_replayed_steps_are_the_steps_themselves(captured, optimizer):
    batches = source(batch_size=10)  # six full ones and a short one
    eager = make_step(batches, optimizer)
    graphed = graph.GraphedStep(make_step(batches, optimizer))
    losses = [
        [*train.epoch(step, batches, 1), *train.epoch(step, batches, 2)]
        for step in (eager, graphed)
    ]
    assert losses[0] == losses[1]
    assert (eager.is_graphed, graphed.is_graphed) == (False, True)
    assert graphed.eager_steps == graph.EAGER_STEPS + 2
    assert len(captured) == 1


def test_a_short_batch_is_not_captured(captured):
    batches = source(batch_size=20)  # three full ones and a short one
    step = graph.GraphedStep(make_step(batches))
    train.epoch(step, batches, 1)
    assert not captured
    train.epoch(step, batches, 2)
    assert len(captured) == 1
    assert (len(step.inputs[0]), step.eager_steps) == (20, graph.EAGER_STEPS + 2)


def test_without_a_graph_steps_stay_eager(monkeypatch, capsys):
    def capture(work):
        raise RuntimeError("operation not permitted\nwhen stream is capturing")

    monkeypatch.setattr(graph, "capture", capture)
    step = graph.GraphedStep(make_step(source(), "adam"))
    assert len(train.epoch(step, source(), 1)) == 8
    assert step.eager_steps == 8
    assert capsys.readouterr().out.count("operation not permitted") == 1


@pytest.mark.parametrize(
    ("kind", "amp_dtype", "can"),
    [
        (torch.optim.SGD, torch.float32, True),
        (torch.optim.Adagrad, torch.float32, False),
        (torch.optim.SGD, torch.float16, False),  # its losses are scaled
    ],
)
@pytest.mark.filterwarnings("ignore:.*GradScaler is enabled, but CUDA is not available")
def test_what_can_not_be_captured_is_not_tried(kind, amp_dtype, can):
    network = small_network()
    device = Device(torch.device("cuda"), amp_dtype)
    step = train.Step(network, device, kind(network.parameters(), lr=0.1), source().batch)
    assert graph.can_capture(step) is can


def test_on_a_cpu_a_step_is_left_alone():
    step = make_step(source())
    assert graph.replayed(step) is step

"""What only a CUDA device can show: steps replayed as a graph are the eager ones."""

import gc
from functools import partial

import numpy as np
import pytest
import torch

from mlops_lib import bench, hardware, resnet, train
from mlops_lib.batches import PIPELINES, Preparation
from mlops_lib.fast import graph as graphs
from mlops_lib.hardware import Device

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")


@pytest.fixture
def place():
    return hardware.prepare("cuda", amp="off")


def source(place, pipeline="resident", count=200):
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 10, count)
    images = (generator.integers(0, 100, (count, 28, 28)) + 15 * labels[:, None, None]).astype(
        np.uint8
    )
    options = {"batch_size": 16, "device": place.device}
    if pipeline == "dataloader":
        options["pin_memory"] = True
    return PIPELINES[pipeline](images, labels, Preparation.fitted(images), **options)


def fit(place, optimizer, graph=True, pipeline="resident", **options):
    """Train as a template does, without the taps that can't matter."""
    torch.manual_seed(0)
    network = resnet.build("resnet18")
    resnet.remove_dead_taps(network, 1, 28, products=place.is_plain_cpu)
    network.to(place.device)
    with pytest.MonkeyPatch.context() as patch:
        if not graph:
            patch.setattr(graphs, "EAGER_STEPS", 10**9)
        settings = {"optimizer": optimizer, "lr": 1e-3, "epochs": 3} | options
        batches = source(place, pipeline)
        return train.fit(network, batches, batches, place, **settings)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_graph_trains_as_eager_steps_do(place, optimizer, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    eager, graphed = fit(place, optimizer, graph=False), fit(place, optimizer)
    assert (eager.graphed, graphed.graphed) == (False, True)
    assert graphed.step_losses[:6] == pytest.approx(eager.step_losses[:6], rel=1e-3)
    for fitted in (eager, graphed):  # after more steps, roundings of either have grown apart
        assert fitted.epochs[-1].train_loss < fitted.epochs[0].train_loss


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_an_interrupted_training_goes_on(place, optimizer, tmp_path, monkeypatch):
    path = tmp_path / "run.pt"
    validate, calls = train._validate, []

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return validate(*arguments)

    monkeypatch.setattr(train, "_validate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fit(place, optimizer, checkpoint=path)
    kept = train.checkpoints.read(path)["history"]["epochs"]
    resumed = fit(place, optimizer, checkpoint=path)
    assert len(resumed.epochs) == 3
    assert [vars(epoch) for epoch in resumed.epochs[:2]] == kept
    assert resumed.epochs[-1].train_loss < resumed.epochs[0].train_loss


def peak_of(work):
    """Return how many bytes of the device `work` takes at most, beyond what is there already."""
    gc.collect()  # what earlier trainings left
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    work()
    return torch.cuda.max_memory_allocated() - before


@pytest.mark.parametrize("graph", [True, False])
def test_memory_does_not_grow(place, graph):
    few, many = (peak_of(partial(fit, place, "adam", graph, epochs=n)) for n in (2, 6))
    assert many <= 1.05 * few


def test_mixed_precision_is_graphed_too():
    place = hardware.prepare("cuda")
    assert place.amp_dtype != torch.float32
    fitted = fit(place, "adam")
    assert fitted.graphed is (place.amp_dtype == torch.bfloat16)
    assert fitted.epochs[-1].train_loss < fitted.epochs[0].train_loss


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_float16_trains(optimizer):
    """Losses are scaled so far at first that the first steps overflow, and are left out."""
    place = Device(torch.device("cuda"), torch.float16)
    fitted = fit(place, optimizer)
    assert not fitted.diverged and not fitted.graphed
    assert fitted.epochs[-1].train_loss < fitted.epochs[0].train_loss


def test_a_dataloader_trains_as_what_is_resident_does(place):
    resident, loaded = fit(place, "sgd"), fit(place, "sgd", pipeline="dataloader")
    assert loaded.step_losses[:5] == pytest.approx(resident.step_losses[:5], rel=1e-3)
    assert loaded.graphed == resident.graphed


def test_the_peak_of_the_device_is_measured(place):
    assert bench.matmul_peak(place) > 1e12

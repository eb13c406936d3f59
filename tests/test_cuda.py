"""What only a CUDA device can show: steps replayed as a graph are the eager ones."""

import numpy as np
import pytest
import torch

from mlops_lib import hardware, resnet, train
from mlops_lib.batches import Preparation, Resident

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")


@pytest.fixture
def place():
    return hardware.prepare("cuda", amp="off")


def source(place, count=200, batch_size=16):
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 10, count)
    images = (generator.integers(0, 100, (count, 28, 28)) + 15 * labels[:, None, None]).astype(
        np.uint8
    )
    options = {"batch_size": batch_size, "device": place.device}
    return Resident(images, labels, Preparation.fitted(images), **options)


def fit(place, optimizer, graph=True, **options):
    torch.manual_seed(0)
    network = resnet.build("resnet18").to(place.device)
    with pytest.MonkeyPatch.context() as patch:
        if not graph:
            patch.setattr(train, "EAGER_STEPS", 10**9)
        settings = {"optimizer": optimizer, "lr": 1e-3, "epochs": 3} | options
        batches = source(place)
        return train.fit(network, batches, batches, place, **settings)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_graph_trains_as_eager_steps_do(place, optimizer):
    eager, graphed = fit(place, optimizer, graph=False), fit(place, optimizer)
    assert (eager.graphed, graphed.graphed) == (False, True)
    assert graphed.step_losses[:5] == pytest.approx(eager.step_losses[:5], rel=1e-3)
    assert graphed.epochs[-1].train_loss == pytest.approx(eager.epochs[-1].train_loss, rel=0.2)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_an_interrupted_training_goes_on(place, optimizer, tmp_path, monkeypatch):
    path = tmp_path / "run.pt"
    whole = fit(place, optimizer)
    validate, calls = train._validate, []

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return validate(*arguments)

    monkeypatch.setattr(train, "_validate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fit(place, optimizer, checkpoint=path)
    resumed = fit(place, optimizer, checkpoint=path)
    assert len(resumed.epochs) == 3
    assert resumed.epochs[-1].train_loss == pytest.approx(whole.epochs[-1].train_loss, rel=0.2)


@pytest.mark.parametrize("graph", [True, False])
def test_memory_does_not_grow(place, graph):
    fit(place, "adam", graph, epochs=2)
    before = torch.cuda.memory_reserved()
    fit(place, "adam", graph, epochs=6)
    assert torch.cuda.memory_reserved() <= 1.5 * before


def test_mixed_precision_is_graphed_too():
    place = hardware.prepare("cuda")
    assert place.amp_dtype != torch.float32
    fitted = fit(place, "adam")
    assert fitted.graphed is (place.amp_dtype == torch.bfloat16)
    assert fitted.epochs[-1].train_loss < fitted.epochs[0].train_loss

import numpy as np
import pytest
import torch
from torch import nn

from mlops_lib import train
from mlops_lib.batches import Preparation, Resident
from mlops_lib.hardware import Place

CPU = Place(torch.device("cpu"), torch.float32)


def bright_or_dark(count=64):
    """Return images that one weight can tell apart: class 1 is bright."""
    labels = np.arange(count, dtype=np.int64) % 2
    noise = np.random.default_rng(0).integers(0, 40, (count, 28, 28))
    return (noise + 180 * labels[:, None, None]).astype(np.uint8), labels


def source(place=CPU, seed=0, batch_size=8):
    images, labels = bright_or_dark()
    options = {"batch_size": batch_size, "device": place.device, "seed": seed}
    return Resident(images, labels, Preparation.fitted(images), **options)


def small_network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.AvgPool2d(7), nn.Flatten(), nn.BatchNorm1d(16), nn.Linear(16, 10))


def fit(network, place=CPU, **options):
    settings = {"optimizer": "adam", "lr": 0.05, "epochs": 2} | options
    return train.fit(network, source(place), source(place), place, **settings)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_an_easy_task_is_learnt(optimizer):
    network = small_network()
    fitted = fit(network, optimizer=optimizer)
    assert fitted.epochs[-1].val_accuracy == 1.0
    assert fitted.epochs[-1].train_loss < fitted.epochs[0].train_loss
    assert len(fitted.step_losses) == 16
    assert fitted.images_seen == 128
    assert not fitted.diverged


def test_the_same_seed_gives_the_same_bits():
    first, second = small_network(), small_network()
    one, other = fit(first), fit(second)
    assert one.step_losses == other.step_losses
    for name, weights in first.state_dict().items():
        assert torch.equal(weights, second.state_dict()[name])


def test_mixed_precision_takes_the_same_path():
    place = Place(torch.device("cpu"), torch.bfloat16)
    exact, mixed = fit(small_network()), fit(small_network(), place)
    assert mixed.epochs[-1].val_accuracy == 1.0
    assert mixed.step_losses != exact.step_losses
    assert mixed.step_losses[0] == pytest.approx(exact.step_losses[0], rel=0.02)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_replayed_steps_are_the_steps_themselves(monkeypatch, optimizer):
    """A stand-in for the CUDA graph does again what was recorded, with the inputs it was given."""
    captured = []

    def capture(self, work):
        captured.append(work)
        return work

    def losses(wants_graph):
        network, batches = small_network(), source(batch_size=10)  # six full ones and a short one
        stepper = train.make_optimizer(optimizer, network, 0.05)
        step = train.Step(network, CPU, stepper, batches.batch)
        step.wants_graph = wants_graph
        return [*train.epoch(step, batches, 1), *train.epoch(step, batches, 2)], step.eager_steps

    monkeypatch.setattr(Place, "capture", capture)
    eager, eager_steps = losses(wants_graph=False)
    replayed, few = losses(wants_graph=True)
    assert replayed == eager
    assert (eager_steps, few) == (14, train.EAGER_STEPS + 2)
    assert len(captured) == 1


def test_without_a_graph_training_goes_on(monkeypatch, capsys):
    def capture(self, work):
        raise RuntimeError("operation not permitted\nwhen stream is capturing")

    monkeypatch.setattr(Place, "capture", capture)
    network = small_network()
    step = train.Step(network, CPU, train.make_optimizer("adam", network, 0.05), source().batch)
    step.wants_graph = True
    assert len(train.epoch(step, source(), 1)) == 8
    assert step.eager_steps == 8
    assert capsys.readouterr().out.count("operation not permitted") == 1


def test_momentum_is_sgds():
    network = small_network()
    sgd = train.make_optimizer("sgd", network, 0.1, 0.5)
    assert isinstance(sgd, torch.optim.SGD)
    assert sgd.defaults["momentum"] == 0.5
    assert isinstance(train.make_optimizer("adam", network, 0.1), torch.optim.Adam)


def test_a_loss_that_is_not_finite_ends_the_training_as_diverged():
    network = small_network()
    fitted = fit(network, optimizer="sgd", lr=1e38, epochs=3)
    assert fitted.diverged
    assert len(fitted.epochs) == 1
    logits, _ = train.test(network, fitted, source(), CPU)
    assert logits.shape == (64, 10)


def test_the_best_epoch_on_validation_images_is_kept(monkeypatch):
    judged = iter([(0.3, 0.5), (0.2, 0.9), (0.1, 0.7)])
    monkeypatch.setattr(train, "_validate", lambda *_: next(judged))
    kept = []
    network = small_network()
    original = network.state_dict

    def state_dict(*args, **kwargs):
        state = original(*args, **kwargs)
        kept.append(state)
        return state

    monkeypatch.setattr(network, "state_dict", state_dict)
    fitted = fit(network, epochs=3)
    assert fitted.best_epoch == 2
    assert fitted.best_val_accuracy == 0.9
    assert len(kept) == 2


def test_the_best_weights_are_tested_and_stay_loaded(monkeypatch):
    judged = iter([(0.3, 0.9), (0.2, 0.5)])
    monkeypatch.setattr(train, "_validate", lambda *_: next(judged))
    network, alone = small_network(), small_network()
    fitted = fit(network, epochs=2)
    last = network[3].weight.clone()
    logits, last_accuracy = train.test(network, fitted, source(), CPU)
    assert last_accuracy == 1.0
    assert not torch.equal(network[3].weight, last)
    assert np.array_equal(logits, train.predict(network, source(), CPU))
    monkeypatch.setattr(train, "_validate", lambda *_: (0.3, 0.9))
    fit(alone, epochs=1)  # the same first epoch: its weights are the ones that were kept
    assert torch.equal(network[3].weight, alone[3].weight)


def test_results_have_the_records_fields():
    fitted = fit(small_network())
    results = train.results(fitted, 0.5)
    assert set(results["epochs"][0]) == {"train_loss", "val_loss", "val_accuracy", "seconds"}
    assert results["images_per_second"] == pytest.approx(128 / results["train_seconds"])
    assert results["last_test_accuracy"] == 0.5

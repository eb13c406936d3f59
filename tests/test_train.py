import copy
import functools
import sys
from typing import Literal

import numpy as np
import pytest
import torch
from torch import nn

from mlops_lib import checkpoint, resnet, train
from mlops_lib.batches import Loader, Preparation, Resident
from mlops_lib.hardware import Device

CPU = Device(torch.device("cpu"), torch.float32)


@pytest.fixture(autouse=True)
def one_thread():
    """Networks this small gain nothing from two, which wait for each other on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


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
    place = Device(torch.device("cpu"), torch.bfloat16)
    exact, mixed = fit(small_network()), fit(small_network(), place)
    assert mixed.epochs[-1].val_accuracy == 1.0
    assert mixed.step_losses != exact.step_losses
    assert mixed.step_losses[0] == pytest.approx(exact.step_losses[0], rel=0.02)


def test_warming_up_changes_nothing(monkeypatch):
    network, sizes = cut_network(), []
    before = copy.deepcopy(network.state_dict())
    states = torch.random.get_rng_state()
    eager = train.Step.__call__
    monkeypatch.setattr(
        train.Step,
        "__call__",
        lambda step, inputs: sizes.append(len(inputs[0])) or eager(step, inputs),
    )
    train._warm_up(network, source(batch_size=24), CPU, "sgd")
    assert sizes == [24, 16]
    assert torch.equal(torch.random.get_rng_state(), states)
    for name, weights in network.state_dict().items():
        assert torch.equal(weights, before[name])


def test_momentum_is_sgds():
    network = small_network()
    sgd = train.make_optimizer("sgd", network, 0.1, 0.5)
    assert isinstance(sgd, torch.optim.SGD)
    assert sgd.defaults["momentum"] == 0.5
    assert isinstance(train.make_optimizer("adam", network, 0.1), torch.optim.Adam)


def test_an_optimizer_is_looked_up_by_its_name(monkeypatch):
    with pytest.raises(ValueError, match="optimizer='adamw' is not allowed: use sgd or adam"):
        train.make_optimizer("adamw", small_network(), 0.1)
    monkeypatch.setattr(train, "Optimizer", Literal["adamw", "rmsprop"])
    adamw = train.make_optimizer("adamw", small_network(), 0.1)
    assert type(adamw) is torch.optim.AdamW
    assert (adamw.defaults["lr"], adamw.defaults["fused"]) == (0.1, True)
    assert train.make_optimizer("rmsprop", small_network(), 0.1, 0.5).defaults["momentum"] == 0.5


def test_a_loss_that_is_not_finite_ends_the_training_as_diverged():
    network = small_network()
    fitted = fit(network, optimizer="sgd", lr=1e38, epochs=3)
    assert fitted.diverged
    assert len(fitted.epochs) == 1
    logits, accuracy = train.test(network, fitted, source(), CPU)
    assert logits.shape == (64, 10)
    (epoch,) = train.results(fitted, accuracy)["epochs"]
    assert epoch["train_loss"] is None
    assert epoch["seconds"] > 0


@pytest.mark.parametrize(
    ("step_losses", "val_loss", "diverged"),
    [
        ([2.5, 2.0], np.nan, True),
        ([2.5, 2.0], np.inf, True),
        ([np.nan, 2.0], 2.0, True),
        ([2.0, -np.inf], 2.0, True),
        ([2.5, 1e30], 1e30, False),
    ],
)
def test_divergence_is_judged_by_every_loss(monkeypatch, step_losses, val_loss, diverged):
    monkeypatch.setattr(train, "epoch", lambda *_: list(step_losses))
    monkeypatch.setattr(train, "_validate", lambda *_: (val_loss, 0.5))
    fitted = fit(small_network(), epochs=2)
    assert (fitted.diverged, len(fitted.epochs)) == (diverged, 1 if diverged else 2)
    assert train.results(fitted, 0.5)["diverged"] is diverged  # as the record says it


def test_a_single_step_after_which_the_network_overflows_has_diverged():
    batches = source(batch_size=64)
    deep = nn.Sequential(small_network(), nn.ReLU(), nn.Linear(10, 10))
    fitted = train.fit(deep, batches, batches, CPU, optimizer="sgd", lr=1e30, epochs=2)
    assert np.isfinite(fitted.step_losses).all() and not np.isfinite(fitted.epochs[0].val_loss)
    assert fitted.diverged and len(fitted.epochs) == 1


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
    assert results["train_cpu_seconds"] > 0
    assert results["last_test_accuracy"] == 0.5


class Interrupted(BaseException):
    """What stops a training between an epoch's last step and its checkpoint."""


# Best in the first epoch, in the second, in the last: best and latest weights differ or don't.
ACCURACIES = [(0.9, 0.8, 0.7), (0.7, 0.9, 0.8), (0.7, 0.8, 0.9)]
SCALED = Device(torch.device("cpu"), torch.float16)


def cut_network():
    """Return a network of cut convolutions on 2x2 and 1x1 maps, which draws random numbers."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.AvgPool2d(14),
        nn.Conv2d(1, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.AvgPool2d(2),
        nn.Conv2d(8, 8, 3, padding=1, bias=False),
        nn.Flatten(),
        nn.Dropout(),
        nn.Linear(8, 10),
    )
    assert resnet.remove_dead_taps(network, 1, 28) == {"4": 8 * 8 * 8}
    return network


def attempt(monkeypatch, path, accuracies=(0.7, 0.9, 0.8), stop=None, make=cut_network, **options):
    """Train a fresh network for three epochs; `stop` interrupts in that epoch."""
    latest = []

    def epoch(step, source, number, title):
        losses = real_epoch(step, source, number)
        if number == stop:
            raise Interrupted
        latest.append(number)
        return losses

    real_epoch, real_validate = train.epoch, train._validate
    judge = lambda *given: (real_validate(*given)[0], accuracies[latest[-1] - 1])  # noqa: E731
    network = make()
    with monkeypatch.context() as patched:
        patched.setattr(train, "epoch", epoch)
        patched.setattr(train, "_validate", judge)
        return network, fit(network, **{"checkpoint": path, "epochs": 3} | options)


def same_bits(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def history(fitted):
    """Return all of a history that does not depend on the clock, weights aside."""
    epochs = [(e.train_loss, e.val_loss, e.val_accuracy) for e in fitted.epochs]
    rest = {"epochs": epochs, "best_weights": None, "cpu_seconds": None}
    return vars(fitted) | rest


def assert_same(found, expected):
    assert history(found[1]) == history(expected[1])
    assert same_bits(found[1].best_weights, expected[1].best_weights)
    assert same_bits(found[0].state_dict(), expected[0].state_dict())


@pytest.mark.parametrize("accuracies", ACCURACIES)
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_interrupted_anywhere_training_ends_with_the_same_bits(
    monkeypatch, tmp_path, capsys, optimizer, accuracies
):
    path = tmp_path / "run.pt"
    options = {"accuracies": accuracies, "optimizer": optimizer}
    undisturbed = attempt(monkeypatch, None, **options)
    for stop in (1, 2, 2, 3):
        with pytest.raises(Interrupted):
            attempt(monkeypatch, path, stop=stop, **options)
    measured = [row["seconds"] for row in checkpoint.read(path)["history"]["epochs"]]
    capsys.readouterr()
    resumed = attempt(monkeypatch, path, **options)
    assert "resumed after epoch 2 of 3, interrupted earlier\n" in capsys.readouterr().out
    assert_same(resumed, undisturbed)
    assert [epoch.seconds for epoch in resumed[1].epochs[:2]] == measured


def test_after_the_last_epoch_nothing_is_trained_again(monkeypatch, tmp_path, capsys):
    done = attempt(monkeypatch, tmp_path / "run.pt")
    monkeypatch.setattr(train.Step, "__call__", None)
    again = attempt(monkeypatch, tmp_path / "run.pt")
    assert "resumed after epoch 3 of 3" in capsys.readouterr().out
    assert_same(again, done)
    assert again[1].epochs == done[1].epochs


def test_the_scale_of_losses_is_resumed(monkeypatch, tmp_path):
    scaler = functools.partial(torch.amp.GradScaler, init_scale=2.0**24, growth_interval=5)
    monkeypatch.setattr(torch.amp, "GradScaler", scaler)
    undisturbed = attempt(monkeypatch, None, place=SCALED)
    with pytest.raises(Interrupted):
        attempt(monkeypatch, tmp_path / "run.pt", place=SCALED, stop=2)
    assert checkpoint.read(tmp_path / "run.pt")["scaler"]["scale"] != 2.0**24
    assert_same(attempt(monkeypatch, tmp_path / "run.pt", place=SCALED), undisturbed)


def test_momentum_begins_at_nothing_after_a_step_that_overflows(monkeypatch):
    scaler = functools.partial(torch.amp.GradScaler, init_scale=2.0**60)
    monkeypatch.setattr(torch.amp, "GradScaler", scaler)
    network, batches = small_network(), source()
    step = train.Step(network, SCALED, train.make_optimizer("sgd", network, 0.1), batches.batch)
    torch.use_deterministic_algorithms(True)  # memory that is not set is filled with nan
    try:
        step(next(batches.for_training(1)))
    finally:
        torch.use_deterministic_algorithms(False)
    kept = [state["momentum_buffer"] for state in step.optimizer.state.values()]
    assert kept and not torch.cat([momentum.flatten() for momentum in kept]).any()


def test_a_dataloader_trains_as_what_is_resident_does():
    images, labels = bright_or_dark()
    options = {"batch_size": 8, "device": CPU.device}
    trained = []
    for pipeline in (Resident, Loader):
        batches = pipeline(images, labels, Preparation.fitted(images), **options)
        settings = {"optimizer": "sgd", "lr": 0.1, "epochs": 2}
        trained.append(train.fit(small_network(), batches, batches, CPU, **settings))
    assert trained[0].step_losses == trained[1].step_losses


def test_a_diverged_training_stays_so(monkeypatch, tmp_path):
    settings = {"optimizer": "sgd", "lr": 1e38, "epochs": 3, "checkpoint": tmp_path / "run.pt"}
    first, again = fit(small_network(), **settings), fit(small_network(), **settings)
    assert first.diverged
    assert again.diverged
    assert len(again.epochs) == 1
    assert again.epochs[0].seconds == first.epochs[0].seconds


def test_best_weights_that_are_the_latest_are_stored_once(monkeypatch, tmp_path):
    shared = []
    for name, accuracies in ("best last", (0.7, 0.8, 0.9)), ("best first", (0.9, 0.8, 0.7)):
        attempt(monkeypatch, tmp_path / name, accuracies)
        state = checkpoint.read(tmp_path / name)
        best = state["history"]["best_weights"]["4.weight"]
        shared.append(state["weights"]["4.weight"].data_ptr() == best.data_ptr())
    assert shared == [True, False]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"make": small_network}, "shapes"),
        ({"place": Device(torch.device("cpu"), torch.bfloat16)}, "amp_dtype"),
        ({"lr": 0.01}, "lr"),
        ({"optimizer": "sgd", "epochs": 2}, "optimizer, epochs"),
    ],
)
def test_the_checkpoint_of_another_training_is_ignored(
    monkeypatch, tmp_path, capsys, options, named
):
    path = tmp_path / "run.pt"
    attempt(monkeypatch, path)
    expected = attempt(monkeypatch, None, **options)
    capsys.readouterr()
    found = attempt(monkeypatch, path, **options)
    said = capsys.readouterr().out
    assert f"is ignored, it has other {named}\n" in said
    assert "resumed" not in said
    assert_same(found, expected)
    attempt(monkeypatch, path, **options)
    assert "resumed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "value", "named"),
    [("__version__", "0.4.1", "torch"), ("get_num_threads", lambda: 77, "threads")],
)
def test_a_checkpoint_of_other_software_or_threads_is_ignored(
    monkeypatch, tmp_path, capsys, name, value, named
):
    expected = attempt(monkeypatch, tmp_path / "run.pt")
    monkeypatch.setattr(torch, name, value)
    capsys.readouterr()
    assert_same(attempt(monkeypatch, tmp_path / "run.pt"), expected)
    assert f"is ignored, it has other {named}\n" in capsys.readouterr().out


def test_a_checkpoint_of_other_code_or_images_is_ignored(monkeypatch, tmp_path, capsys):
    path = tmp_path / "run.pt"
    attempt(monkeypatch, path)
    with monkeypatch.context() as patched:
        patched.setattr(train, "CODE", "of another commit")
        attempt(monkeypatch, path)
    assert "is ignored, it has other code\n" in capsys.readouterr().out
    images, labels = bright_or_dark()
    others = (255 - images, labels)
    monkeypatch.setattr(sys.modules[__name__], "bright_or_dark", lambda: others)
    attempt(monkeypatch, path)
    assert "is ignored, it has other code, images\n" in capsys.readouterr().out


def test_a_damaged_checkpoint_is_ignored(monkeypatch, tmp_path, capsys):
    path = tmp_path / "run.pt"
    undisturbed = attempt(monkeypatch, path)
    path.write_bytes(path.read_bytes()[:-100])
    assert_same(attempt(monkeypatch, path), undisturbed)
    assert capsys.readouterr().out.count("is ignored, it can't be read") == 1
    assert len(checkpoint.read(path)["history"]["epochs"]) == 3

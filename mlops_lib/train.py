"""The training loop: mixed precision or float32, CPU or GPU, on one path.

fit → the weights of every epoch are judged on the validation split → those that do best there
give the test figure. Mixed precision follows Micikevicius et al. (2018, arXiv:1710.03740).
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm

from mlops_lib.batches import Batch, Resident
from mlops_lib.hardware import Place
from mlops_lib.progress import bar

EVALUATION_BATCH = 500


@dataclass(frozen=True)
class Epoch:
    """What an epoch achieved; `seconds` is its training, without the validation after it."""

    train_loss: float
    val_loss: float
    val_accuracy: float
    seconds: float


@dataclass
class Fitted:
    """The history of a training, and the weights that did best on the validation split."""

    epochs: list[Epoch] = field(default_factory=list)
    step_losses: list[float] = field(default_factory=list)  # one a training step
    images_seen: int = 0
    best_epoch: int = 0  # counted from 1
    best_weights: dict[str, torch.Tensor] = field(default_factory=dict)
    diverged: bool = False  # the loss was no longer finite: training stopped there

    @property
    def train_seconds(self) -> float:
        return sum(epoch.seconds for epoch in self.epochs)

    @property
    def images_per_second(self) -> float:
        return self.images_seen / self.train_seconds

    @property
    def best_val_accuracy(self) -> float:
        return self.epochs[self.best_epoch - 1].val_accuracy if self.best_epoch else -1.0


def make_optimizer(
    name: str, network: nn.Module, lr: float, momentum: float = 0.9
) -> torch.optim.Optimizer:
    """Return torch's SGD (with `momentum`) or Adam (Kingma & Ba, 2015), in fused form."""
    if name == "sgd":
        return torch.optim.SGD(network.parameters(), lr=lr, momentum=momentum, fused=True)
    return torch.optim.Adam(network.parameters(), lr=lr, fused=True)


def fit(
    network: nn.Module,
    train: Resident,
    val: Resident,
    place: Place,
    *,
    optimizer: str,
    lr: float,
    momentum: float = 0.9,
    epochs: int = 1,
) -> Fitted:
    """Train `network` in place, on its device; afterwards it holds the last epoch's weights.

    `train` and `val` yield batches of float (N, C, S, S) and int64 labels (N,).
    """
    fitted = Fitted()
    stepper = make_optimizer(optimizer, network, lr, momentum)
    scaler = torch.amp.GradScaler(place.device.type, enabled=place.amp_dtype == torch.float16)
    for number in range(1, epochs + 1):
        start = time.perf_counter()
        with bar(total=len(train), desc=f"epoch {number}/{epochs}", unit=" images") as progress:
            losses = _train_epoch(network, train.shuffled(number), place, stepper, scaler, progress)
        seconds = time.perf_counter() - start
        val_loss, val_accuracy = _validate(network, val, place)
        train_loss = float(np.mean(losses))
        fitted.epochs.append(Epoch(train_loss, val_loss, val_accuracy, seconds))
        fitted.step_losses += losses
        fitted.images_seen += progress.n
        print(f"epoch {number}/{epochs}: validation accuracy {val_accuracy:.2%}", flush=True)
        if val_accuracy > fitted.best_val_accuracy:
            fitted.best_epoch = number
            fitted.best_weights = copy.deepcopy(network.state_dict())
        if not np.isfinite(train_loss):
            fitted.diverged = True
            break
    return fitted


def _train_epoch(
    network: nn.Module,
    batches: Iterable[Batch],
    place: Place,
    stepper: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    progress: tqdm,
) -> list[float]:
    """Go through the batches once; return the loss of every step."""
    network.train()
    losses = []
    for images, labels in batches:
        with place.autocast():
            loss = F.cross_entropy(network(images), labels)
        scaler.scale(loss).backward()
        scaler.step(stepper)
        scaler.update()
        stepper.zero_grad(set_to_none=True)
        losses.append(loss.detach())  # stays on the device: nothing waits for it
        progress.update(len(labels))
    return torch.stack(losses).tolist()  # waits for the device


def predict(network: nn.Module, source: Resident, place: Place) -> np.ndarray:
    """Return the logits of all images of `source`, in their order: float32 (N, 10)."""
    network.eval()
    logits = []
    with torch.inference_mode():
        for images, _ in source.in_order(EVALUATION_BATCH):
            with place.autocast():
                logits.append(network(images).float())
    return torch.cat(logits).cpu().numpy()


def _validate(network: nn.Module, source: Resident, place: Place) -> tuple[float, float]:
    """Return mean loss and accuracy (0..1)."""
    logits = torch.from_numpy(predict(network, source, place))
    labels = source.labels.cpu()
    loss = F.cross_entropy(logits, labels)
    return float(loss), float((logits.argmax(1) == labels).float().mean())


def test(
    network: nn.Module, fitted: Fitted, source: Resident, place: Place
) -> tuple[np.ndarray, float]:
    """Score the test images with the last weights and with the best; the best stay loaded.

    Returns the logits of the best weights, float32 (N, 10), and the accuracy of the last.
    """
    logits = predict(network, source, place)
    last_accuracy = float(np.mean(logits.argmax(1) == source.labels.cpu().numpy()))
    if fitted.best_epoch < len(fitted.epochs):
        network.load_state_dict(fitted.best_weights)
        logits = predict(network, source, place)
    return logits, last_accuracy


def results(fitted: Fitted, last_test_accuracy: float) -> dict[str, Any]:
    """Return what a record says of a training."""
    return {
        "last_test_accuracy": last_test_accuracy,
        "epochs": [asdict(epoch) for epoch in fitted.epochs],
        "best_epoch": fitted.best_epoch,
        "train_seconds": fitted.train_seconds,
        "images_per_second": fitted.images_per_second,
        "diverged": fitted.diverged,
    }

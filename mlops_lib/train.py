"""The training loop: mixed precision or float32, CPU or GPU, on one path.

fit → the weights of every epoch are judged on the validation split → those that do best there
give the test figure. With a checkpoint, an interrupted training resumes after its last complete
epoch and ends, on a CPU, with the same bits.
Mixed precision follows Micikevicius et al. (2018, arXiv:1710.03740).
"""

from __future__ import annotations

import copy
import inspect
import itertools
import time
import weakref
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, get_args

import joblib
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from mlops_lib import checkpoint as checkpoints
from mlops_lib.batches import Batch, Resident
from mlops_lib.fast import adam, blocks, casts, graph, norms
from mlops_lib.hardware import Device
from mlops_lib.params import Optimizer
from mlops_lib.progress import bar

EVALUATION_PIXELS = 500 * 28**2  # of a batch: large maps take memory
FITTED: weakref.WeakSet[nn.Module] = weakref.WeakSet()  # networks that `fit` has trained
# What a training's bits depend on.
CODE = checkpoints.code_hash("hardware.py", "resnet.py", "batches.py", "train.py", "fast")


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
    cpu_seconds: float = 0.0  # of all threads, in the time that `epochs` say
    best_epoch: int = 0  # counted from 1
    best_weights: dict[str, torch.Tensor] = field(default_factory=dict)
    diverged: bool = False  # a loss was no longer finite: training stopped there
    graphed: bool = False  # steps were replayed as a CUDA graph

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
    """Return torch's optimizer of this name: `sgd`, `adam` (Kingma & Ba, 2015) and the like.

    It is fused, fit for a CUDA graph, and has `momentum`, where its class knows these.
    Raises ValueError for a name that is not among the parameters'.
    """
    if name not in get_args(Optimizer):
        allowed = " or ".join(get_args(Optimizer))
        raise ValueError(f"optimizer={name!r} is not allowed: use {allowed}")
    weights = list(network.parameters())
    optimizer = {title.lower(): found for title, found in vars(torch.optim).items()}[name]
    options = {"momentum": momentum, "fused": True, "capturable": weights[0].is_cuda}
    known = inspect.signature(optimizer).parameters
    made = optimizer(weights, lr=lr, **{key: options[key] for key in options if key in known})
    if name == "sgd" and momentum:
        for weight in weights:  # torch's would be unset memory after a first step that overflows
            made.state[weight]["momentum_buffer"] = torch.zeros_like(weight)
    return made


class Step:
    """A training step: forward pass, backward pass, update, in the device's precision.

    Called with what `batches` yields, it returns the loss, on the device: nothing waits for it.
    """

    is_graphed = False  # not replayed as a CUDA graph: see `fast.graph`

    def __init__(
        self,
        network: nn.Module,
        device: Device,
        optimizer: torch.optim.Optimizer,
        batch: Callable[..., Batch],
    ) -> None:
        self.network, self.device, self.optimizer, self.batch = network, device, optimizer, batch
        self.forward: Callable[[torch.Tensor], torch.Tensor] = network  # images → logits
        scales = device.amp_dtype == torch.float16
        self.scaler = torch.amp.GradScaler(device.device.type, enabled=scales)

    def __call__(self, inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
        self.optimizer.zero_grad(set_to_none=True)
        images, labels = self.batch(*inputs)  # (B, C, S, S), (B,)
        with self.device.autocast():
            loss = F.cross_entropy(self.forward(images), labels)
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss.detach()


def accelerate(step: Step) -> None:
    """Let a step do the same in less time, in place: each line is a module of `mlops_lib/fast/`."""
    norms.call_directly(step.network)
    step.optimizer = adam.in_backward(step.optimizer)
    if step.device.is_cuda and blocks.triton_runs(step.device.device):
        blocks.join(step.network)
    if step.device.is_cuda and step.device.amp_dtype != torch.float32:
        step.forward = casts.casting(step.network, step.device.amp_dtype)


def fit(
    network: nn.Module,
    train: Resident,
    val: Resident,
    device: Device,
    *,
    optimizer: str,
    lr: float,
    momentum: float = 0.9,
    epochs: int = 1,
    checkpoint: Path | None = None,
) -> Fitted:
    """Train `network` in place, on its device; afterwards it holds the last epoch's weights.

    `train` and `val` yield batches of float (N, C, S, S) and int64 labels (N,).
    With a file `checkpoint`, the state of training is saved there after each epoch, and training
    resumes from it. Returns the history, one entry an epoch, and the best weights.
    Raises ValueError for an unknown optimizer, RuntimeError for a network that was trained before.
    """
    step = Step(network, device, make_optimizer(optimizer, network, lr, momentum), train.batch)
    take_step: Step | graph.GraphedStep = step
    if device.fast:
        accelerate(step)
        take_step = graph.replayed(step)
    settings = {"optimizer": optimizer, "lr": lr, "momentum": momentum, "epochs": epochs}
    identity = _identity(step, train, val, settings) if checkpoint else {}
    fitted = _resume(checkpoint, step, identity) if checkpoint else Fitted()
    if not fitted.epochs and network in FITTED:
        raise RuntimeError(
            "this network has been trained already, and would go on from there: build a new one "
            "(in a notebook, run all cells again)"
        )
    FITTED.add(network)
    if device.is_cuda:
        _warm_up(network, train, device, optimizer)
    try:
        while len(fitted.epochs) < epochs and not fitted.diverged:
            number = len(fitted.epochs) + 1
            start, start_cpu = time.perf_counter(), time.process_time()
            losses = epoch(take_step, train, number, f"epoch {number}/{epochs}")
            seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - start_cpu
            val_loss, val_accuracy = _validate(network, val, device)
            train_loss = float(np.mean(losses))
            fitted.epochs.append(Epoch(train_loss, val_loss, val_accuracy, seconds))
            fitted.cpu_seconds += cpu_seconds
            fitted.step_losses += losses
            fitted.images_seen += train.images_in_epoch
            fitted.diverged = not np.isfinite([*losses, val_loss]).all()
            fitted.graphed |= take_step.is_graphed
            print(f"epoch {number}/{epochs}: validation accuracy {val_accuracy:.2%}", flush=True)
            if val_accuracy > fitted.best_val_accuracy:
                fitted.best_epoch = number
                fitted.best_weights = {}  # else there are three for a moment
                fitted.best_weights = copy.deepcopy(network.state_dict())
            if checkpoint and epochs > 1:  # a single epoch leaves little to lose after it
                checkpoints.save(checkpoint, _state(step, fitted, identity))
    finally:
        adam.release(step.optimizer)
    return fitted


def _warm_up(network: nn.Module, train: Resident, device: Device, optimizer: str) -> None:
    """Let kernels be compiled and loaded in steps of a copy, which no epoch's time holds."""
    with torch.random.fork_rng():
        spare = copy.deepcopy(network).train()
        step = Step(spare, device, make_optimizer(optimizer, spare, lr=1e-3), train.batch)
        if device.fast:
            accelerate(step)
        batches = train.for_training(1)
        inputs = next(batches)
        batches.close()  # a DataLoader's processes
        for size in (len(inputs[0]), len(train) % train.batch_size):
            if size > 1:
                step(tuple(part[:size] for part in inputs))
    device.synchronize()


def _identity(
    step: Step, train: Resident, val: Resident, settings: dict[str, Any]
) -> dict[str, Any]:
    """Return what has to be the same for a training to resume with the same bits."""
    tensors = itertools.chain(step.network.named_parameters(), step.network.named_buffers())
    device = step.device.describe()
    if device["device"] == "cuda":
        del device["threads"], device["allocator"]  # of the host, which computes nothing
    return {
        "layout": [part.name for kind in (Fitted, Epoch) for part in fields(kind)],
        "torch": str(torch.__version__),
        **device,
        "shapes": {name: tuple(tensor.shape) for name, tensor in tensors},
        "code": CODE,
        "images": joblib.hash([part.digest() for part in (train, val)]),
        "batch_size": train.batch_size,
        "seed": train.seed,
        "shuffle": train.shuffle,
        **settings,
    }


def _generators(device: Device) -> list[torch.Generator]:
    """Return the random generators that training draws from."""
    generators = [torch.default_generator]
    if device.is_cuda:
        generators.append(torch.cuda.default_generators[torch.cuda.current_device()])
    return generators


def _state(step: Step, fitted: Fitted, identity: dict[str, Any]) -> dict[str, Any]:
    """Return the state that a training resumes from, as tensors and plain containers.

    Weights that are the best so far are saved once: they share their memory.
    """
    is_best = fitted.best_epoch == len(fitted.epochs)
    return {
        "identity": identity,
        "history": vars(fitted) | {"epochs": [asdict(epoch) for epoch in fitted.epochs]},
        "weights": fitted.best_weights if is_best else step.network.state_dict(),
        "optimizer": step.optimizer.state_dict(),
        "scaler": step.scaler.state_dict(),
        "generators": [generator.get_state() for generator in _generators(step.device)],
    }


def _resume(path: Path, step: Step, identity: dict[str, Any]) -> Fitted:
    """Restore the state in which a checkpoint was written; return the history so far.

    The history is empty, and nothing is changed, where there is no checkpoint of this training.
    """
    state = checkpoints.read(path)
    if state is None:
        return Fitted()
    found = state.get("identity", {})
    if other := [name for name, value in identity.items() if found.get(name) != value]:
        has = f"it has other {', '.join(other)}"
        print(f"the checkpoint {path.name} is ignored, {has}", flush=True)
        return Fitted()
    step.network.load_state_dict(state["weights"])
    step.optimizer.load_state_dict(state["optimizer"])
    step.scaler.load_state_dict(state["scaler"])
    for generator, bits in zip(_generators(step.device), state["generators"], strict=True):
        generator.set_state(bits)
    done = [Epoch(**row) for row in state["history"]["epochs"]]
    epochs = identity["epochs"]
    print(f"resumed after epoch {len(done)} of {epochs}, interrupted earlier", flush=True)
    return Fitted(**state["history"] | {"epochs": done})


def epoch(
    step: Step | graph.GraphedStep, source: Resident, number: int, title: str = ""
) -> list[float]:
    """Take a `Step` for each batch of an epoch (counted from 1); return the losses."""
    step.network.train()
    losses = []
    with bar(total=len(source), desc=title, unit=" images", disable=not title) as progress:
        for inputs in source.for_training(number):
            losses.append(step(inputs))
            progress.update(len(inputs[0]))
        return torch.stack(losses).tolist()  # waits for the device


def predict(network: nn.Module, source: Resident, device: Device) -> np.ndarray:
    """Return the logits of all images of `source`, in their order: float32 (N, 10)."""
    network.eval()
    pixels = EVALUATION_PIXELS * (8 if device.is_cuda else 1)  # fewer launches
    batch_size = max(32, pixels // source.prepare.input_size**2)
    logits = []
    with torch.inference_mode():
        for images, _ in source.in_order(batch_size):
            with device.autocast():
                logits.append(network(images).float())
    return torch.cat(logits).cpu().numpy()


def _validate(network: nn.Module, source: Resident, device: Device) -> tuple[float, float]:
    """Return mean loss and accuracy (0..1)."""
    logits = torch.from_numpy(predict(network, source, device))
    labels = source.labels.cpu()
    loss = F.cross_entropy(logits, labels)
    return float(loss), float((logits.argmax(1) == labels).double().mean())


def test(
    network: nn.Module, fitted: Fitted, source: Resident, device: Device
) -> tuple[np.ndarray, float]:
    """Score the test images with the last weights and with the best; the best stay loaded.

    Returns the logits of the best weights, float32 (N, 10), and the accuracy of the last.
    """
    logits = predict(network, source, device)
    last_accuracy = float(np.mean(logits.argmax(1) == source.labels.cpu().numpy()))
    if fitted.best_epoch < len(fitted.epochs):
        network.load_state_dict(fitted.best_weights)
        logits = predict(network, source, device)
    return logits, last_accuracy


def results(fitted: Fitted, last_test_accuracy: float) -> dict[str, Any]:
    """Return what a record says of a training; of a loss that is not finite, None."""
    epochs = [
        {name: value if np.isfinite(value) else None for name, value in asdict(epoch).items()}
        for epoch in fitted.epochs
    ]
    return {
        "last_test_accuracy": last_test_accuracy,
        "epochs": epochs,
        "best_epoch": fitted.best_epoch,
        "train_seconds": fitted.train_seconds,
        "train_cpu_seconds": fitted.cpu_seconds,
        "images_per_second": fitted.images_per_second,
        "diverged": fitted.diverged,
        "graphed": fitted.graphed,
    }

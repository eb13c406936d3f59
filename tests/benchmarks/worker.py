"""One contender of a benchmark, as a process: `worker.py CONTENDER KEY=VALUE ...`.

Prints `ready`, then answers every line it reads with the seconds that one round took. Rounds of
several contenders can so be interleaved on one machine, each with its own allocator and threads.
"""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader

CONTENDERS: dict[str, Callable] = {}


def contender(function: Callable) -> Callable:
    """Register a function from options to one that runs a round."""
    CONTENDERS[function.__name__] = function
    return function


def rows(count: int | None):
    """Return pooled images and labels of MNIST, `count` training rows and all test rows."""
    from mlops_lib import data

    images, labels = data.load("mnist")
    train, _, test = data.split(labels, 0)
    return images, labels, train[:count], test


def plain_loader(size, batch, steps):
    """Return what a tutorial writes: images by index as PIL, transforms, a DataLoader."""
    from PIL import Image
    from torchvision import transforms

    images, labels, train, _ = rows(batch * steps)
    steps_of_transform = [transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))]
    if size > 28:
        steps_of_transform[:0] = [transforms.Resize(size), transforms.Grayscale(3)]
    transform = transforms.Compose(steps_of_transform)

    class Images(torch.utils.data.Dataset):
        """What torchvision's MNIST does with an index."""

        def __len__(self):
            return len(train)

        def __getitem__(self, index):
            row = train[index]
            return transform(Image.fromarray(images[row])), int(labels[row])

    return DataLoader(Images(), batch_size=batch, shuffle=True)


def full_network(model: str, channels: int, seed: int = 0) -> nn.Module:
    """Return torchvision's network as it is, with one more or less input channel."""
    from mlops_lib import resnet

    torch.manual_seed(seed)
    return resnet.build(model, channels)


@contender
def plain(model="resnet18", size=28, batch=16, steps=100, device="cpu"):
    """The plain loop: default Adam, loss read at every step; float32, or on CUDA autocast."""
    loader = plain_loader(size, batch, steps)
    network = full_network(model, 3 if size > 28 else 1).train().to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    mixed = torch.autocast(device, torch.bfloat16, enabled=device == "cuda")

    def work():
        for x, y in loader:
            optimizer.zero_grad()
            with mixed:
                loss = F.cross_entropy(network(x.to(device)), y.to(device))
            loss.backward()
            optimizer.step()
            loss.item()

    return work


@contender
def ours(model="resnet18", size=28, batch=16, steps=100, device="cpu", without=None):
    """This project's loop, as a template runs it; `without` leaves one trick out."""
    from mlops_lib import train
    from mlops_lib.fast import graph

    if without:
        leave_out(without)

    images, labels, chosen, _ = rows(batch * steps)
    place, network, source = our_parts(
        images[chosen], labels[chosen], model=model, size=size, batch=batch, device=device
    )
    optimizer = train.make_optimizer("adam", network, lr=1e-3)
    step = train.Step(network, place, optimizer, source.batch)
    take_step = step
    if place.fast:
        train.accelerate(step)
        take_step = graph.replayed(step)
    return lambda: train.epoch(take_step, source, 1)


def leave_out(trick: str) -> None:
    """Switch one module of `mlops_lib/fast/` off in this process."""
    from mlops_lib import resnet
    from mlops_lib.fast import adam, few_pixels, memory, norms, pooling, small_maps

    module, name, instead = {
        "taps": (resnet, "remove_dead_taps", lambda network, *_, **__: None),
        "small_maps": (small_maps, "gains", lambda live: False),
        "few_pixels": (few_pixels, "gains", lambda pixels, channels: False),
        "pooling": (pooling, "pool_before_relu", lambda network: None),
        "norms": (norms, "call_directly", lambda network: None),
        "adam": (adam, "in_backward", lambda optimizer: optimizer),
        "memory": (memory, "keep", lambda: False),
    }[trick]
    setattr(module, name, instead)


def our_parts(images, labels, *, model="resnet18", size=28, batch=16, device="cpu", seed=0):
    """Return place, network and training images as a template prepares them."""
    from mlops_lib import batches, hardware, resnet

    place = hardware.prepare(device, "auto", size, seed)
    channels = 3 if size > 28 else 1
    network = full_network(model, channels, seed)
    resnet.remove_dead_taps(network, channels, size, products=place.is_plain_cpu)
    prepare = batches.Preparation.fitted(images, size, channels)
    source = batches.Resident(
        images, labels, prepare, batch_size=batch, device=place.device, seed=seed
    )
    return place, network.to(place.device), source


@contender
def lightning(batch=16, steps=100):
    """Lightning's trainer, with everything but the training turned off."""
    import logging

    import lightning as L

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

    class Module(L.LightningModule):
        def __init__(self):
            super().__init__()
            self.network = full_network("resnet18", 1)

        def training_step(self, batch, index):
            x, y = batch
            return F.cross_entropy(self.network(x), y)

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), lr=1e-3)

    module, loader = Module(), plain_loader(28, batch, steps)
    off = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    quiet = dict.fromkeys(off, False)
    return lambda: L.Trainer(max_epochs=1, accelerator="cpu", **quiet).fit(module, loader)


@contender
def skorch(batch=16, steps=100):
    """skorch's classifier."""
    from skorch import NeuralNetClassifier

    images, labels, train, _ = rows(batch * steps)
    x = ((torch.from_numpy(images[train]).float() / 255)[:, None] - 0.1307) / 0.3081
    net = NeuralNetClassifier(
        full_network("resnet18", 1), criterion=torch.nn.CrossEntropyLoss, train_split=None,
        optimizer=torch.optim.Adam, lr=1e-3, batch_size=batch, max_epochs=1, verbose=0,
    ).initialize()  # fmt: skip
    return lambda: net.partial_fit(x, labels[train])


@contender
def accelerate(batch=16, steps=100):
    """The plain loop, prepared by Accelerate."""
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    network = full_network("resnet18", 1).train()
    network, optimizer, loader = accelerator.prepare(
        network, torch.optim.Adam(network.parameters(), lr=1e-3), plain_loader(28, batch, steps)
    )

    def work():
        for x, y in loader:
            optimizer.zero_grad()
            accelerator.backward(F.cross_entropy(network(x), y))
            optimizer.step()

    return work


@contender
def plain_evaluation():
    """Predict the test images through a DataLoader, in batches of 64 on the full network."""
    from torch.utils.data import TensorDataset

    images, labels, _, test = rows(1)
    x = (torch.from_numpy(images[test]).float().div(255)[:, None] - 0.1307) / 0.3081
    loader = DataLoader(TensorDataset(x, torch.from_numpy(labels[test])), batch_size=64)
    network = full_network("resnet18", 1).eval()

    def work():
        right = 0
        with torch.no_grad():
            for batch, truth in loader:
                right += (network(batch).argmax(1) == truth).sum().item()

    return work


@contender
def our_evaluation():
    """Predict the test images as `train.predict` does."""
    from mlops_lib import train

    images, labels, _, test = rows(1)
    place, network, source = our_parts(images[test], labels[test])
    return lambda: train.predict(network, source, place)


def accuracy_of(train_and_predict: Callable) -> Callable:
    """Return a round that trains on all images and gives the test accuracy in its place."""
    images, labels, train, test = rows(None)

    def work():
        return float((train_and_predict(images, labels, train, test) == labels[test]).mean())

    work.gives_result = True
    return work


@contender
def plain_accuracy(seed=0):
    """The test accuracy after an epoch of the plain loop, batches of 128."""

    def train_and_predict(images, labels, train, test):
        x = (torch.from_numpy(images).float().div(255)[:, None] - 0.1307) / 0.3081
        y = torch.from_numpy(labels)
        network = full_network("resnet18", 1, seed)
        optimizer = torch.optim.Adam(network.parameters(), lr=3e-4)
        for positions in torch.as_tensor(train)[torch.randperm(len(train))].split(128):
            optimizer.zero_grad()
            F.cross_entropy(network(x[positions]), y[positions]).backward()
            optimizer.step()
        network.eval()
        with torch.no_grad():
            return torch.cat([network(part).argmax(1) for part in x[test].split(500)]).numpy()

    return accuracy_of(train_and_predict)


@contender
def our_accuracy(seed=0):
    """The test accuracy after an epoch as a template trains."""

    def train_and_predict(images, labels, chosen, test):
        from mlops_lib import batches, train

        place, network, source = our_parts(images[chosen], labels[chosen], batch=128, seed=seed)
        train.fit(network, source, source, place, optimizer="adam", lr=3e-4)
        unseen = batches.Resident(
            images[test], labels[test], source.prepare, batch_size=500, device=place.device
        )
        return train.predict(network, unseen, place).argmax(1)

    return accuracy_of(train_and_predict)


def svm_parts(warm_up: list):
    """Return training and test parts for an SVM; a small part in the first round."""
    from mlops_lib import data

    images, labels, train, test = rows(None)
    if not warm_up:
        warm_up.append(True)
        train, test = train[:500], test[:500]
    return (data.features(images[train]), labels[train]), data.features(images[test])


@contender
def plain_svm():
    """scikit-learn's SVC: libsvm."""
    from sklearn.svm import SVC

    warm_up = []

    def work():
        train, unseen = svm_parts(warm_up)
        SVC(kernel="rbf", C=10).fit(*train).predict(unseen)

    return work


@contender
def our_svm():
    """This project's fit and predict."""
    from mlops_lib import svm

    warm_up = []

    def work():
        train, unseen = svm_parts(warm_up)
        svm.fit(*train, kernel="rbf", C=10).predict(unseen)

    return work


def main() -> None:
    name, *words = sys.argv[1:]
    options = {
        key: int(value) if value.isdigit() else value
        for key, value in (word.split("=") for word in words)
    }
    if "jobs" in options:
        from mlops_lib.runner import kernels

        kernels.keep_to(kernels.shares(options.pop("jobs"))[options.pop("job")])
    work = CONTENDERS[name](**options)
    if not hasattr(work, "gives_result"):
        work()
    print("ready", flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        with redirect_stdout(io.StringIO()):  # standard output is for answers, not for bars
            result = work()
        print(result if hasattr(work, "gives_result") else time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    main()

"""One contender of a benchmark, as a process: `worker.py CONTENDER KEY=VALUE ...`.

Prints `ready`, then answers every line it reads with the seconds that one round took. Rounds of
several contenders can so be interleaved on one machine, each with its own allocator and threads.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

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


def full_network(model: str, channels: int) -> nn.Module:
    """Return torchvision's network as it is, with one more or less input channel."""
    from mlops_lib import resnet

    torch.manual_seed(0)
    return resnet.build(model, channels)


@contender
def plain(model="resnet18", size=28, batch=16, steps=100, threads=2):
    """The plain loop: float32, default Adam, loss read at every step."""
    loader = plain_loader(size, batch, steps)
    network = full_network(model, 3 if size > 28 else 1).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)

    def work():
        for x, y in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(network(x), y)
            loss.backward()
            optimizer.step()
            loss.item()

    return work


@contender
def ours(model="resnet18", size=28, batch=16, steps=100, threads=2):
    """This project's loop, as a template runs it."""
    from mlops_lib import batches, hardware, resnet, train

    place = hardware.prepare("cpu", "auto", size, 0)
    channels = 3 if size > 28 else 1
    images, labels, chosen, _ = rows(batch * steps)
    network = full_network(model, channels)
    resnet.remove_dead_taps(network, channels, size, products=place.is_plain_cpu)
    prepare = batches.Preparation.fitted(images[chosen], size, channels)
    source = batches.Resident(
        images[chosen], labels[chosen], prepare, batch_size=batch, device=place.device
    )
    optimizer = train.make_optimizer("adam", network, lr=1e-3)
    step = train.Step(network, place, optimizer, source.batch)
    return lambda: train.epoch(step, source, 1)


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
    from mlops_lib import batches, hardware, resnet, train

    place = hardware.prepare("cpu")
    images, labels, _, test = rows(1)
    network = full_network("resnet18", 1)
    resnet.remove_dead_taps(network, 1, 28)
    prepare = batches.Preparation.fitted(images[test])
    source = batches.Resident(
        images[test], labels[test], prepare, batch_size=64, device=place.device
    )
    return lambda: train.predict(network, source, place)


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
    torch.set_num_threads(options.get("threads", 2))
    work = CONTENDERS[name](**options)
    work()
    print("ready", flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        work()
        print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    main()

"""Batches of normalised images: from the device's memory, or through a DataLoader.

Both yield the same batches in the same order for the same seed.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass

import joblib
import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

from mlops_lib.machine import cores
from mlops_lib.params import Q1a

MAX_WORKERS = 4  # processes that bring images to a GPU, given enough cores
Batch = tuple[torch.Tensor, torch.Tensor]  # images, float (B, C, S, S), and labels, int64 (B,)


@dataclass(frozen=True)
class Preparation:
    """How stored images become a network's input; mean and std are of pixels in 0..255."""

    mean: float
    std: float
    input_size: int = 28
    in_channels: int = 1

    @classmethod
    def fitted(cls, images: np.ndarray, input_size: int = 28, in_channels: int = 1) -> Preparation:
        """Take mean and standard deviation from the training images, uint8 (N, H, W)."""
        return cls(float(images.mean()), float(images.std()), input_size, in_channels)

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Turn uint8 (N, H, W) into float32 (N, in_channels, input_size, input_size)."""
        x = images.unsqueeze(1).float().sub_(self.mean).div_(self.std)  # (N, 1, H, W)
        if x.shape[-1] != self.input_size:
            x = F.interpolate(x, size=self.input_size, mode="bilinear", align_corners=False)
        return x.expand(-1, self.in_channels, -1, -1)


def order(
    count: int, batch_size: int, seed: int, epoch: int, shuffle: bool = True
) -> list[torch.Tensor]:
    """Divide `count` images into batches of positions, shuffled by seed and epoch, or in order.

    The last batch may be shorter; a single remaining image is dropped, because batch
    normalisation can't train on one.
    """
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    positions = torch.randperm(count, generator=generator) if shuffle else torch.arange(count)
    return [chunk for chunk in positions.split(batch_size) if len(chunk) > 1]


class Resident:
    """All images as one uint8 tensor on the device; a batch is an index into it."""

    def __init__(
        self,
        images: np.ndarray,  # uint8 (N, H, W)
        labels: np.ndarray,  # int64 (N,)
        prepare: Preparation,
        *,
        batch_size: int,
        device: torch.device,
        seed: int = 0,
        shuffle: bool = True,
        pin_memory: bool = False,  # only a DataLoader does
    ) -> None:
        self.images = torch.from_numpy(images).to(device)
        self.labels = torch.from_numpy(labels).to(device)
        self.prepare, self.batch_size, self.device = prepare, batch_size, device
        self.seed, self.shuffle = seed, shuffle

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.labels)

    def digest(self) -> str:
        """Return a hash of images, labels and preparation."""
        stored = (self.images.cpu().numpy(), self.labels.cpu().numpy())
        return joblib.hash([*stored, self.prepare])

    @property
    def images_in_epoch(self) -> int:
        """Return the number of images in an epoch: all, except one that would be a batch alone."""
        return len(self) - (len(self) % self.batch_size == 1)

    def order(self, epoch: int) -> list[torch.Tensor]:
        """Return the positions of each training batch of an epoch."""
        return order(len(self), self.batch_size, self.seed, epoch, self.shuffle)

    def for_training(self, epoch: int) -> Generator[tuple[torch.Tensor, ...]]:
        """Yield the arguments of `batch`, on the device, for each training batch of an epoch."""
        chunks = self.order(epoch)
        sizes = [len(chunk) for chunk in chunks]
        for positions in torch.cat(chunks).to(self.device).split(sizes):
            yield (positions,)

    def batch(self, positions: torch.Tensor) -> Batch:
        """Make a batch of the images at `positions`, int64 (B,)."""
        images = self.images.index_select(0, positions)
        return self.prepare(images), self.labels.index_select(0, positions)

    def in_order(self, batch_size: int) -> Iterator[Batch]:
        """Yield all images in their stored order, for evaluation."""
        for images, labels in zip(
            self.images.split(batch_size), self.labels.split(batch_size), strict=True
        ):
            yield self.prepare(images), labels


class Loader(Resident):
    """All images in host memory; batches come through `torch.utils.data`, as is usual."""

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        prepare: Preparation,
        *,
        device: torch.device,
        pin_memory: bool = False,
        **options,
    ) -> None:
        super().__init__(images, labels, prepare, device=torch.device("cpu"), **options)
        cuda = device.type == "cuda"
        self.device, self.pin_memory = device, pin_memory and cuda
        # On a CPU, such processes would take cores from the training.
        self.workers = min(MAX_WORKERS, len(cores()) - 1) if cuda else 0

    def for_training(self, epoch: int) -> Generator[tuple[torch.Tensor, ...]]:
        batches = [chunk.tolist() for chunk in self.order(epoch)]
        yield from self._stored(batch_sampler=batches)

    def batch(self, images: torch.Tensor, labels: torch.Tensor) -> Batch:  # type: ignore[override]
        """Make a batch of stored images, uint8 (B, H, W), and their labels, int64 (B,)."""
        return self.prepare(images), labels

    def in_order(self, batch_size: int) -> Iterator[Batch]:
        for stored in self._stored(batch_size=batch_size):
            yield self.batch(*stored)

    def _stored(self, **options) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield batches of stored images and labels, on the device."""
        dataset = TensorDataset(self.images, self.labels)
        options |= {"pin_memory": self.pin_memory, "num_workers": self.workers}
        for stored in DataLoader(dataset, **options):
            yield tuple(part.to(self.device, non_blocking=True) for part in stored)


PIPELINES = {"resident": Resident, "dataloader": Loader}


def parts(
    parameters: Q1a,
    prepare: Preparation,
    device: torch.device,
    images: np.ndarray,
    labels: np.ndarray,
) -> Callable[[np.ndarray], Resident]:
    """Return a function from rows, int (n,), to the batches of those images.

    `parameters` choose the input pipeline and its batch size.
    """

    def part(rows: np.ndarray) -> Resident:
        return PIPELINES[parameters.input_pipeline](
            images[rows],
            labels[rows],
            prepare,
            batch_size=parameters.batch_size,
            device=device,
            seed=parameters.seed,
            shuffle=parameters.shuffle,
            pin_memory=parameters.pin_memory,
        )

    return part

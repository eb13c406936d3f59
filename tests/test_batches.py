import numpy as np
import pytest
import torch

from mlops_lib.batches import PIPELINES, Preparation, Resident, order, parts
from mlops_lib.params import Q1a

CPU = torch.device("cpu")


def make(small, pipeline="resident", **options):
    images, labels = small
    prepare = Preparation.fitted(images)
    return PIPELINES[pipeline](images, labels, prepare, batch_size=16, device=CPU, **options)


def training(source, epoch):
    return [source.batch(*inputs) for inputs in source.for_training(epoch)]


def test_an_epoch_holds_every_image_once(small):
    batches = training(make(small), 1)
    assert [len(labels) for _, labels in batches] == [16, 16, 16, 12]
    assert sorted(torch.cat([labels for _, labels in batches]).tolist()) == sorted(small[1])


def test_images_keep_their_labels(small):
    images, labels = small
    images = images.copy()
    images[:, 0, 0] = labels
    for x, y in training(make((images, labels)), 1):
        restored = x[:, 0, 0, 0] * float(images.std()) + float(images.mean())
        assert torch.allclose(restored, y.float(), atol=1e-3)


def test_epochs_and_seeds_shuffle_differently():
    def flat(seed, epoch):
        return torch.cat(order(100, 10, seed, epoch)).tolist()

    assert flat(0, 1) == flat(0, 1)
    assert len({tuple(flat(seed, epoch)) for seed in (0, 1) for epoch in (1, 2)}) == 4


def test_without_shuffling_every_epoch_has_the_stored_order(small):
    assert torch.cat(order(5, 2, 0, 1, shuffle=False)).tolist() == [0, 1, 2, 3]
    for name in ("resident", "dataloader"):
        source = make(small, name, shuffle=False)
        for epoch in (1, 2):
            assert torch.cat([y for _, y in training(source, epoch)]).equal(source.labels)


def test_a_single_image_left_over_is_dropped():
    assert [len(chunk) for chunk in order(33, 16, 0, 1)] == [16, 16]
    source = Resident(
        np.zeros((33, 28, 28), np.uint8), np.zeros(33, np.int64), Preparation(0, 1),
        batch_size=16, device=CPU,
    )  # fmt: skip
    assert source.images_in_epoch == 32
    assert [len(chunk) for chunk in order(34, 16, 0, 1)] == [16, 16, 2]


def test_both_pipelines_yield_the_same_batches(small):
    resident, loader = (make(small, name, seed=5) for name in ("resident", "dataloader"))
    for one, other in (
        (training(resident, 2), training(loader, 2)),
        (resident.in_order(25), loader.in_order(25)),
    ):
        for (x, y), (x2, y2) in zip(one, other, strict=True):
            assert torch.equal(x, x2)
            assert torch.equal(y, y2)


def test_images_are_normalised_and_scaled():
    images = np.array([[[0, 255], [255, 0]]], np.uint8)
    x = Preparation(mean=127.5, std=127.5, input_size=28, in_channels=3)(torch.from_numpy(images))
    assert x.shape == (1, 3, 28, 28)
    assert torch.equal(x[:, 0], x[:, 2])
    assert (x.min(), x.max()) == (-1.0, 1.0)
    assert x[0, 0, 0, 0] == -1.0
    assert x[0, 0, 0, -1] == 1.0


def test_processes_that_bring_images_bring_the_same(small, monkeypatch):
    loader, alone = make(small, "dataloader", seed=5), make(small, "dataloader", seed=5)
    assert loader.workers == 0  # on a CPU
    loader.workers = 1
    pairs = zip(training(loader, 1), training(alone, 1), strict=True)
    assert all(torch.equal(a, b) for one, other in pairs for a, b in zip(one, other, strict=True))
    monkeypatch.setattr("mlops_lib.batches.cores", lambda: [0, 1, 2])
    options = {"batch_size": 16, "device": torch.device("cuda")}
    assert PIPELINES["dataloader"](*small, Preparation(0, 1), **options).workers == 2


@pytest.mark.parametrize("pipeline", ["resident", "dataloader"])
def test_parts_follow_the_parameters(small, pipeline):
    images, labels = small
    p = Q1a(batch_size=8, seed=7, input_pipeline=pipeline)
    part = parts(p, Preparation.fitted(images), CPU, images, labels)(np.arange(20))
    assert len(part) == 20
    assert isinstance(part, PIPELINES[pipeline])
    assert [len(y) for _, y in training(part, 1)] == [8, 8, 4]

"""How fast this machine trains: a second of training, in a process forked as kernels are."""

from __future__ import annotations

import io
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stdout

from mlops_lib.record import Record
from mlops_lib.runner import kernels

MODEL, INPUT_SIZE, BATCH_SIZE = "resnet18", 28, 16
IMAGES = 20 * BATCH_SIZE


def is_like_it(made: Record) -> bool:
    """Return whether a record is of such a training."""
    like = {"model": MODEL, "input_size": INPUT_SIZE, "batch_size": BATCH_SIZE}
    return made.template == "q1a" and made.parameters.items() >= like.items()


def images_per_second(jobs: int) -> float:
    """Return the images/s that ResNet-18 trains on in one of `jobs` shares of this machine."""
    kernels.require_scratch_folder()
    kernels.start_server()
    share = kernels.shares(jobs)[0]
    with ProcessPoolExecutor(1, multiprocessing.get_context("forkserver")) as pool:
        with kernels.plain_parent():
            trained = pool.submit(_train_in, share)
        return trained.result()


def _train_in(share: kernels.Share) -> float:
    """Train in a forked process, which ends with the runner."""
    kernels.end_with_runner()
    kernels.keep_to(share)
    return _train()


def _train() -> float:
    """Train on noise for two short epochs; return the images/s of the second, which is warm."""
    import numpy as np

    from mlops_lib import batches, hardware, resnet, train

    device = hardware.prepare()
    labels = np.arange(IMAGES) % 10
    images = np.random.default_rng(0).integers(
        0, 256, (IMAGES, INPUT_SIZE, INPUT_SIZE), dtype=np.uint8
    )
    network = resnet.build(MODEL)
    resnet.remove_dead_taps(network, 1, INPUT_SIZE, products=device.is_plain_cpu)
    source, few = (
        batches.Resident(
            images[:count], labels[:count], batches.Preparation.fitted(images),
            batch_size=BATCH_SIZE, device=device.device,
        )
        for count in (IMAGES, BATCH_SIZE)
    )  # fmt: skip
    with redirect_stdout(io.StringIO()):
        fitted = train.fit(
            network.to(device.device), source, few, device, optimizer="adam", lr=1e-4, epochs=2
        )
    return IMAGES / fitted.epochs[1].seconds

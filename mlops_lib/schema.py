"""What the results and the environment of a record hold, each field with its meaning."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

Count = Annotated[int, Field(ge=0, le=10**9)]
Share = Annotated[float, Field(ge=0, le=1)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Plain = Annotated[str, Field(pattern=r"^[^<>{}\[\]`\r\n]*$")]  # the book's pages would run markup


class _Described(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings=True)


class Best(_Described):
    """The candidate that did best on the validation images."""

    model_config = ConfigDict(strict=True)

    C: Amount
    """Its penalty."""
    degree: int | None = None
    """Its degree; none with an RBF kernel."""
    gamma: Plain | float | None = None
    """Its kernel width, as asked for."""
    val_accuracy: Share | None = None
    """The share of the validation images that it gets right."""


class Scored(_Described):
    """The results that every record which is read must hold; others are kept as they are."""

    model_config = ConfigDict(strict=True)

    test_accuracy: Share
    """The share of the test images that are classified right."""
    confusion_matrix: list[list[Count]]
    """How many test images of each true class (row) got each predicted class (column)."""
    correct: str | None = None
    """Which test images were right: a bit for each, packed as numpy's `packbits` does, base64."""
    train_images: Count | None = None
    """How many images it was trained on."""

    @model_validator(mode="after")
    def _is_square(self) -> Scored:
        matrix = self.confusion_matrix
        if {len(row) for row in matrix} != {len(matrix)} or not np.sum(matrix):
            raise ValueError("confusion_matrix should be square, with images in it")
        return self


class Epoch(_Described):
    """What one pass over the training images achieved."""

    train_loss: float | None = None
    """The mean loss of its training steps."""
    val_loss: float | None = None
    """The loss on the validation images after it."""
    val_accuracy: Share
    """The share of the validation images that are right after it."""
    seconds: Amount
    """Seconds of its training, without the validation."""


class TrainedNetwork(Scored):
    """The results of a ResNet."""

    best: dict[str, Any] = {}
    """Empty: only q1b searches for a best candidate."""
    last_test_accuracy: Share | None = None
    """The share of the test images that the weights of the last epoch classify right."""
    epochs: list[Epoch] = []
    """What was measured in each epoch."""
    best_epoch: Count | None = None
    """The epoch, counted from 1, whose weights give the test accuracy."""
    train_seconds: Amount
    """Seconds that all epochs trained, without validation."""
    train_cpu_seconds: Amount | None = None
    """Processor time of all threads in `train_seconds`."""
    images_per_second: Amount
    """Images trained on in a second of `train_seconds`."""
    diverged: bool | None = None
    """A loss, of a training step or on the validation images, was not finite: training stopped."""
    graphed: bool | None = None
    """Steps were replayed as a CUDA graph."""
    parameters_total: Count | None = None
    """How many weights the network has."""
    parameters_dead: Count | None = None
    """How many of its weights can never learn at this image size."""
    flops: Amount
    """Multiply-adds of the forward pass of one image."""
    peak_flops: Amount | None = None
    """FLOP/s of the device at a product of large matrices, a multiply-add counted as two (q2)."""
    peak_share: Amount | None = None
    """The share of `peak_flops` that training puts to use (q2)."""


class Candidate(_Described):
    """What a search tried: hyperparameters, by name, and what came of them."""

    val_accuracy: Share
    """The share of the validation images that are right."""
    fit_seconds: Amount
    """Seconds that its fit took."""


class FittedSVM(Scored):
    """The results of a support vector machine."""

    search: list[Candidate] = []
    """Every candidate of the search."""
    fit_seconds: Amount
    """Seconds that the fit of the chosen candidate took."""
    fit_cpu_seconds: Amount | None = None
    """Processor time of all threads in `fit_seconds`."""
    predict_seconds: Amount | None = None
    """Seconds that the prediction of all test images took."""
    n_support: Count | None = None
    """How many training images are support vectors."""
    backend: str | None = None
    """What fitted it: libsvm or intelex."""
    best: Best
    """The candidate that was chosen."""


class Machine(_Described):
    """Where a run ran."""

    device: str = Field(pattern="^[a-z]+$")
    """The kind of device: cpu or cuda."""
    device_name: Plain
    """Its maker's name for it."""
    device_shared: bool | None = None
    """Other runs may have used the same GPU at the same time: its times are not compared."""
    cpu: Plain | None = None
    """The processor."""
    instructions: Plain | None = None
    """Its widest vector instructions: AVX2, AVX-512 or AMX."""
    cores: int | None = None
    """Processor cores that the process might use."""
    threads: Annotated[int, Field(ge=1)] | None = None
    """Threads that it was to compute with; Intel's extension takes at least two."""
    amp_dtype: Plain | None = None
    """The precision of the forward pass; none of an SVM."""
    allocator: Plain | None = None
    """How host memory was allocated."""
    fast: bool | None = None
    """With the tricks of `mlops_lib/fast/`; false: plain torch and scikit-learn."""
    python: Plain | None = None
    """Python's version."""
    torch: Plain | None = None
    """PyTorch's version."""
    torchvision: Plain | None = None
    """torchvision's version."""
    scikit_learn: Plain | None = Field(None, alias="scikit-learn")
    """scikit-learn's version."""
    cuda: Plain | None = None
    """CUDA's version, of a run on a GPU."""
    cudnn: Plain | None = None
    """cuDNN's version."""
    driver: Plain | None = None
    """The version of NVIDIA's driver."""
    packages_sha256: Plain | None = None
    """The hash of the names and versions of all installed packages."""
    library_sha256: Plain | None = None
    """The hash of the library's modules that templates import."""
    commit: Plain | None = None
    """The project's commit, with `+` where files differed from it; none outside git."""


RESULTS: dict[str, type[Scored]] = {"q1a": TrainedNetwork, "q1b": FittedSVM, "q2": TrainedNetwork}

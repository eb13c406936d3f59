"""What reports A and B did, as far as they say, and the words of this study's tables."""

from __future__ import annotations

import pandas as pd

from mlops_lib import paths

SOURCES = ("Report A", "Report B", "Our runs")
NOT_RUN = "not run"
NOT_STATED = "not stated"

MODELS = ("resnet18", "resnet50")
KERNELS = ("rbf", "poly")
TEST_IMAGES = 14_000
SVM_TEST_IMAGES = {"A": 2_000, "B": TEST_IMAGES}  # A's accuracies are multiples of 0.05 points
PUBLISHED_EPOCHS = {"mnist": 5, "fashion_mnist": 10}  # report B; report A states none
Q2_DATASET = "fashion_mnist"
Q2_IMAGES = {  # the FLOPs of a report say so
    "A": {"input_size": 28, "in_channels": 1},
    "B": {"input_size": 224, "in_channels": 3},
}
PROTOCOL = {"momentum": 0.9, "amp": "auto", "input_pipeline": "resident"}  # of what is compared
USUAL = PROTOCOL | Q2_IMAGES["A"]  # how the published grid is run

Q1A_KEYS = ["dataset", "batch_size", "optimizer", "lr"]  # a row of a report's table of Q1(a)
CONFIGURATION = [*Q1A_KEYS, "model"]
# Results pair if they agree in these columns, but for the one that is compared.
PAIR_KEYS = [
    "dataset", "model", "batch_size", "optimizer", "lr", "epochs", "train_images", "device",
]  # fmt: skip
PAIRING_COLUMNS = ["model", "optimizer", "lr", "batch_size", "input_size", "in_channels"]  # of Q2
MACHINE = ["device_name", "threads"]  # times are compared on
MIN_SEEDS = 3  # that an interval over seeds takes: with two, it would say next to nothing


def published(question: str) -> pd.DataFrame:
    """Return a published table (`q1a`, `q1b`, `q2`) as it was printed, both reports together."""
    return pd.read_csv(paths.PUBLISHED / f"{question}.csv")


def published_configurations() -> list[tuple]:
    """Return the configurations of Q1(a), values of CONFIGURATION, in the reports' order."""
    told = published("q1a")[CONFIGURATION].drop_duplicates()
    return list(told.itertuples(index=False, name=None))

"""Tables of runs: all published configurations, as tests change them."""

from pathlib import Path

import numpy as np
from test_tables import make

from mlops_lib import tables
from mlops_lib.study.protocol import (
    CONFIGURATION,
    PUBLISHED_EPOCHS,
    Q2_DATASET,
    published_configurations,
)

IMAGES = 14_000
EPOCH = {"seconds": 10.0, "val_accuracy": 0.9, "train_loss": 0.1, "val_loss": 0.1}


def trainings(lead=0.01, seeds=(0, 1)):
    """Return records of all ResNets: Adam is ahead by `lead`, seeds lie a little apart."""
    rng = np.random.default_rng(0)
    records = []
    for values in published_configurations():
        settings = dict(zip(CONFIGURATION, values, strict=True))
        settings["batch_size"] = int(settings["batch_size"])
        mean = 0.95 + lead * (settings["optimizer"] == "adam")
        for seed in seeds:
            right = round(IMAGES * (mean + 0.0005 * rng.standard_normal()))
            epochs = PUBLISHED_EPOCHS[settings["dataset"]]
            results = {"epochs": [EPOCH] * epochs}
            records.append(make(right=right, seed=seed, epochs=epochs, results=results, **settings))
    return records


def others():
    """Return records of SVMs and of Q2 on both devices."""
    svms = [
        make("q1b", right=round(IMAGES * share), dataset=dataset, kernel=kernel)
        for dataset, best in (("mnist", 0.98), ("fashion_mnist", 0.90))
        for kernel, share in (("rbf", best), ("poly", best - 0.01))
    ]
    gpu = {"device": "cuda", "device_name": "a GPU"}
    timed = [
        make("q2", dataset=Q2_DATASET, model=model, environment=environment, device=device,
             results={"images_per_second": speed, "flops": flops})
        for model, flops in (("resnet18", 33_000_000), ("resnet50", 78_000_000))
        for device, environment, speed in (("cpu", {}, 800.0), ("cuda", gpu, 6400.0))
    ]  # fmt: skip
    return [*svms, *timed]


def table(*records):
    """Return records as a table of runs."""
    return tables.rows(
        {Path("runs", "full", run.template, f"{n}.json"): run for n, run in enumerate(records)}
    )


def all_runs(**changes):
    """Return all of it."""
    return table(*trainings(**changes), *others())

"""Images nobody gets right: test images that every run on all training images gets wrong."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mlops_lib import data, plots, record, tables
from mlops_lib.study import selection
from mlops_lib.study.protocol import PUBLISHED_EPOCHS
from mlops_lib.study.selection import select

SEED = 0  # runs share their test images only where they share dataset and seed
SHOWN = 20


@dataclass(frozen=True)
class Outcomes:
    """Which test images of a dataset the runs on all training images get right, bool (runs, n)."""

    dataset: str
    right: np.ndarray

    @property
    def never(self) -> np.ndarray:
        """Return the images that no run gets right, as int rows of the test split."""
        return np.flatnonzero(~self.right.any(axis=0))

    @property
    def best_wrong(self) -> int:
        """Return how many images the best run gets wrong."""
        return int((~self.right).sum(axis=1).min())


def outcomes(runs: pd.DataFrame, dataset: str) -> Outcomes | None:
    """Return what the runs of this dataset get right; None without a run on all images."""
    here = select(selection.of_all_images(runs), dataset=dataset, seed=SEED)
    right = [
        record.unpack_correct(run)
        for run in here.to_dict("records")
        if isinstance(run.get("correct"), str)
    ]
    right = [bits for bits in right if len(bits) == len(right[0])]
    return Outcomes(dataset, np.array(right)) if right else None


def every(runs: pd.DataFrame) -> list[Outcomes]:
    """Return the `outcomes` of each published dataset that has some."""
    return [found for name in PUBLISHED_EPOCHS if (found := outcomes(runs, name))]


def classes(found: Outcomes) -> dict[str, int]:
    """Return how many of the images nobody gets right each class has, the most first.

    Empty where the dataset is not on this machine: a book is built from records alone.
    """
    if not data.local(found.dataset):
        return {}
    _, labels = data.load(found.dataset)
    of_test = labels[data.split(labels, SEED)[2]]
    names = data.class_names(found.dataset)
    return dict(Counter(names[label] for label in of_test[found.never]).most_common())


def facts(every: list[Outcomes]) -> dict[str, Any]:
    """Return of each dataset: runs, images, never (right), share and best_wrong; classes."""
    return (
        {
            "of": {
                found.dataset: {
                    "runs": len(found.right),
                    "images": found.right.shape[1],
                    "never": len(found.never),
                    "best_wrong": found.best_wrong,
                    "classes": classes(found),
                }
                for found in every
            }
        }
        if every
        else {}
    )


def table(every: list[Outcomes]) -> pd.DataFrame:
    """Lay out `facts`: a row for each dataset."""
    rows = [
        {
            "Dataset": tables.title(name),
            "Runs": of["runs"],
            "Test images": f"{of['images']:,}",
            "Nobody right": of["never"],
            "Best run wrong": of["best_wrong"],
            "Most frequent labels": ", ".join(
                f"{label} {n}" for label, n in list(of["classes"].items())[:3]
            ),
        }
        for name, of in facts(every).get("of", {}).items()
    ]
    return pd.DataFrame(rows).set_index("Dataset") if rows else pd.DataFrame()


def draw(found: Outcomes, finding: str) -> plots.Picture | None:
    """Show the first images that nobody gets right, under their labels; None without the data."""
    if not len(found.never) or not data.local(found.dataset):
        return None
    images, labels = data.load(found.dataset)
    shown = data.split(labels, SEED)[2][found.never][:SHOWN]
    names = data.class_names(found.dataset)
    return plots.image_grid(
        images[shown], [names[label] for label in labels[shown]], finding, columns=4
    )

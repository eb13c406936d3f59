"""Images nobody gets right: test images that every run on all training images gets wrong."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from IPython.display import Markdown

from mlops_lib import data, record, tables
from mlops_lib.study import selection
from mlops_lib.study.protocol import PUBLISHED_EPOCHS
from mlops_lib.study.selection import select
from mlops_lib.study.table_cells import NOT_YET

if TYPE_CHECKING:
    from mlops_lib.plots import Picture

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
    """Return by dataset: runs, images, never (right), best_wrong and classes; nothing without runs.

    never and best_wrong are numbers of images, classes those of never.
    """
    of = {
        found.dataset: {
            "runs": len(found.right),
            "images": found.right.shape[1],
            "never": len(found.never),
            "best_wrong": found.best_wrong,
            "classes": classes(found),
        }
        for found in every
    }
    return {"of": of} if of else {}


def table(facts: dict[str, Any]) -> pd.DataFrame:
    """Lay out `facts`: a row for each dataset."""
    rows = [
        {
            "Dataset": tables.title(name),
            "Runs": of["runs"],
            "Test images": f"{of['images']:,}",
            "Wrong in every run": of["never"],
            "Wrong in the best run": f"{of['best_wrong']:,}",
            "Labels of the former": "; ".join(
                f"{label}: {n}" for label, n in of["classes"].items()
            ),
        }
        for name, of in facts.get("of", {}).items()
    ]
    return pd.DataFrame(rows).set_index("Dataset") if rows else pd.DataFrame()


def draw(every: list[Outcomes], dataset: str) -> Picture | Markdown:
    """Show the first images of a dataset that nobody gets right, under their labels.

    Without such an image, or without the dataset, say so.
    """
    found = next((some for some in every if some.dataset == dataset), None)
    if found is None:
        return Markdown(NOT_YET)
    finding = f"{len(found.never)} images of {tables.title(dataset)} are wrong in every run"
    if not len(found.never) or not data.local(dataset):
        return Markdown(f"{finding} (`mlops data` brings the images).")
    images, labels = data.load(dataset)
    shown = data.split(labels, SEED)[2][found.never][:SHOWN]
    names = [data.class_names(dataset)[label] for label in labels[shown]]
    from mlops_lib import plots  # takes two seconds

    if len(shown) < len(found.never):
        finding += f"; the first {len(shown)}"
    return plots.image_grid(images[shown], names, finding, columns=4)

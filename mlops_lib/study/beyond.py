"""What the reports did not ask: weights that can't learn, growth, cost, images that stay hard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from IPython.display import Markdown

from mlops_lib import data, flops, paths, record, tables
from mlops_lib.study import selection
from mlops_lib.study.selection import select
from mlops_lib.study.table_cells import NOT_YET

if TYPE_CHECKING:
    from mlops_lib.plots import Picture


def dead_weights() -> pd.DataFrame:
    """Return how many weights of each convolution can never learn at 28x28.

    Columns model, layer, weights, dead; layers in the order of the forward pass. They are read
    from a table, which a test counts again: the book is built without PyTorch, too.
    """
    return pd.read_csv(paths.BOOK / "dead_weights.csv")


def growth(runs: pd.DataFrame) -> pd.DataFrame:
    """Return accuracy and seconds by number of training images: SVM (RBF, C=10) and ResNet-18.

    Columns dataset, method, images, accuracy (per cent), seconds (nan beside other work).
    """
    svms = select(runs, template="q1b", kernel="rbf", best_C=10.0)
    svms = svms[svms["search"].str.len() == 1] if "search" in svms else svms.iloc[:0]
    resnets = selection.trained(runs, model="resnet18", optimizer="adam", lr=1e-3, batch_size=32)
    resnets = select(resnets, epochs=1)
    rows = [
        {
            "dataset": tables.title(run["dataset"]),
            "method": method,
            "images": int(run["train_images"]),
            "accuracy": 100 * run["test_accuracy"],
            "seconds": run["seconds"] if run["alone"] else np.nan,
        }
        for method, some in (("SVM (RBF, C=10)", svms), ("ResNet-18, one epoch", resnets))
        for run in some.to_dict("records")
    ]
    columns = ["dataset", "method", "images", "accuracy", "seconds"]
    return pd.DataFrame(rows, columns=columns).sort_values(columns[:3]).reset_index(drop=True)


def cost(runs: pd.DataFrame) -> pd.DataFrame:
    """Return what the runs on all 49,000 images cost, where no other work took their time.

    Columns dataset, method, machine, run, seconds (of an SVM: of its full search), operations
    (multiply-adds of the full training, in 10^12; none for SVMs), accuracy (per cent), best: no
    run on this machine is as accurate in less time.
    """
    full = selection.alone(_costing(runs))
    rows = []
    for run in select(full, template="q1a").to_dict("records"):
        images = run["epochs_done"] * run["train_images"]
        done = images * run["flops"] * flops.TRAINING_PASSES / 1e12
        rows.append(_cost(run, tables.title(run["model"]), done))
    for run in select(full, template="q1b").to_dict("records"):
        rows.append(_cost(run, "SVM", np.nan) | {"seconds": run["search_seconds"]})
    columns = ["dataset", "method", "machine", "run", "seconds", "operations", "accuracy"]
    table = pd.DataFrame(rows, columns=columns).sort_values("seconds", ignore_index=True)
    on_each = table.groupby(["dataset", "machine"])["accuracy"]
    before = on_each.transform(lambda accuracy: accuracy.cummax().shift())
    return table.assign(best=before.isna() | (table["accuracy"] > before))


def left_out(runs: pd.DataFrame) -> Markdown:
    """Return how many runs on all images are not in `cost`, and the most accurate of them."""
    full = _costing(runs)
    busy = select(full, alone=False)
    if busy.empty:
        return Markdown("Every run on all images is shown.")
    best = busy.loc[busy.groupby("dataset")["test_accuracy"].idxmax()].to_dict("records")
    named = "; ".join(f"{run['title']}: {tables.accuracy_text(run)} %" for run in best)
    return Markdown(
        f"{len(busy)} of {len(full)} runs on all images got less than {tables.ALONE:.0%} of the "
        "processor time of their threads, or shared a GPU, and are not shown; the most accurate of "
        f"them: {named}."
    )


def _costing(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs of Q1 on all images."""
    runs = selection.of_all_images(runs)
    return runs[runs["template"].isin(["q1a", "q1b"])]


def _cost(run: dict[str, Any], method: str, operations: float) -> dict[str, Any]:
    return {
        "dataset": tables.title(run["dataset"]),
        "method": method,
        "machine": tables.device_text(run),
        "run": ", ".join(
            filter(None, [run["title"], tables.non_default_text(run), run["divergence"]])
        ),
        "seconds": run["seconds"],
        "operations": operations,
        "accuracy": 100 * run["test_accuracy"],
    }


def front(runs: pd.DataFrame) -> pd.DataFrame:
    """Lay out the runs that none beats in both time and accuracy, the fastest first."""
    table = cost(runs)
    best = table[table["best"]]
    return (
        pd.DataFrame(
            {
                "Dataset": best["dataset"],
                "Run": best["run"],
                "Training (s)": best["seconds"].map("{:,.0f}".format),
                "Multiply-adds (10¹²)": best["operations"].map("{:.1f}".format).replace("nan", ""),
                "Accuracy (%)": best["accuracy"].map("{:.2f}".format),
                "On": best["machine"],
            }
        )
        .sort_values(["Dataset", "On", "Accuracy (%)"])
        .set_index("Dataset")
    )


def dead_by_model(layers: pd.DataFrame) -> pd.DataFrame:
    """Lay out the sums of `dead_weights`, a row for each model."""
    sums = layers.groupby("model", sort=False)[["weights", "dead"]].sum()
    return pd.DataFrame(
        {
            "weights of convolutions": sums["weights"].map("{:,}".format),
            "can never learn": sums["dead"].map("{:,}".format),
            "share": [
                tables.percent_text(share, 1) for share in 100 * sums["dead"] / sums["weights"]
            ],
        }
    )


def never_right(runs: pd.DataFrame, dataset: str, seed: int = 0) -> np.ndarray:
    """Return which test images every run on all training images gets wrong: int rows of the split.

    Only runs of this dataset and seed share their test images.
    """
    here = select(selection.of_all_images(runs), dataset=dataset, seed=seed)
    right = [
        record.unpack_correct(run)
        for run in here.to_dict("records")
        if isinstance(run.get("correct"), str)
    ]
    right = [bits for bits in right if len(bits) == len(right[0])]
    if not right:
        return np.empty(0, dtype=int)
    return np.flatnonzero(~np.any(right, axis=0))


def hardest(runs: pd.DataFrame, dataset: str, count: int = 20) -> Picture | Markdown:
    """Show the first test images that every run gets wrong, with their labels.

    Without the dataset (a book is built from records alone), say how many there are.
    """
    if select(selection.of_all_images(runs), dataset=dataset, seed=0).empty:
        return Markdown(NOT_YET)
    rows = never_right(runs, dataset)
    about = (
        f"{len(rows)} test images of {tables.title(dataset)} that no run of seed 0 on all images "
        "gets right"
    )
    if not len(rows) or not data.local(dataset):
        return Markdown(f"{about} (`mlops data` brings the images).")
    images, labels = data.load(dataset)
    shown = data.split(labels, 0)[2][rows][:count]
    names = data.class_names(dataset)
    titles = [names[label] for label in labels[shown]]
    from mlops_lib import plots  # takes two seconds

    return plots.image_grid(images[shown], titles, f"The first {len(shown)} of {about}")

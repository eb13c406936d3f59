"""The same training again: on another device, machine or number of threads, or at another commit.

Equal parameters and seed mean equal initial weights, images and order. What differs is rounding,
which a training can amplify.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from mlops_lib import tables
from mlops_lib.params import Q1a
from mlops_lib.study import noise, selection
from mlops_lib.study.protocol import CONFIGURATION
from mlops_lib.study.selection import select
from mlops_lib.study.table_cells import link, setting_title
from mlops_lib.study.words import signed

MIN_POINTS_APART = 1.0  # of first epochs that are listed
FREE = ("epochs", "pin_memory", "amp", "device", "train_size")  # may differ in the first epoch


def _trainings(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs of Q1(a) and, after them, those of Q2."""
    return pd.concat([select(runs, template=template) for template in ("q1a", "q2")])


def repeats(runs: pd.DataFrame) -> pd.DataFrame:
    """Return trainings with the same parameters and seed: training, epochs, images, accuracies (%).

    A row for each that was run more than once; accuracies as text, links to the runs.
    """
    trained = _trainings(runs)
    groups = (
        trained.groupby(list(Q1a.model_fields), dropna=False, sort=False) if len(trained) else ()
    )
    rows = [
        {
            "Training": _title(again.iloc[0]),
            "Epochs": f"{again['epochs'].iloc[0]:.0f}",
            "Images": f"{again['train_images'].iloc[0]:,.0f}",
            "Accuracy (%)": " ".join(
                link(run, f"{100 * run['test_accuracy']:.2f}") for run in again.to_dict("records")
            ),
        }
        for _, again in groups
        if len(again) > 1
    ]
    return pd.DataFrame(rows, columns=None if rows else ["Training"])


def first_epochs(runs: pd.DataFrame) -> pd.DataFrame:
    """Return how far validation accuracies lie apart after one epoch that begins alike.

    Trainings differ at most in length, machine, threads, precision and commit. Columns: training,
    runs, apart (points), each (texts): the widest first.
    """
    trained = _trainings(runs)
    begun = trained[trained["history"].str.len() > 0] if len(trained) else trained
    keys = [*(name for name in Q1a.model_fields if name not in FREE), "train_images"]
    rows = []
    for _, some in begun.groupby(keys, dropna=False, sort=False) if len(begun) else ():
        if len(some) < 2:
            continue
        first = [100 * epochs[0]["val_accuracy"] for epochs in some["history"]]
        other = tables.non_default_text(some.iloc[0].to_dict(), FREE)
        each = dict.fromkeys(
            f"{accuracy:.2f} on {tables.device_text(run)}, {run.get('amp_dtype')}"
            for accuracy, run in zip(first, some.to_dict("records"), strict=True)
        )
        rows.append({
            "training": ", ".join(filter(None, [_title(some.iloc[0]), other])),
            "runs": len(some),
            "apart": max(first) - min(first),
            "each": "; ".join(each),
        })  # fmt: skip
    table = pd.DataFrame(rows, columns=["training", "runs", "apart", "each"])
    return table.sort_values("apart", ascending=False, ignore_index=True)


def far_apart(first: pd.DataFrame) -> pd.DataFrame:
    """Lay out the rows of `first_epochs` at least `MIN_POINTS_APART` apart."""
    far = first[first["apart"] >= MIN_POINTS_APART]
    texts = {"Training": far["training"], "Apart (points)": far["apart"].map("{:.2f}".format)}
    return pd.DataFrame(texts | {"Validation accuracy (%)": far["each"]}).set_index("Training")


def devices(runs: pd.DataFrame, spread: pd.DataFrame) -> pd.DataFrame:
    """Return the accuracies of each configuration trained in full on a CPU and on a GPU, per cent.

    Means over the seeds that both have. Columns: CONFIGURATION, seeds, cpu, cuda, difference (GPU
    less CPU, points), significant (1 or -1 where noise does not explain it, each by itself, or 0).
    """
    trained = selection.complete(selection.trained(runs))
    columns = [*CONFIGURATION, "seeds", "cpu", "cuda", "difference", "significant"]
    if trained.empty:
        return pd.DataFrame(columns=columns)
    trained = trained.assign(accuracy_pct=100 * trained["test_accuracy"])
    keys = [*CONFIGURATION, "seed"]
    each = trained.pivot_table("accuracy_pct", keys, "device", sort=False)
    both = each.reindex(columns=["cpu", "cuda"]).dropna().groupby(CONFIGURATION, sort=False)
    table = both.mean().assign(seeds=both.size()).reset_index()
    table["difference"] = table["cuda"] - table["cpu"]
    reach = [
        noise.least_difference(spread, row.seeds).get((row.dataset, row.model), float("inf"))
        for row in table.itertuples()
    ]
    signs = [
        int(difference > least) - int(difference < -least)
        for difference, least in zip(table["difference"], reach, strict=True)
    ]
    return table.assign(significant=signs)[columns]


def devices_facts(both: pd.DataFrame) -> dict[str, Any]:
    """Return what a page says of `devices`: n, higher, lower (on the GPU), mean and significant."""
    if both.empty:
        return {}
    return {
        "n": len(both),
        "higher": int((both["difference"] > 0).sum()),
        "lower": int((both["difference"] < 0).sum()),
        "mean": both["difference"].mean(),
        "significant": int((both["significant"] != 0).sum()),
    }


def devices_table(both: pd.DataFrame) -> pd.DataFrame:
    """Lay out `devices`: a row for each configuration, * where noise does not explain it."""
    stars = both["significant"].map(lambda sign: "*" if sign else "")
    shown = pd.DataFrame(
        {
            "Training": [_title(row) for row in both.to_dict("records")],
            "Seeds": both["seeds"],
            "CPU (%)": both["cpu"].map("{:.2f}".format),
            "GPU (%)": both["cuda"].map("{:.2f}".format),
            "GPU less CPU (points)": both["difference"].map(signed) + stars,
        }
    )
    return shown.set_index("Training")


def _title(run: Any) -> str:
    names = tables.title(run["dataset"]), tables.title(run["model"]), setting_title(run)
    return ", ".join(names)

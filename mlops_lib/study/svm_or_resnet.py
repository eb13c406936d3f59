"""SVM or ResNet? Accuracy by number of training images and by seconds, on one machine."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from mlops_lib import tables
from mlops_lib.plots import Picture, styled
from mlops_lib.study import figures, selection, sources
from mlops_lib.study.protocol import CONFIGURATION, PUBLISHED_EPOCHS, SOURCES, published
from mlops_lib.study.selection import select
from mlops_lib.study.table_cells import NOTHING
from mlops_lib.study.words import signed

SVM, ONE_EPOCH, IN_FULL = "SVM (RBF, C=10)", "ResNet-18, one epoch", "ResNet-18, all epochs"
METHODS = {SVM: "o-", ONE_EPOCH: "s--", IN_FULL: "D"}
SETTING: dict[str, Any] = {"model": "resnet18", "optimizer": "adam", "lr": 1e-3, "batch_size": 32}
COLUMNS = ["dataset", "method", "images", "accuracy_pct", "seconds", "machine"]


def growth(runs: pd.DataFrame) -> pd.DataFrame:
    """Return accuracy (per cent) and seconds by number of training images, on one machine.

    An SVM of given settings beside ResNet-18 after one epoch and, on all images, after all epochs:
    the runs on the machine that has most. Seconds are nan where other work took processor time.
    """
    svms = select(runs, template="q1b", kernel="rbf", best_C=10.0)
    svms = svms[svms["search"].str.len() == 1] if "search" in svms else svms
    trained = selection.trained(runs, **SETTING)
    methods = {
        SVM: svms,
        ONE_EPOCH: select(trained, epochs=1),
        IN_FULL: selection.complete(trained),
    }
    some = pd.concat(runs.assign(method=name) for name, runs in methods.items())
    some = some[some["dataset"].isin(PUBLISHED_EPOCHS)] if len(some) else some
    if some.empty:
        return pd.DataFrame(columns=COLUMNS)
    some = some.assign(
        machine=[tables.device_text(run) for run in some.to_dict("records")],
        images=some["train_images"].astype(int),
        accuracy_pct=100 * some["test_accuracy"],
        seconds=some["seconds"].where(some["alone"]),
    )
    some = some[some["machine"] == some["machine"].mode()[0]].drop_duplicates(COLUMNS[:3])
    ranks = {name: rank for rank, name in enumerate((*PUBLISHED_EPOCHS, *METHODS))}
    return some[COLUMNS].sort_values(
        COLUMNS[:3], key=lambda values: values.replace(ranks), ignore_index=True
    )


def printed() -> pd.DataFrame:
    """Return the RBF kernel's accuracy in each report: dataset, report, accuracy_pct."""
    return select(published("q1b"), kernel="rbf")[["dataset", "report", "accuracy_pct"]]


def best(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the best SVM and the best ResNet of each source and dataset.

    Columns: source, dataset, svm and resnet (per cent), gap (points), fit_seconds (of that SVM) and
    train_seconds (of that ResNet's setting, where times are compared), nan where unknown; behind
    (how many ResNets are less accurate than that SVM) and resnets (of how many).
    """
    rows = []
    for source in (sources.report("A"), sources.report("B"), sources.ours(runs)):
        trained = selection.complete(source.grid)
        for dataset in PUBLISHED_EPOCHS:
            svms, resnets = (select(some, dataset=dataset) for some in (source.q1b, trained))
            if svms.empty or resnets.empty:
                continue
            svm = svms.loc[svms["accuracy_pct"].idxmax()]
            resnet = resnets.loc[resnets["accuracy_pct"].idxmax()]
            alike = select(source.timed, **resnet[CONFIGURATION].to_dict())
            rows.append({
                "source": source.name,
                "dataset": dataset,
                "svm": svm["accuracy_pct"],
                "resnet": resnet["accuracy_pct"],
                "gap": resnet["accuracy_pct"] - svm["accuracy_pct"],
                "fit_seconds": svm["seconds"],
                "train_seconds": alike.get("train_seconds", pd.Series(dtype=float)).mean(),
                "behind": int((resnets["accuracy_pct"] < svm["accuracy_pct"]).sum()),
                "resnets": len(resnets),
            })  # fmt: skip
    return pd.DataFrame(rows)


def facts(found: pd.DataFrame, grown: pd.DataFrame) -> dict[str, Any]:
    """Return what a page says of `best` and `growth`; nothing where our runs have not both.

    of: the rows of `best`, by source and then by dataset; slower (times as long as the SVM's fit
    that ResNet-18 takes for all epochs, by dataset); svm_ahead and compared (at how many numbers of
    images the SVM is ahead of one epoch); reached (by dataset and report: the numbers of images
    between which the SVM here reaches the printed accuracy).
    """
    if found.empty or select(found, source=SOURCES[2]).empty or grown.empty:
        return {}
    accuracy = grown.pivot_table("accuracy_pct", ["dataset", "images"], "method", sort=False)
    pairs = accuracy.reindex(columns=[SVM, ONE_EPOCH]).dropna()
    seconds = select(grown, images=tables.ALL_IMAGES).pivot(
        index="dataset", columns="method", values="seconds"
    )
    seconds = seconds.reindex(columns=[SVM, IN_FULL]).dropna()
    return {
        "of": {
            source: rows.set_index("dataset").to_dict("index")
            for source, rows in found.groupby("source", sort=False)
        },
        "slower": (seconds[IN_FULL] / seconds[SVM]).to_dict(),
        "svm_ahead": int((pairs[SVM] > pairs[ONE_EPOCH]).sum()),
        "compared": len(pairs),
        "reached": {
            dataset: {
                row["report"]: _reached(select(grown, dataset=dataset, method=SVM), row)
                for row in select(printed(), dataset=dataset).to_dict("records")
            }
            for dataset in grown["dataset"].unique()
        },
    }


def _reached(svms: pd.DataFrame, told: dict[str, Any]) -> tuple[int | None, int | None]:
    """Return the largest number of images that is less accurate, and the least that is not."""
    below = svms[svms["accuracy_pct"] < told["accuracy_pct"]]["images"]
    above = svms[svms["accuracy_pct"] >= told["accuracy_pct"]]["images"]
    return (below.max() if len(below) else None), (above.min() if len(above) else None)


def table(found: pd.DataFrame) -> pd.DataFrame:
    """Lay out `best`: a row for each source and dataset."""
    shown = pd.DataFrame(
        {
            "Source": found["source"],
            "Dataset": found["dataset"].map(tables.title),
            "Best SVM (%)": found["svm"].map("{:.2f}".format),
            "Best ResNet (%)": found["resnet"].map("{:.2f}".format),
            "Gap (points)": found["gap"].map(signed),
            "SVM fit (s)": found["fit_seconds"].map("{:,.0f}".format).replace("nan", NOTHING),
            "ResNet (s)": found["train_seconds"].map("{:,.0f}".format).replace("nan", NOTHING),
        }
    )
    return shown.set_index("Source")


@styled()
def draw(grown: pd.DataFrame, lines: pd.DataFrame, finding: str) -> Picture:
    """Show `growth`, accuracy over images and over seconds; the `printed` scores are lines."""
    datasets = grown["dataset"].unique().tolist()
    figure, axes = figures.panels(
        len(datasets), 2, 0.9 + 2.4 * len(datasets), sharex="col", sharey="row"
    )
    for dataset, row in zip(datasets, axes, strict=True):
        here = select(grown, dataset=dataset)
        told = select(lines, dataset=dataset)
        lowest = select(here, method=SVM)["accuracy_pct"].min()
        room = 0.2 * (here["accuracy_pct"].max() - lowest)
        for axis, measure in zip(row, ("images", "seconds"), strict=True):
            axis.set(xscale="log", ylim=(lowest - room, here["accuracy_pct"].max() + room))
            _methods(axis, here, measure, lowest - room)
            for line in told.to_dict("records"):
                axis.axhline(line["accuracy_pct"], color=figures.text_colour(), linewidth=1, ls=":")
        for line in told.to_dict("records"):
            text = f"{line['report']}'s SVM: {line['accuracy_pct']:.2f}"
            row[1].text(0.98, line["accuracy_pct"], text, ha="right", va="bottom", fontsize=9,
                        transform=row[1].get_yaxis_transform())  # fmt: skip
        row[0].set_ylabel(f"{tables.title(dataset)}\naccuracy (%)", fontsize=11)
    axes[-1, 0].set_xlabel("training images", fontsize=11)
    axes[-1, 1].set_xlabel("seconds", fontsize=11)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, **figures.LEGEND_BELOW | {"ncols": 2})
    return figures.finished(figure, finding, _described(grown, lines))


def _methods(axis: Axes, here: pd.DataFrame, measure: str, low: float) -> None:
    """Draw a line or mark for each method, and arrows for what lies below the axis."""
    for (method, style), colour in zip(METHODS.items(), figures.colours(3), strict=True):
        line = select(here, method=method).dropna(subset=measure)
        axis.plot(line[measure], line["accuracy_pct"], style, color=colour, markersize=5,
                  label=method)  # fmt: skip
        for point in line[line["accuracy_pct"] < low].to_dict("records"):
            figures.arrow_down(axis, point[measure], f"{point['accuracy_pct']:.0f}")


def _described(grown: pd.DataFrame, lines: pd.DataFrame) -> str:
    """Return each method's accuracy and time on the fewest and on the most images, by dataset."""
    parts = []
    for (dataset, method), some in grown.groupby(["dataset", "method"], sort=False):
        ends = [
            f"{run.accuracy_pct:.2f} % on {run.images:,} images"
            + ("" if np.isnan(run.seconds) else f" in {run.seconds:,.1f} s")
            for run in some.iloc[sorted({0, len(some) - 1})].itertuples()
        ]
        parts.append(f"{tables.title(dataset)}, {method}: {', '.join(ends)}")
    for line in lines.to_dict("records"):
        where = f"{tables.title(line['dataset'])}, report {line['report']}, RBF kernel"
        parts.append(f"{where}: {line['accuracy_pct']:.2f} %")
    return ". ".join(parts)

"""Does depth pay? ResNet-50 beside ResNet-18 in every table that has both."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from mlops_lib import paths, tables
from mlops_lib.plots import Picture, styled
from mlops_lib.study import by_source, effects, figures, protocol, selection, sources
from mlops_lib.study.protocol import MACHINE, NOT_STATED, PUBLISHED_EPOCHS, Q2_DATASET, SOURCES
from mlops_lib.study.selection import select
from mlops_lib.study.table_cells import setting_title
from mlops_lib.study.words import signed, signed_range

MODELS = list(protocol.MODELS)
KEYS = ["source", "table", "dataset", "setting"]


def both_networks(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the accuracies of both networks, per cent, for each setting that has them.

    Columns: KEYS (table: `Q1(a)` or `Q2`; setting as text), resnet18, resnet50, difference
    (points). Trainings of Q1(a) are in full; those of Q2 as long as they are.
    """
    found = []
    for name, trained in by_source.trainings(runs).items():
        texts = [setting_title(run) for run in trained.to_dict("records")]
        found.append(trained.assign(source=name, table=sources.Q1A, setting=texts))
    for source in (sources.report("A"), sources.report("B"), sources.ours(runs)):
        timed = source.q2
        if "test_accuracy" in timed:
            timed = timed.assign(accuracy_pct=100 * timed["test_accuracy"])
        texts = [_device_text(run) for run in timed.to_dict("records")]
        found.append(timed.assign(source=source.name, table="Q2", setting=texts))
    every = pd.concat(found).reindex(columns=[*KEYS, "model", "accuracy_pct"])
    wide = every.pivot_table("accuracy_pct", KEYS, "model", sort=False)
    wide = wide.reindex(columns=MODELS).dropna().reset_index()
    return wide.assign(difference=wide["resnet50"] - wide["resnet18"])


def _device_text(run: dict[str, Any]) -> str:
    """Return `GPU, Adam` or, of large images, `GPU, 224×224`."""
    size, optimizer = run["input_size"], run["optimizer"]
    stated = "" if pd.isna(optimizer) or optimizer == NOT_STATED else tables.title(optimizer)
    return f"{tables.title(run['device'])}, {f'{size:.0f}×{size:.0f}' if size > 28 else stated}"


def times_as_long(runs: pd.DataFrame) -> pd.Series:
    """Return how many times as long ResNet-50 trains, for each setting timed with both networks."""
    timed = selection.complete(sources.ours(runs).timed)
    both = effects.matched(timed, "model", "resnet50", "resnet18", "train_seconds", alike=MACHINE)
    deep, shallow = (timed["train_seconds"].take(both[side]) for side in effects.POSITIONS)
    return deep.reset_index(drop=True) / shallow.reset_index(drop=True)


def facts(found: pd.DataFrame, ratios: pd.Series) -> dict[str, Any]:
    """Return what a page says of these results; nothing without our own.

    each: `by_source.counts` of ResNet-50, by source and table; large: those of our images larger
    than 28×28; gap: our median by dataset, points; times (as long): least and most, or None where
    nothing was timed; operations: times the multiply-adds, by size of image.
    """
    ours = select(found, source=SOURCES[2], table=sources.Q1A)
    if ours.empty:
        return {}
    large = select(found, source=SOURCES[2])
    large = large[large["setting"].str.contains("×")]
    sizes = pd.read_csv(paths.BOOK / "networks.csv").pivot(
        index="pixels", columns="model", values="multiply_adds"
    )
    return {
        "large": {"pairs": len(large), "ahead": int((large["difference"] > 0).sum())},
        "operations": (sizes["resnet50"] / sizes["resnet18"]).to_dict(),
        "each": by_source.counts(found, ["source", "table"]).to_dict("index"),
        "gap": (-ours.groupby("dataset", sort=False)["difference"].median()).to_dict(),
        "times": (ratios.min(), ratios.max()) if len(ratios) else None,
    }


def by_table(found: pd.DataFrame) -> pd.DataFrame:
    """Lay out how often ResNet-50 is ahead: a row for each source, table and dataset."""
    rows = by_source.counts(found, KEYS[:3]).reset_index()
    each = found.groupby(KEYS[:3], sort=False)["difference"]
    shown = pd.DataFrame(
        {
            "Source": rows["source"],
            "Table": rows["table"],
            "Dataset": rows["dataset"].map(tables.title),
            "ResNet-50 ahead": [f"{row.ahead} of {row.pairs}" for row in rows.itertuples()],
            "Median (points)": rows["median"].map(signed),
            "Range (points)": [signed_range(some) for _, some in each],
        }
    )
    return shown.set_index("Source")


@styled()
def draw(found: pd.DataFrame, finding: str) -> Picture:
    """Show both accuracies of each setting, joined: a column for each source, a row a table."""
    rows = [(dataset, sources.Q1A) for dataset in PUBLISHED_EPOCHS] + [(Q2_DATASET, "Q2")]
    settings = [
        select(found, dataset=dataset, table=table)["setting"].unique().tolist()
        for dataset, table in rows
    ]
    heights = [max(1, len(texts)) for texts in settings]
    figure, axes = figures.panels(
        len(rows), len(SOURCES), 1.9 + 0.235 * sum(heights), height_ratios=heights, sharey="row"
    )
    for (dataset, table), texts, row in zip(rows, settings, axes, strict=True):
        accuracies = select(found, dataset=dataset)[MODELS].to_numpy()
        ends = figures.limits(accuracies) if accuracies.size else (0, 100)
        for source, axis in zip(SOURCES, row, strict=True):
            here = select(found, dataset=dataset, table=table, source=source)
            _dumbbells(axis, here, texts, ends[0])
            axis.set(xlim=ends, ylim=(len(texts) - 0.4, -0.6))
            axis.set_yticks(range(len(texts)), texts)
            axis.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        row[0].text(-0.06, 1.03, f"{tables.title(dataset)}, {table}", ha="right", va="bottom",
                    transform=row[0].transAxes, fontsize=11)  # fmt: skip
    for source, axis in zip(SOURCES, axes[0], strict=True):
        axis.set_title(source, fontsize=11.5)
    figure.supxlabel("test accuracy (%): ○ ResNet-18, ● ResNet-50", fontsize=11)
    return figures.finished(figure, finding, _described(found))


def _dumbbells(axis: Axes, here: pd.DataFrame, texts: list[str], low: float) -> None:
    """Draw ResNet-18 as a ring, ResNet-50 as a dot, in a colour for which is ahead."""
    ahead, behind = figures.colours(2)
    for pair in here.to_dict("records"):
        y, colour = texts.index(pair["setting"]), ahead if pair["difference"] > 0 else behind
        axis.plot([pair["resnet18"], pair["resnet50"]], [y, y], color=colour, linewidth=2)
        axis.plot(pair["resnet18"], y, "o", color=colour, markersize=6, fillstyle="none")
        axis.plot(pair["resnet50"], y, "o", color=colour, markersize=6)
        if pair["resnet50"] < low:
            figures.arrow_left(axis, y, f"{pair['resnet50']:.1f}")


def _described(found: pd.DataFrame) -> str:
    """Return how many settings each table has, and between what ResNet-50's lead lies."""
    parts = [
        f"{source}, {table}, {tables.title(dataset)}: ahead in {(some > 0).sum()} of {len(some)}, "
        f"{signed_range(some)}"
        for (source, table, dataset), some in found.groupby(KEYS[:3], sort=False)["difference"]
    ]
    return f"ResNet-50 minus ResNet-18 in points. {'; '.join(parts)}"

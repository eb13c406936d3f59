"""CPU or GPU? How many times as fast a GPU trains, for each pair of machines."""

from __future__ import annotations

from typing import Any

import pandas as pd

from mlops_lib import tables
from mlops_lib.plots import Picture, styled
from mlops_lib.study import figures, sources, words
from mlops_lib.study.protocol import SOURCES
from mlops_lib.study.selection import select

KEYS = ["source", "input_size", "model"]


def speed_ups(runs: pd.DataFrame) -> pd.DataFrame:
    """Return how many times as fast a GPU trains, by source, size of image and network.

    Columns: KEYS, devices (`GPU against CPU`, "" where not stated), low and high (over optimizers),
    n, cpu_seconds and gpu_seconds (means; for the same images).
    """
    found = []
    for source in (sources.report("A"), sources.report("B"), sources.ours(runs)):
        ratios = source.gpu_ratios.assign(source=source.name)
        if ratios.empty:
            continue
        timed = source.q2.groupby(["input_size", "model", "device"])["seconds"].mean().unstack()
        each = ratios.groupby([*KEYS, "devices"], sort=False)["ratio"].agg(["min", "max", "size"])
        each = each.rename(columns={"min": "low", "max": "high", "size": "n"}).reset_index()
        seconds = timed.rename(columns={"cpu": "cpu_seconds", "cuda": "gpu_seconds"})
        found.append(each.merge(seconds, left_on=KEYS[1:], right_index=True))
    return pd.concat(found, ignore_index=True)


def facts(found: pd.DataFrame) -> dict[str, Any]:
    """Return the least and the greatest speed-up; nothing where our runs have none.

    of: (low, high) by source; ours: (low, high) by size of image; devices of our runs; deeper (in
    how many pairs of source and size ResNet-50 gains more) and compared (of how many);
    epoch_seconds and epoch_on: of the fastest of our runs on a CPU.
    """
    ours = select(found, source=SOURCES[2])
    if ours.empty:
        return {}

    def ends(by: str, rows: pd.DataFrame) -> dict[Any, tuple[float, float]]:
        each = rows.groupby(by, sort=False).agg({"low": "min", "high": "max"})
        return dict(zip(each.index, each.itertuples(index=False, name=None), strict=True))

    wide = found.pivot_table("low", KEYS[:2], "model").reindex(columns=["resnet18", "resnet50"])
    wide = wide.dropna()
    fastest = ours.loc[ours["cpu_seconds"].idxmin()]
    return {
        "epoch_seconds": fastest["cpu_seconds"],
        "epoch_on": fastest["devices"].partition(" against ")[2],
        "of": ends("source", found),
        "ours": ends("input_size", ours),
        "devices": ours["devices"].unique().tolist(),
        "deeper": int((wide["resnet50"] > wide["resnet18"]).sum()),
        "compared": len(wide),
    }


def table(found: pd.DataFrame) -> pd.DataFrame:
    """Lay out `speed_ups`: a row for each source, size of image and network."""
    shown = pd.DataFrame(
        {
            "Source": found["source"],
            "Images": [f"{size:.0f}×{size:.0f}" for size in found["input_size"]],
            "Network": found["model"].map(tables.title),
            "CPU (s)": found["cpu_seconds"].map("{:,.0f}".format),
            "GPU (s)": found["gpu_seconds"].map("{:,.1f}".format),
            "Times as fast": [words.times((row.low, row.high)) for row in found.itertuples()],
            "Machines": found["devices"].replace("", "not stated"),
        }
    )
    return shown.set_index("Source")


@styled()
def draw(found: pd.DataFrame, finding: str) -> Picture:
    """Show the range of each speed-up on a logarithmic axis, its values beside it."""
    rows = found.sort_values("input_size", kind="stable").sort_values(
        "source", key=lambda names: names.map(SOURCES.index), kind="stable", ignore_index=True
    )
    figure, axes = figures.panels(1, 1, 1.3 + 0.32 * len(rows))
    axis = axes[0, 0]
    of_ours, of_reports = figures.colours(2)
    labels = []
    for y, row in rows.iterrows():
        colour = of_ours if row["source"] == SOURCES[2] else of_reports
        axis.plot([row["low"], row["high"]], [y, y], "o-", color=colour, markersize=6, linewidth=4)
        axis.annotate(f"{words.times((row['low'], row['high']))}×", (row["high"], y), (8, 0),
                      textcoords="offset points", va="center", fontsize=11)  # fmt: skip
        size = f"{row['input_size']:.0f}×{row['input_size']:.0f}"
        labels.append(f"{row['source']}, {size}, {tables.title(row['model'])}")
    axis.set_yticks(range(len(rows)), labels)
    axis.set(xscale="log", xlim=(1, 4 * rows["high"].max()), ylim=(len(rows) - 0.4, -0.6))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.set_xlabel("times as fast as a CPU (logarithmic)", fontsize=11)
    return figures.finished(figure, finding, _described(rows, labels))


def _described(rows: pd.DataFrame, labels: list[str]) -> str:
    each = zip(labels, rows["low"], rows["high"], strict=True)
    values = [f"{label}: {words.times((low, high))}" for label, low, high in each]
    return f"Times that a GPU trains as fast as a CPU. {'; '.join(values)}"

"""The page Q2, CPU and GPU: its table, its figure's points and what was found."""

from __future__ import annotations

from typing import Any

import pandas as pd
from IPython.display import Markdown

from mlops_lib import tables
from mlops_lib.study import selection, sources
from mlops_lib.study.pairs import gpu_ratios
from mlops_lib.study.protocol import (
    NOT_RUN,
    NOT_STATED,
    PROTOCOL,
    Q2_DATASET,
    Q2_IMAGES,
    published,
)
from mlops_lib.study.selection import extent, fullest, select
from mlops_lib.study.table_cells import NOTHING, accuracy_cell, timed_text, two_level

SPEEDS = ("epochs", "time (s)", "images/s", "GFLOPs", "share of peak")


def table(runs: pd.DataFrame) -> pd.DataFrame:
    """Lay out Q2: accuracy (per cent), training time (s) and multiply-adds (G) of every row."""
    rows: list[dict[Any, str]] = []
    for told in published("q2").to_dict("records"):
        images = Q2_IMAGES[told["report"]]
        size = images["input_size"]
        wanted = {"device": told["device"], "model": told["model"]} | images | PROTOCOL
        if told["report"] == "A":
            wanted |= {name: told[name] for name in ("batch_size", "optimizer", "lr")}
        here = fullest(select(runs, template="q2", dataset=Q2_DATASET, **wanted))
        needs = ": needs a GPU" if told["device"] == "cuda" else ""
        rows.append(
            {
                "Report": told["report"],
                "Device": tables.title(told["device"]),
                "Model": tables.title(told["model"]),
                "Optimizer": NOT_STATED
                if pd.isna(told["optimizer"])
                else tables.title(told["optimizer"]),
                "Image": f"{size}x{size}",
                ("Published", "accuracy"): f"{told['accuracy_pct']:.2f}",
                ("Published", "time (s)"): f"{told['train_time_ms'] / 1000:,.0f}",
                ("Published", "GFLOPs"): f"{told['gflops']:g}",
                ("Measured here", "accuracy"): accuracy_cell(here)
                if len(here)
                else NOT_RUN + needs,
                **_measured_speed(here),
            }
        )
    return two_level(rows, ["Report", "Device", "Model", "Optimizer", "Image"])


def _measured_speed(here: pd.DataFrame) -> dict[tuple[str, str], str]:
    if here.empty:
        texts = dict.fromkeys(SPEEDS, NOTHING)
    else:
        run = here.iloc[0].to_dict()
        values = (
            f"{run['epochs_done']:.0f}",
            timed_text(run, f"{run['train_seconds']:,.0f}"),
            timed_text(run, f"{run['images_per_second']:,.0f}"),
            f"{run['flops'] / 1e9:.3f}",
            timed_text(run, tables.percent_text(100 * share, 1))
            if pd.notna(share := run.get("peak_share"))
            else NOTHING,
        )
        texts = dict(zip(SPEEDS, values, strict=True))
    return {("Measured here", column): text for column, text in texts.items()}


def speeds(runs: pd.DataFrame) -> pd.DataFrame:
    """Return run, device, training images per second and share of the device's peak.

    It has the runs of Q2 that had the machine to themselves. Their texts say in what they differ
    from the usual and, where there are several devices of a kind, on which of them they ran.
    """
    here = selection.alone(select(runs, template="q2"))
    if here.empty:
        return pd.DataFrame(columns=["run", "device", "images_per_second", "peak_share"])
    machines = here.assign(machine=list(map(tables.device_text, here.to_dict("records"))))
    several = machines.groupby("device")["machine"].nunique() > 1
    rows = []
    for run in machines.to_dict("records"):
        size = f"{run['input_size']:.0f}x{run['input_size']:.0f}"
        where = run["machine"] if several[run["device"]] else tables.title(run["device"])
        other = tables.non_default_text(run, besides=("input_size", "in_channels"))
        parts = run["title"], size, where, other, extent(run), run["divergence"]
        rows.append(
            {
                "run": ", ".join(filter(None, parts)),
                "device": tables.title(run["device"]),
                "images_per_second": run["images_per_second"],
                "peak_share": run.get("peak_share"),
            }
        )
    return pd.DataFrame(rows)


def finding(runs: pd.DataFrame) -> Markdown:
    """Return in a sentence or two what Q2 found so far."""
    lines = [f"- **GPU against CPU**: {gpu_ratio(runs)}."]
    for run in speeds(runs).to_dict("records"):
        share = run["peak_share"]
        used = f", {tables.percent_text(100 * share, 1)} of the peak" if pd.notna(share) else ""
        lines.append(f"- **{run['run']}**: {run['images_per_second']:,.0f} images/s{used}.")
    return Markdown("\n".join(lines))


def gpu_ratio(runs: pd.DataFrame) -> str:
    """Return how many times faster each run of Q2 trained on a GPU than on a CPU."""
    found = gpu_ratios(sources.ours(runs).q2)
    if found.empty:
        return NOT_RUN
    low, high = found["ratio"].min(), found["ratio"].max()
    between = "; ".join(found["devices"].unique())
    return f"{low:.1f} to {high:.1f} times as fast (n={len(found)}; {between})"

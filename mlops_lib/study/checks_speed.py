"""How claims on time and operations are checked: on SVMs beside ResNets, and on Q2."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd

from mlops_lib.study.checks import Check, Spreads, rows_of
from mlops_lib.study.protocol import MODELS, NOT_STATED
from mlops_lib.study.selection import complete
from mlops_lib.study.sources import Source
from mlops_lib.study.verdicts import (
    BY_CONSTRUCTION,
    CONTRADICTED,
    DEPENDS,
    FAILS,
    HOLDS,
    Evidence,
    Verdict,
)

MIN_FACTOR = 2  # times: what "much" and "substantially" ask for at least
TOLERANCE = 0.1  # of a claimed factor: what a measured one may lie outside of it


class SvmTime(Check):
    """On each dataset, the slowest SVM fits in half the time of the fastest ResNet's training.

    Times are compared within one computer, by its processor's name. The reports state times of
    ResNets with Q2 alone; ours are those of Q1(a), of all epochs.
    """

    check: Literal["svm_time"]

    def evidence(self, source: Source, spreads: Spreads) -> Evidence:
        resnets, svms = complete(source.timed), complete(source.q1b)
        trained = (
            (resnets, "train_seconds") if "train_seconds" in resnets else (source.q2, "seconds")
        )
        times = {
            "svm": _by_computer(svms, "seconds"),
            "search": _by_computer(svms, "search_seconds"),
            "resnet": _by_computer(*trained),
        }
        compared = pd.DataFrame(times).dropna(subset=["svm", "resnet"])
        words = {
            dataset: _faster(svm, resnet)
            for (dataset, _), svm, resnet in compared[["svm", "resnet"]].itertuples()
        }
        if not words:
            return Evidence(source.silent, self.check, "SVM fits and ResNet trainings")
        verdict = DEPENDS if len(set(words.values())) > 1 else next(iter(words.values()))
        values = {
            dataset: {
                f"{kind}_seconds": [min(found), max(found)]
                for kind, found in row.items()
                if isinstance(found, list)
            }
            for (dataset, _), row in compared.iterrows()
        }
        rows = rows_of(svms), rows_of(trained[0])
        return Evidence(
            verdict, self.check, "SVM fits and ResNet trainings", values=values, rows=sum(rows, ())
        )


def _faster(svm: list[float], resnet: list[float]) -> Verdict:
    if MIN_FACTOR * max(svm) <= min(resnet):
        return HOLDS
    return CONTRADICTED if np.median(svm) > np.median(resnet) else FAILS


def _by_computer(results: pd.DataFrame, seconds: str) -> pd.Series:
    """Return the known values of a column as lists, by dataset and processor of the computer."""
    if seconds not in results:
        results = results.assign(**{seconds: np.nan})
    known = results[results[seconds].notna()]
    computer = known["cpu"].fillna(NOT_STATED) if "cpu" in known else NOT_STATED
    return known.assign(cpu=computer).groupby(["dataset", "cpu"])[seconds].agg(list)


class GpuBetween(Check):
    """A GPU trains `low` to `high` times faster than a CPU, whatever the model."""

    check: Literal["gpu_between"]
    low: float
    high: float
    transferable: ClassVar[bool] = False

    def evidence(self, source: Source, spreads: Spreads) -> Evidence:
        timed = source.gpu_ratios
        if timed["model"].nunique() < 2:
            return Evidence(source.silent, self.check, "GPU over CPU")
        inside = timed["ratio"].between((1 - TOLERANCE) * self.low, (1 + TOLERANCE) * self.high)
        verdict = HOLDS if inside.all() else FAILS if inside.any() else CONTRADICTED
        values = {"claimed": [self.low, self.high], **_gains(timed)}
        return Evidence(verdict, self.check, "GPU over CPU", values=values, rows=rows_of(source.q2))


class GpuAbout(Check):
    """A headline: the largest gain from a GPU, to a tenth of the claimed value."""

    check: Literal["gpu_about"]
    claimed: float
    transferable: ClassVar[bool] = False

    def evidence(self, source: Source, spreads: Spreads) -> Evidence:
        timed = source.gpu_ratios
        if timed.empty:
            return Evidence(source.silent, self.check, "GPU over CPU")
        near = abs(timed["ratio"].max() / self.claimed - 1) <= TOLERANCE
        values = {"claimed": [self.claimed], **_gains(timed)}
        verdict = HOLDS if near else CONTRADICTED
        return Evidence(verdict, self.check, "GPU over CPU", values=values, rows=rows_of(source.q2))


def _gains(timed: pd.DataFrame) -> dict[str, Any]:
    """Return the lowest and highest gain of each network, and which devices they are of."""
    ranges = timed.groupby("model")["ratio"].agg(["min", "max"])
    return {
        "times": {model: row.tolist() for model, row in ranges.iterrows()},
        "machines": [devices for devices in timed["devices"].unique() if devices],
    }


class LargerGainMore(Check):
    """ResNet-50 gains more from a GPU than ResNet-18."""

    check: Literal["larger_gain_more"]

    def evidence(self, source: Source, spreads: Spreads) -> Evidence:
        timed = source.gpu_ratios
        wide = timed.pivot_table("ratio", ["optimizer", "input_size"], "model")
        gains = wide.reindex(columns=[*MODELS]).dropna()
        if gains.empty:
            return Evidence(source.silent, self.check, "GPU over CPU")
        more = gains["resnet50"] > gains["resnet18"]
        verdict = HOLDS if more.all() else FAILS if more.any() else CONTRADICTED
        values = {"pairs": len(more), "ahead": int(more.sum()), **_gains(timed)}
        return Evidence(verdict, self.check, "GPU over CPU", values=values, rows=rows_of(source.q2))


class FlopsByArchitecture(Check):
    """Operation counts are equal on both devices wherever network and image size are."""

    check: Literal["flops_by_architecture"]

    def evidence(self, source: Source, spreads: Spreads) -> Evidence:
        if source.q2.empty:
            return Evidence(source.silent, self.check, "operations")
        counts = source.q2.groupby(["model", *_image(source.q2)])
        if counts["device"].nunique().max() < 2:
            return Evidence(source.silent, self.check, "operations")
        same = bool((counts["gflops"].nunique() == 1).all())
        return Evidence(
            BY_CONSTRUCTION if same else CONTRADICTED,
            self.check,
            "operations",
            values={"equal": same},
            rows=rows_of(source.q2),
        )


class DeeperCostsMore(Check):
    """ResNet-50 takes at least twice ResNet-18's operations, at the same image size."""

    check: Literal["deeper_costs_more"]

    def evidence(self, source: Source, spreads: Spreads) -> Evidence:
        if source.q2.empty:
            return Evidence(source.silent, self.check, "operations")
        wide = source.q2.pivot_table("gflops", _image(source.q2), "model")
        wide = wide.reindex(columns=[*MODELS]).dropna()
        ratios = (wide["resnet50"] / wide["resnet18"]).tolist()
        if not ratios:
            return Evidence(source.silent, self.check, "operations")
        return Evidence(
            HOLDS if min(ratios) >= MIN_FACTOR else CONTRADICTED,
            self.check,
            "operations",
            values={"times": [min(ratios), max(ratios)]},
            rows=rows_of(source.q2),
        )


def _image(q2: pd.DataFrame) -> list[str]:
    """Return the columns that say of what images operations were counted."""
    return [name for name in ("input_size", "in_channels") if name in q2]

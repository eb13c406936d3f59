"""How claims on accuracy and speed of learning are checked: a check takes a source → evidence.

A check is also the form of its entry in `claims.yaml`: its fields are the arguments there.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, BeforeValidator, ConfigDict

from mlops_lib.study import effects, noise
from mlops_lib.study.effects import POSITIONS
from mlops_lib.study.protocol import CONFIGURATION, MACHINE, PUBLISHED_EPOCHS
from mlops_lib.study.selection import complete, select
from mlops_lib.study.sources import TIMES, Source, report
from mlops_lib.study.table_cells import over, rate_text, setting_text
from mlops_lib.study.verdicts import CONTRADICTED, FAILS, HOLDS, Evidence, on_pairs

Spreads = dict[str, pd.DataFrame]  # `noise.pooled` of each measure
MEASURES = {
    "accuracy_pct": "test accuracy",
    "first_epoch_pct": "validation accuracy after one epoch",
    "val_accuracy_drop_pct": "fall of the validation accuracy between epochs",
    "epoch_seconds": "time of an epoch",
}
Measure = Literal["accuracy_pct", "first_epoch_pct", "val_accuracy_drop_pct", "epoch_seconds"]


def _number(value: Any) -> Any:
    """Read 1e-3, which YAML takes for a text."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return value


Setting = Annotated[float | str, BeforeValidator(_number)]


class Check(BaseModel):
    """A check with its arguments; an unknown argument is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    transferable: ClassVar[bool] = True  # False: about a pair of machines, nobody else's

    def evidence(self, source: Source, spreads: Spreads) -> Evidence:
        """Return what a source says."""
        raise NotImplementedError


class Ahead(Check):
    """`first` is ahead of `second` in configurations that are otherwise equal.

    `every`: in each of them, not on average. `lower`: the smaller value is ahead. `where`: in which
    configurations; `free`: what else may differ within a pair.
    """

    check: Literal["ahead"]
    factor: Literal["dataset", "model", "optimizer", "lr", "batch_size"]
    first: Setting
    second: Setting
    measure: Measure = "accuracy_pct"
    every: bool = False
    lower: bool = False
    where: dict[Literal["dataset", "model", "optimizer", "lr", "batch_size"], Setting] = {}
    free: tuple[Literal["epochs"], ...] = ()

    def evidence(self, source: Source, spreads: Spreads) -> Evidence:
        timed = self.measure in TIMES
        measure = f"{'less ' if self.lower else ''}{MEASURES[self.measure]}"
        what = f"{over(self.factor, self.first, self.second)}, {measure}"
        table = self._published_to(complete(source.timed if timed else source.q1a))
        pairs = self._pairs(table, self.measure, [*MACHINE] if timed else [])
        return _on_pairs(
            self, source, what, table, pairs, spreads[self.measure], self.measure,
            wanted=self.published_pairs, every=self.every, lower=self.lower,
        )  # fmt: skip

    @cached_property
    def published_pairs(self) -> int:
        """Return how many pairs the reports' tables of Q1(a) have."""
        grid = self._published_to(report("A").grid)
        return len(self._pairs(grid, "accuracy_pct"))

    def _published_to(self, table: pd.DataFrame) -> pd.DataFrame:
        return select(table, **self.where).reset_index(drop=True)

    def _pairs(self, table: pd.DataFrame, measure: str, alike: Iterable[str] = ()) -> pd.DataFrame:
        return effects.matched(
            table, self.factor, self.first, self.second, measure, self.free, [*alike]
        )


def _on_pairs(
    check: Any, source: Source, what: str, table: pd.DataFrame, pairs: pd.DataFrame,
    spread: pd.DataFrame, measure: str, *, wanted: int, every: bool, lower: bool = False,
    cells: pd.DataFrame | None = None,
) -> Evidence:  # fmt: skip
    """Return the evidence of pairs of rows of a table."""
    if pairs.empty:
        return Evidence(source.silent, check.check, what)
    if cells is None:
        cells = noise.cells(table, measure, spread)
    if lower:
        cells = cells.assign(value=-cells["value"])
    found = Evidence(
        source.silent,
        check.check,
        what,
        effects.of(pairs, cells),
        unit="times" if measure in TIMES else "points",
        values=_machines(table, measure),
        rows=rows_of(table.iloc[np.unique(pairs[POSITIONS])]),
    )
    return on_pairs(found, every, wanted, source.silent)


def _plain(value: Any) -> float | str:
    return value if isinstance(value, str) else float(value)


def _machines(table: pd.DataFrame, measure: str) -> dict[str, Any]:
    timed = measure in TIMES and "device_name" in table
    return {"machines": sorted(table["device_name"].unique())} if timed else {}


def rows_of(table: pd.DataFrame) -> tuple[str, ...]:
    """Return what rows of a source's table rest on, each once."""
    return tuple(dict.fromkeys(row for rows in table["rows"] for row in rows))


class BestSetting(Check):
    """An optimizer at a learning rate is ahead of the best of the other settings, on average."""

    check: Literal["best_setting"]
    optimizer: Literal["sgd", "adam"]
    lr: Annotated[float, BeforeValidator(_number)]
    measure: Measure = "accuracy_pct"

    def evidence(self, source: Source, spreads: Spreads) -> Evidence:
        setting = f"{setting_text('optimizer', self.optimizer)} at {rate_text(self.lr)}"
        what = f"{setting} over the best other setting, {MEASURES[self.measure]}"
        table = complete(source.grid).reset_index(drop=True)
        pairs = self._pairs(table, self.measure)
        return _on_pairs(
            self, source, what, table, pairs, spreads[self.measure], self.measure,
            wanted=self.published_pairs, every=False,
        )  # fmt: skip

    @cached_property
    def published_pairs(self) -> int:
        """Return how many pairs the reports' tables of Q1(a) have."""
        return len(self._pairs(report("A").grid, "accuracy_pct"))

    def _pairs(self, table: pd.DataFrame, measure: str) -> pd.DataFrame:
        """Return the setting's row of each group and that of its best rival."""
        alike, found = ["dataset", "model", "batch_size"], []
        if measure not in table:
            return pd.DataFrame(columns=[*alike, *POSITIONS])
        for group, rows in table.groupby(alike, sort=False):
            own = (rows["optimizer"] == self.optimizer) & (rows["lr"] == self.lr)
            rivals = rows[measure][~own].dropna()
            if own.any() and len(rivals) == len(rows) - 1 > 0:
                found.append([*group, rows.index[own][0], rivals.idxmax()])
        return pd.DataFrame(found, columns=[*alike, *POSITIONS])


class RbfOverPoly(Check):
    """The RBF kernel is ahead of the polynomial one on both datasets."""

    check: Literal["rbf_over_poly"]

    def evidence(self, source: Source, spreads: Spreads) -> Evidence:
        table = complete(source.q1b).reset_index(drop=True)
        pairs = _matched_kernels(table)
        return _on_pairs(
            self, source, "RBF over polynomial kernel, test accuracy", table, pairs,
            spreads["accuracy_pct"], "accuracy_pct", wanted=len(PUBLISHED_EPOCHS), every=True,
        )  # fmt: skip


def _matched_kernels(table: pd.DataFrame) -> pd.DataFrame:
    if table.empty:
        return pd.DataFrame(columns=["dataset", *POSITIONS])
    numbered = table.assign(row=range(len(table)))
    wide = numbered.pivot(index="dataset", columns="kernel", values="row")
    wide = wide.reindex(columns=["rbf", "poly"]).dropna().astype(int)
    return wide.set_axis(POSITIONS, axis="columns").reset_index()


class OverSvms(Check):
    """ResNets are ahead of the best SVM of their dataset, on average."""

    check: Literal["over_svms"]

    def evidence(self, source: Source, spreads: Spreads) -> Evidence:
        spread, measure = spreads["accuracy_pct"], "accuracy_pct"
        what = "ResNets over the best SVM of their dataset, test accuracy"
        resnets, svms = complete(source.q1a).reset_index(drop=True), complete(source.q1b)
        if resnets.empty or svms.empty:
            return Evidence(source.silent, self.check, what)
        both = svms[svms.groupby("dataset")["kernel"].transform("nunique") > 1]
        best = both.loc[both.groupby("dataset")[measure].idxmax()]
        rows = {name: len(resnets) + number for number, name in enumerate(best["dataset"])}
        pairs = resnets[resnets["dataset"].isin(rows)]
        pairs = pairs[["table", *CONFIGURATION]].assign(
            first=pairs.index, second=pairs["dataset"].map(rows)
        )
        return _on_pairs(
            self, source, what, pd.concat([resnets, best], ignore_index=True), pairs, spread,
            measure, wanted=len(report("A").grid), every=False,
            cells=pd.concat(
                [noise.cells(side, measure, spread) for side in (resnets, best)], ignore_index=True
            ),
        )  # fmt: skip


class BestIs(Check):
    """A headline: the best accuracy (per cent) and, where named, the configuration that has it.

    It holds if the best lies no further from the claimed value, and the named configuration from
    the best, than repeated trainings do (5 %).
    """

    check: Literal["best_is"]
    dataset: Literal["mnist", "fashion_mnist"]
    claimed: float
    svm: bool = False
    by: dict[Literal["model", "batch_size", "optimizer", "lr", "kernel", "C"], Setting] = {}

    def evidence(self, source: Source, spreads: Spreads) -> Evidence:
        name = "q1b" if self.svm else "grid"
        table = select(complete(getattr(source, name)), dataset=self.dataset).reset_index(drop=True)
        wanted = select(getattr(report("A"), name), dataset=self.dataset)
        what = f"best {'SVM' if self.svm else 'ResNet'}"
        if len(table) < len(wanted):
            return Evidence(source.silent, self.check, what, values={"dataset": self.dataset})
        cells = noise.cells(table, "accuracy_pct", spreads["accuracy_pct"])
        top = int(table["accuracy_pct"].idxmax())
        near = self._near(cells, top)
        named = select(table, **self.by).index
        same = any(not self._differ(cells, top, row) for row in named) if self.by else True
        best = table.loc[top]
        return Evidence(
            HOLDS if near and same else FAILS if near or (same and self.by) else CONTRADICTED,
            self.check,
            what,
            values={
                "dataset": self.dataset,
                "best_pct": float(best["accuracy_pct"]),
                "claimed_pct": self.claimed,
                "compatible": near,
                "by": {key: _plain(best[key]) for key in self.by},
                "named_is_best": bool(self.by) and same,
            },
            rows=rows_of(table.loc[[top]]),
        )

    def _near(self, cells: pd.DataFrame, top: int) -> bool:
        """Return whether a single training could have the claimed value."""
        claimed = cells.loc[[top]].assign(
            value=self.claimed,
            variance=cells["variance"][top] * cells["trainings"][top],
        )
        both = pd.concat([cells.loc[[top]], claimed])
        return bool(noise.contrasts([1, -1], both)["p"].iloc[0] >= effects.LEVEL)

    @staticmethod
    def _differ(cells: pd.DataFrame, one: int, other: int) -> bool:
        if one == other:
            return False
        pair = noise.contrasts([1, -1], cells.loc[[one, other]])
        return bool(pair["p"].iloc[0] < effects.LEVEL)

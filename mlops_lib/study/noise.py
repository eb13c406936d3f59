"""How far repeated trainings of one setting lie apart: what every difference is held against.

A training that is repeated with another seed draws other weights, another order and other training
and test images; on another device with the same seed its rounding alone moves it about as far. The
standard deviation of such repetitions is pooled by dataset and network. It belongs to every single
value, whoever measured it: the reports' values are given ours.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from mlops_lib import stats
from mlops_lib.study import selection
from mlops_lib.study.once import once
from mlops_lib.study.protocol import CONFIGURATION, MACHINE, TEST_IMAGES
from mlops_lib.study.sources import TIMES, measured

KIND = ["dataset", "model"]  # of trainings that share a standard deviation
NONE = pd.DataFrame(
    columns=["std", "df", "settings"], index=pd.MultiIndex.from_tuples([], names=KIND), dtype=float
)


@once
def pooled(runs: pd.DataFrame, measure: str = "accuracy_pct") -> pd.DataFrame:
    """Return the standard deviation of repeated trainings, by dataset and model.

    A setting is a published configuration on one device (times: one machine), trained in full with
    several seeds. Columns: std (in the unit of `measure`; of a time, of its logarithm), df (degrees
    of freedom: of each setting one less than its trainings), settings.
    """
    return of_trainings(complete_trainings(runs), measure)


def complete_trainings(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the trainings of Q1(a) in full, with what is measured of each."""
    return measured(selection.complete(selection.trained(runs)))


def of_trainings(trainings: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Return the standard deviation of these trainings, as `pooled` does."""
    if trainings.empty:
        return NONE
    names = [*CONFIGURATION, *(MACHINE if measure in TIMES else ["device"])]
    values = scaled(trainings, measure).dropna()
    keys = [trainings[name] for name in names if name in trainings]
    alike = values.groupby(keys, dropna=False)
    repeated = pd.DataFrame({"variance": alike.var(), "df": alike.count() - 1}).query("df > 0")
    squares = repeated["variance"] * repeated["df"]
    each = repeated.assign(squares=squares, settings=1).groupby(KIND)
    found = each[["squares", "df", "settings"]].sum()
    std = np.sqrt(found.pop("squares") / found["df"])
    return found.assign(std=std)[["std", "df", "settings"]]


def scaled(table: pd.DataFrame, measure: str) -> pd.Series:
    """Return a measure on the scale that differences are taken on: of times the logarithm."""
    return np.log(table[measure]) if measure in TIMES else table[measure]


def cells(table: pd.DataFrame, measure: str, noise: pd.DataFrame) -> pd.DataFrame:
    """Return each row's value, the variance of that value, its degrees of freedom and its kind.

    `noise` is what `pooled` returns for the measure. A kind that was never repeated has the noise
    of all. Without a network (an SVM's fit repeats exactly) only the draw of test images is left.
    """
    trained = pd.MultiIndex.from_frame(table.reindex(columns=KIND))
    known = noise.reindex(trained)
    std, df = (known[name].to_numpy(float, copy=True) for name in ("std", "df"))
    unknown, everything = np.isnan(std), noise["df"].sum()
    if everything:
        std[unknown] = math.sqrt((noise["df"] * noise["std"] ** 2).sum() / everything)
        df[unknown] = everything
    trainings = _column(table, "trainings", 1).astype(int)
    share = table[measure].to_numpy(float) / 100
    of_images = 1e4 * share * (1 - share) / _column(table, "test_images", TEST_IMAGES)
    svm = table["model"].isna().to_numpy() if "model" in table else np.full(len(table), True)
    return pd.DataFrame(
        {
            "value": scaled(table, measure).to_numpy(float),
            "variance": np.where(svm, of_images, std**2 / trainings),
            "df": np.where(svm, np.inf, df),
            "trainings": trainings,
            "kind": [" ".join(map(str, kind)) for kind in trained],
        }
    )


def _column(table: pd.DataFrame, name: str, otherwise: float) -> np.ndarray:
    """Return a column's values; where there is none, or no value, another."""
    if name not in table:
        return np.full(len(table), float(otherwise))
    return table[name].fillna(otherwise).to_numpy(float)


def contrasts(weights: ArrayLike, cells: pd.DataFrame) -> pd.DataFrame:
    """Return weighted sums of values and what noise leaves of them: a row for each row of weights.

    weights: (m, n) for n cells. Columns: estimate, error (standard error), df (Welch, 1947;
    Satterthwaite, 1946), p (two-sided, Student's t), low, high (95 % interval).
    """
    from scipy.stats import t

    weights = np.atleast_2d(np.asarray(weights, dtype=float))  # (m, n)
    kinds, kind = np.unique(cells["kind"], return_inverse=True)  # (k,), (n,)
    by_kind = (weights**2 * cells["variance"].to_numpy()) @ np.eye(len(kinds))[kind]  # (m, k)
    cell_df = cells["df"].to_numpy()
    kind_df = np.array([cell_df[kind == number].min() for number in range(len(kinds))])
    variance = by_kind.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        df = variance**2 / (by_kind**2 / kind_df).sum(axis=1)
        estimate, error = weights @ cells["value"].to_numpy(), np.sqrt(variance)
        p = 2 * t.sf(np.abs(estimate) / error, df)
    reach = t.ppf(1 - stats.LEVEL / 2, df) * error
    return pd.DataFrame(
        {
            "estimate": estimate,
            "error": error,
            "df": df,
            "p": p,
            "low": estimate - reach,
            "high": estimate + reach,
        }
    )


def least_difference(noise: pd.DataFrame, trainings: int) -> pd.Series:
    """Return how far apart two settings of so many trainings each differ significantly (5 %)."""
    reach = [stats.t_reach(df) for df in noise["df"]]
    return noise["std"] * reach * math.sqrt(2 / trainings)

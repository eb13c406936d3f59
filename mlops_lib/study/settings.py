"""Which setting to use: all settings by accuracy, and which cannot be told from the best."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pandas as pd

from mlops_lib import tables
from mlops_lib.plots import Picture, styled
from mlops_lib.study import figures, noise, selection
from mlops_lib.study.protocol import CONFIGURATION, MODELS, PUBLISHED_EPOCHS
from mlops_lib.study.selection import select
from mlops_lib.study.table_cells import setting_title

KIND = ["dataset", "model"]
KINDS = [(dataset, model) for dataset in PUBLISHED_EPOCHS for model in MODELS]
COLUMNS = [*CONFIGURATION, "setting", "seed", "accuracy_pct"]


def repeated(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the complete trainings of Q1(a) on the main device, a row each: COLUMNS.

    Of each kind, a dataset and a network, they have the seeds that all of its settings have.
    """
    taken = select(selection.choose(runs), template="q1a", in_tables=True)
    taken = select(selection.complete(taken), device=selection.main_device(runs))
    if taken.empty:
        return pd.DataFrame(columns=COLUMNS)
    settings = [setting_title(run) for run in taken.to_dict("records")]
    taken = taken.assign(setting=settings, accuracy_pct=100 * taken["test_accuracy"])
    of_kind = taken.groupby(KIND)["setting"].transform("nunique")
    of_seed = taken.groupby([*KIND, "seed"])["setting"].transform("nunique")
    return taken.loc[of_seed == of_kind, COLUMNS]


def ranked(trainings: pd.DataFrame, spread: pd.DataFrame) -> pd.DataFrame:
    """Rank the settings of each kind by their mean accuracy, the best first.

    `trainings` is what `repeated` returns, `spread` what `noise.pooled` does. Columns: KIND,
    setting, accuracy_pct (mean), seeds_apart (largest less smallest, points), behind (the best,
    points), reach (how far behind noise alone may put it), tied (not further behind than that).
    """
    if trainings.empty:
        return pd.DataFrame(columns=[*KIND, "setting", "accuracy_pct", "tied"])
    each = trainings.groupby([*KIND, "setting"], sort=False)["accuracy_pct"]
    table = each.agg(["mean", "min", "max", "count"]).reset_index()
    found = []
    for kind, here in table.groupby(KIND, sort=False):
        reach = noise.least_difference(spread, int(here["count"].min())).get(kind, float("inf"))
        behind = here["mean"].max() - here["mean"]
        here = here.assign(
            seeds_apart=here["max"] - here["min"], behind=behind, reach=reach, tied=behind <= reach
        )
        found.append(here.sort_values("behind", kind="stable"))
    return pd.concat(found, ignore_index=True).rename(columns={"mean": "accuracy_pct"})


def facts(table: pd.DataFrame) -> dict[str, Any]:
    """Return what a page says of `ranked`: by kind, and which setting is as good as any throughout.

    setting, tied_in (of how many kinds), kinds, others (settings tied in as many), network (the
    most accurate, by dataset), pairs and too_close (pairs of settings of a kind, and those that
    noise may explain), reach (ends over the kinds, points), and closest (`_of_kind` of the kind
    whose settings lie closest). Empty without trainings.
    """
    if table.empty:
        return {}
    each = table.groupby("setting", sort=False)
    order = pd.DataFrame({"tied_in": each["tied"].sum(), "mean": each["accuracy_pct"].mean()})
    order = order.sort_values(["tied_in", "mean"], ascending=False)
    tied_in = int(order["tied_in"].iloc[0])
    top = table.loc[table.groupby("dataset")["accuracy_pct"].idxmax()]
    kinds = [_of_kind(here) for _, here in table.groupby(KIND, sort=False)]
    return {
        "setting": order.index[0],
        "tied_in": tied_in,
        "kinds": len(kinds),
        "others": order.index[1:][order["tied_in"].iloc[1:] == tied_in].tolist(),
        "network": dict(zip(top["dataset"], top["model"], strict=True)),
        "pairs": sum(kind["pairs"] for kind in kinds),
        "too_close": sum(kind["too_close"] for kind in kinds),
        "reach": (table["reach"].min(), table["reach"].max()),
        "closest": min(kinds, key=lambda kind: kind["span"]),
    }


def _of_kind(here: pd.DataFrame) -> dict[str, Any]:
    """Return best (row), settings, span and seeds_apart (points), pairs and too_close of a kind."""
    means = here["accuracy_pct"]
    gaps = [abs(one - other) for one, other in combinations(means, 2)]
    return {
        "best": here.iloc[0].to_dict(),
        "settings": len(here),
        "span": means.max() - means.min(),
        "seeds_apart": here["seeds_apart"].max(),
        "pairs": len(gaps),
        "too_close": sum(gap <= here["reach"].iloc[0] for gap in gaps),
    }


def side_by_side(table: pd.DataFrame) -> pd.DataFrame:
    """Lay out `ranked`: a row for each setting, a column for each kind, `=` beside tied ones."""
    if table.empty:
        return table
    cells = table["accuracy_pct"].map("{:.2f}".format) + table["tied"].map({True: " =", False: ""})
    kinds = [
        f"{tables.title(model)}, {tables.title(name)}" for name, model in table[KIND].to_numpy()
    ]
    wide = table.assign(cell=cells, kind=kinds).pivot(
        index="setting", columns="kind", values="cell"
    )
    wide = wide[list(dict.fromkeys(kinds))].assign(
        **{"= in": table.groupby("setting")["tied"].sum()}
    )
    order = wide.assign(mean=table.groupby("setting")["accuracy_pct"].mean())
    order = order.sort_values(["= in", "mean"], ascending=False)
    return wide.loc[order.index].rename_axis(index="Setting", columns=None)


@styled()
def draw(trainings: pd.DataFrame, table: pd.DataFrame, finding: str) -> Picture:
    """Show each training's accuracy, settings sorted, and the band that is as good as the best.

    `trainings` is what `repeated` returns, `table` what `ranked` does.
    """
    kinds = [
        kind for kind in KINDS if kind in set(zip(table["dataset"], table["model"], strict=True))
    ]
    figure, axes = figures.panels(len(kinds), 1, 0.4 + 2.05 * len(kinds))
    dot, band = figures.colours(2)
    ends = {
        dataset: figures.limits(some["accuracy_pct"])
        for dataset, some in trainings.groupby("dataset")
    }
    for (dataset, model), axis in zip(kinds, axes[:, 0], strict=True):
        here = select(table, dataset=dataset, model=model)
        points = select(trainings, dataset=dataset, model=model)
        settings = here["setting"].tolist()
        best, reach = here["accuracy_pct"].iloc[0], here["reach"].iloc[0]
        axis.axvspan(best - reach, best, color=band, alpha=0.25, linewidth=0)
        axis.plot(points["accuracy_pct"], points["setting"].map(settings.index), "o",
                  color=dot, markersize=5, alpha=0.8)  # fmt: skip
        axis.plot(here["accuracy_pct"], range(len(here)), "|", markersize=13, markeredgewidth=2,
                  color=figures.text_colour())  # fmt: skip
        axis.set(yticks=range(len(here)), ylim=(len(here) - 0.4, -0.6), xlim=ends[dataset])
        axis.set_yticklabels(settings)
        axis.set_title(f"{tables.title(dataset)}, {tables.title(model)}", fontsize=11.5, loc="left")
    axes[-1, 0].set_xlabel("test accuracy (%)", fontsize=11)
    return figures.finished(figure, finding, _described(table))


def _described(table: pd.DataFrame) -> str:
    """Return each kind's settings with their means, and how many are in the band."""
    parts = []
    for (dataset, model), here in table.groupby(KIND, sort=False):
        means = ", ".join(f"{row.setting} {row.accuracy_pct:.2f}" for row in here.itertuples())
        parts.append(
            f"{tables.title(dataset)}, {tables.title(model)}, mean accuracy in per cent: {means}; "
            f"the first {here['tied'].sum()} lie in the band of {here['reach'].iloc[0]:.2f} points"
        )
    return ". ".join(parts)

"""Would the same come out again? With another seed, another rounding, on another device."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from IPython.display import Markdown

from mlops_lib import stats, tables
from mlops_lib.params import Q1a
from mlops_lib.study import pairs, selection, sources
from mlops_lib.study.once import once
from mlops_lib.study.protocol import PAIR_KEYS
from mlops_lib.study.selection import select
from mlops_lib.study.table_cells import NOT_YET

MIN_POINTS_APART = 1.0  # of first epochs that are listed
COMPARED: tuple[tuple[str, Any, Any], ...] = (  # setting, first, second: claims A1, A2, B3, A3
    ("optimizer", "adam", "sgd"),
    ("lr", 1e-4, 1e-3),
    ("batch_size", 16, 32),
    ("model", "resnet50", "resnet18"),
)


def spread(runs: pd.DataFrame) -> Markdown:
    """Return how far accuracy spreads over seeds, beside what the reports interpret."""
    keys = [name for name in Q1a.model_fields if name not in ("seed", "train_size", "pin_memory")]
    keys += [name for name in ("train_images", "amp_dtype") if name in runs]
    here = select(runs, template="q1a", input_size=28, divergence="")
    if here.empty:
        return Markdown(NOT_YET)
    alike = here.drop_duplicates([*keys, "seed"]).groupby(keys, dropna=False)["test_accuracy"]
    several = alike.count() > 1
    variances = (100**2 * alike.var())[several]
    if variances.empty:
        return Markdown("No configuration has been run with several seeds yet (`mlops run seeds`).")
    spreads = pd.DataFrame({"variance": variances, "freedom": alike.count()[several] - 1})
    lines = []
    for kind, some in spreads.groupby(["dataset", "model"], sort=False):
        # Pooled, each by its degrees of freedom: the mean of few deviations would be too small.
        spread = np.sqrt(np.average(some["variance"], weights=some["freedom"]))
        reach = stats.t_reach(some["freedom"].sum()) * 2**0.5 * spread
        lines.append(
            f"- {', '.join(map(tables.title, kind))}: {spread:.2f} points (pooled over "
            f"{len(some)} configurations, each on a device), {np.sqrt(some['variance'].max()):.2f} "
            f"at most; of two runs of unlike seeds, a difference of less than {reach:.2f} points "
            "says little."
        )
    return Markdown(
        "The standard deviation of the test accuracy over seeds, which also draw other test "
        "images:\n\n" + "\n".join(lines) + "\n\nThe limit is Student's t; as configurations "
        "share their splits, it may be more."
    )


@once
def repeated_pairs(runs: pd.DataFrame) -> pd.DataFrame:
    """Return how far apart the two sides of the claims' pairs are, each time both were run.

    A row for each pair and device and seed, of complete trainings, where there are several.
    Columns: compared, both (what the two have in common), run (a name of
    `selection.repetitions`), difference (points), significantly_ahead (1, -1 or 0).
    """
    rows = []
    for name, some in selection.repetitions(runs).items():
        complete = selection.complete(sources.configurations(some))
        for setting, first, second in COMPARED:
            found = pairs.find(complete, setting, first, second, "accuracy_pct")
            for one, two in pairs.both_sides(complete, found, setting, first, second):
                rows.append(
                    {
                        "compared": pairs.over(setting, first, second),
                        "both": _in_common(one, setting),
                        "run": name,
                        "difference": one["accuracy_pct"] - two["accuracy_pct"],
                        "significantly_ahead": pairs.significantly_ahead(one, two),
                    }
                )
    table = pd.DataFrame(
        rows, columns=["compared", "both", "run", "difference", "significantly_ahead"]
    )
    return table[table.groupby(["compared", "both"])["run"].transform("count") > 1]


def _in_common(run: dict[str, Any], setting: str) -> str:
    """Return a configuration in words, without the setting that is compared."""
    names = "dataset", "model", "optimizer", "lr", "batch_size"
    return ", ".join(pairs.setting_text(name, run[name]) for name in names if name != setting)


def repeated_pairs_in_brief(repeated: pd.DataFrame) -> Markdown:
    """Return in how many pairs the same side is ahead every time."""
    if repeated.empty:
        return Markdown("No pair has been run in full several times yet (`mlops run seeds`).")
    each = repeated.assign(sign=np.sign(repeated["difference"])).groupby(["compared", "both"])
    unlike = each["sign"].nunique() > 1
    beyond = unlike & each["significantly_ahead"].any()
    opposed = (each["significantly_ahead"].max() > 0) & (each["significantly_ahead"].min() < 0)
    datasets = [both.partition(",")[0] for _, both in unlike[unlike].index]
    counts = [f"{datasets.count(name)} of {name}" for name in sorted(set(datasets))]
    of = f" ({', '.join(counts)})" if counts else ""
    return Markdown(
        f"Of {len(unlike)} pairs of configurations that were trained in full several times, with "
        f"other seeds or on another device, the same side is ahead every time in "
        f"{(~unlike).sum()}. In {unlike.sum()} it changes{of}: in {beyond.sum()} of these at least "
        f"one run shows a difference beyond chance, in {opposed.sum() or 'none'} two runs show "
        "such differences in opposite directions."
    )


def repeated_pairs_table(repeated: pd.DataFrame) -> pd.DataFrame:
    """Lay out `repeated_pairs` as a page shows it: a row for each pair, a column for each run."""
    cells = [
        f"{difference:+.2f}{'*' if beyond else ''}"
        for difference, beyond in zip(
            repeated["difference"], repeated["significantly_ahead"], strict=True
        )
    ]
    titles = {"compared": "Difference (points) of", "both": "Both", "run": "run"}
    shown = repeated.assign(cell=cells).rename(columns=titles)
    wide = shown.set_index(list(titles.values()))["cell"].unstack(sort=False).fillna("")
    return wide.rename_axis(columns=None).reset_index("Both")


def repeats(runs: pd.DataFrame) -> Markdown:
    """Return how far trainings of equal parameters and seed are apart: other machine or code."""
    trained = _trainings(runs)
    if trained.empty:
        return Markdown(NOT_YET)
    lines = [
        f"- {again['title'].iloc[0]}, epochs: {again['epochs'].iloc[0]:.0f}, images: "
        f"{again['train_images'].iloc[0]:,.0f}: "
        + ", ".join(f"{100 * accuracy:.2f}" for accuracy in again["test_accuracy"])
        + " %"
        for _, again in trained.groupby(list(Q1a.model_fields), dropna=False, sort=False)
        if len(again) > 1
    ]
    if not lines:
        return Markdown("No training has been repeated with the same parameters and seed yet.")
    return Markdown(
        "Trained again with the same parameters and seed, on another machine or number of threads "
        "or at another commit, where sums are rounded differently (test accuracy):\n\n"
        + "\n".join(lines)
    )


def _trainings(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs of Q1(a) and, after them, those of Q2."""
    return pd.concat([select(runs, template=template) for template in ("q1a", "q2")])


def first_epochs(runs: pd.DataFrame) -> Markdown:
    """Return how far trainings lie apart after one epoch that begin alike, but for rounding.

    They differ at most in length, machine, threads, precision and the commit of the code.
    """
    trained = _trainings(runs)
    if trained.empty:
        return Markdown(NOT_YET)
    begun = trained[trained["history"].str.len() > 0]
    free = ("epochs", "pin_memory", "amp", "device", "train_size")
    keys = [*(name for name in Q1a.model_fields if name not in free), "train_images"]
    groups = [some for _, some in begun.groupby(keys, sort=False) if len(some) > 1]
    if not groups:
        return Markdown("No training has been begun several times with the same parameters yet.")
    found = []  # points apart, text
    for some in groups:
        first = [100 * epochs[0]["val_accuracy"] for epochs in some["history"]]
        begun_as = some.iloc[0].to_dict()
        name = ", ".join(filter(None, [begun_as["title"], tables.non_default_text(begun_as, free)]))
        shown = dict.fromkeys(
            f"{accuracy:.2f} on {tables.device_text(run)}, {run.get('amp_dtype')}"
            for accuracy, run in zip(first, some.to_dict("records"), strict=True)
        )
        found.append((max(first) - min(first), f"- {name}: {'; '.join(shown)}"))
    far = [text for points, text in sorted(found, reverse=True) if points >= MIN_POINTS_APART]
    return Markdown(
        f"Of {len(found)} trainings that were begun more than once, alike but for length, machine, "
        "threads, precision or commit, the validation accuracies after the first epoch (per cent) "
        f"are up to {max(found)[0]:.1f} points apart, and at least {MIN_POINTS_APART:g} point "
        f"in {len(far)}:\n\n" + "\n".join(far)
    )


def devices(runs: pd.DataFrame) -> pd.DataFrame:
    """Return both accuracies of each configuration of Q1(a) trained in full on a CPU and a GPU.

    Columns: configuration, cpu, gpu (texts), difference (points), significantly_ahead (1, -1 or 0).
    """
    columns = ["configuration", "cpu", "gpu", "difference", "significantly_ahead"]
    runs = select(runs, template="q1a")
    if runs.empty:
        return pd.DataFrame(columns=columns)
    keys = [name for name in PAIR_KEYS if name != "device"]
    on_each = [select(runs, device=device) for device in ("cpu", "cuda")]
    seeds = set.intersection(*(set(selection.shared_seeds(here)) for here in on_each))
    sides = []
    for here in on_each:
        alike = here[here["seed"].isin(seeds)]  # else the test images differ
        complete = selection.complete(sources.configurations(alike))
        sides.append(
            {tuple(row[name] for name in keys): row for row in complete.to_dict("records")}
        )
    on_cpu, on_gpu = sides
    rows = [
        {
            "configuration": gpu["title"],
            "cpu": _accuracy(cpu),
            "gpu": _accuracy(gpu),
            "difference": gpu["accuracy_pct"] - cpu["accuracy_pct"],
            "significantly_ahead": pairs.significantly_ahead(gpu, cpu),
        }
        for key, gpu in on_gpu.items()
        if (cpu := on_cpu.get(key))
    ]
    return pd.DataFrame(rows, columns=columns)


def _accuracy(row: dict[str, Any]) -> str:
    interval = tables.interval_text(row["accuracy_pct"], row["low"], row["high"])
    return f"{interval}, {row['amp_dtype']}"


def devices_in_brief(both: pd.DataFrame) -> Markdown:
    """Return how far the two devices' trainings lie apart."""
    if both.empty:
        return Markdown("No configuration has been trained in full on a CPU and on a GPU yet.")
    more, less = (both["difference"] > 0).sum(), (both["difference"] < 0).sum()
    beyond = both["significantly_ahead"].value_counts().reindex([1, -1], fill_value=0)
    return Markdown(
        f"Of {len(both)} configurations trained in full on a CPU and on a GPU, the GPU's has the "
        f"higher test accuracy in {more} ({beyond[1]} beyond chance), the lower in {less} "
        f"({beyond[-1]} beyond chance); on average {both['difference'].mean():+.2f} points."
    )


def devices_table(both: pd.DataFrame) -> pd.DataFrame:
    """Lay out `devices` as a page shows it."""
    words = both["significantly_ahead"].map({1: "yes", -1: "yes", 0: ""})
    texts = both.assign(
        difference=both["difference"].map("{:+.2f}".format), significantly_ahead=words
    )
    titles = {"configuration": "Configuration", "cpu": "CPU", "gpu": "GPU"}
    titles |= {"difference": "difference", "significantly_ahead": "beyond chance"}
    return texts.rename(columns=titles).set_index("Configuration")

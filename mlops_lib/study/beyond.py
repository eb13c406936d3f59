"""What the reports did not ask: DataFrames for the page of the same name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import HTML, Markdown

from mlops_lib import data, flops, plots, record, resnet, stats, tables
from mlops_lib.params import Q1a
from mlops_lib.plots import Picture
from mlops_lib.study import checks, layouts, sources
from mlops_lib.study.layouts import NOT_YET

FAR = 1.0  # points between first epochs that are listed
COMPARED: tuple[tuple[str, Any, Any], ...] = (  # setting, first, second: claims A1, A2, B3, A3
    ("optimizer", "adam", "sgd"),
    ("lr", 1e-4, 1e-3),
    ("batch_size", 16, 32),
    ("model", "resnet50", "resnet18"),
)


def dead_weights() -> pd.DataFrame:
    """Return how many weights of each convolution can never learn at 28x28.

    Columns model, layer, weights, dead; layers in the order of the forward pass.
    """
    rows = []
    for model in tables.MODELS:
        network = resnet.build(model)
        sizes = {name: weight.numel() for name, weight in network.named_parameters()}
        dead = resnet.remove_dead_taps(network, 1, 28)
        for name, size in sizes.items():
            layer = name.removesuffix(".weight")
            if "conv" in layer or "downsample.0" in layer:
                row = {"layer": layer, "weights": size, "dead": dead.get(layer, 0)}
                rows.append({"model": tables.title(model)} | row)
    return pd.DataFrame(rows)


def growth(runs: pd.DataFrame) -> pd.DataFrame:
    """Return accuracy and seconds by number of training images: SVM (RBF, C=10) and ResNet-18.

    Columns dataset, method, images, accuracy (per cent), seconds (nan beside other work).
    """
    svms = tables.select(runs, template="q1b", kernel="rbf", best_C=10.0)
    svms = svms[svms["search"].str.len() == 1] if "search" in svms else svms.iloc[:0]
    resnets = tables.trained(runs, model="resnet18", optimizer="adam", lr=1e-3, batch_size=32)
    resnets = tables.select(resnets, epochs=1)
    rows = [
        {
            "dataset": tables.title(run["dataset"]),
            "method": method,
            "images": int(run["train_images"]),
            "accuracy": 100 * run["test_accuracy"],
            "seconds": run["seconds"] if run["alone"] else np.nan,
        }
        for method, some in (("SVM (RBF, C=10)", svms), ("ResNet-18, one epoch", resnets))
        for run in some.to_dict("records")
    ]
    columns = ["dataset", "method", "images", "accuracy", "seconds"]
    return pd.DataFrame(rows, columns=columns).sort_values(columns[:3]).reset_index(drop=True)


def cost(runs: pd.DataFrame) -> pd.DataFrame:
    """Return what the runs on all 49,000 images cost, where no other work took their time.

    Columns dataset, method, machine, run, seconds (of an SVM: of its whole search), operations
    (multiply-adds of the whole training, in 10^12; none for SVMs), accuracy (per cent), best: no
    run on this machine is as accurate in less time.
    """
    whole = tables.alone(_costing(runs))
    rows = []
    for run in tables.select(whole, template="q1a").to_dict("records"):
        images = run["epochs_done"] * run["train_images"]
        done = images * run["flops"] * flops.TRAINING_PASSES / 1e12
        rows.append(_cost(run, tables.title(run["model"]), done))
    for run in tables.select(whole, template="q1b").to_dict("records"):
        rows.append(_cost(run, "SVM", np.nan) | {"seconds": run["search_seconds"]})
    columns = ["dataset", "method", "machine", "run", "seconds", "operations", "accuracy"]
    table = pd.DataFrame(rows, columns=columns).sort_values("seconds", ignore_index=True)
    on_each = table.groupby(["dataset", "machine"])["accuracy"]
    before = on_each.transform(lambda accuracy: accuracy.cummax().shift())
    return table.assign(best=before.isna() | (table["accuracy"] > before))


def left_out(runs: pd.DataFrame) -> Markdown:
    """Say how many runs on all images are not in `cost`, and the most accurate of them."""
    whole = _costing(runs)
    busy = tables.select(whole, alone=False)
    if busy.empty:
        return Markdown("Every run on all images is shown.")
    best = busy.loc[busy.groupby("dataset")["test_accuracy"].idxmax()].to_dict("records")
    named = "; ".join(f"{run['title']}: {tables.accuracy_text(run)} %" for run in best)
    return Markdown(
        f"{len(busy)} of {len(whole)} runs on all images got less than {tables.ALONE:.0%} of the "
        "processor time of their threads, or shared a GPU, and are not shown; the most accurate of "
        f"them: {named}."
    )


def _costing(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs of Q1 on all images."""
    whole = _of_all_images(runs)
    return whole[whole["template"].isin(["q1a", "q1b"])]


def _of_all_images(runs: pd.DataFrame) -> pd.DataFrame:
    return runs[runs["train_images"] >= tables.ALL_IMAGES] if len(runs) else runs


def _cost(run: dict[str, Any], method: str, operations: float) -> dict[str, Any]:
    return {
        "dataset": tables.title(run["dataset"]),
        "method": method,
        "machine": tables.device_text(run),
        "run": ", ".join(filter(None, [run["title"], layouts.otherwise(run), run["divergence"]])),
        "seconds": run["seconds"],
        "operations": operations,
        "accuracy": 100 * run["test_accuracy"],
    }


def front(runs: pd.DataFrame) -> HTML | Markdown:
    """Lay out the runs that none beats in both time and accuracy, the fastest first."""
    table = cost(runs)
    best = table[table["best"]]
    if best.empty:
        return Markdown(NOT_YET)
    return layouts.page(
        pd.DataFrame(
            {
                "Dataset": best["dataset"],
                "Run": best["run"],
                "Training (s)": best["seconds"].map("{:,.0f}".format),
                "Multiply-adds (10¹²)": best["operations"].map("{:.1f}".format).replace("nan", ""),
                "Accuracy (%)": best["accuracy"].map("{:.2f}".format),
                "On": best["machine"],
            }
        )
        .sort_values(["Dataset", "On", "Accuracy (%)"])
        .set_index("Dataset"),
        wrap=True,
    )


def shown(table: pd.DataFrame, plot: Callable[[pd.DataFrame], Picture]) -> Picture | Markdown:
    """Return a table's figure, or a sentence where it has no rows yet."""
    return Markdown(NOT_YET) if table.empty else plot(table)


def dead_by_model(layers: pd.DataFrame) -> pd.DataFrame:
    """Lay out the sums of `dead_weights`, a row for each model."""
    sums = layers.groupby("model", sort=False)[["weights", "dead"]].sum()
    return pd.DataFrame(
        {
            "weights of convolutions": sums["weights"].map("{:,}".format),
            "can never learn": sums["dead"].map("{:,}".format),
            "share": (sums["dead"] / sums["weights"]).map("{:.1%}".format),
        }
    )


def seeds(runs: pd.DataFrame) -> Markdown:
    """Say how far accuracy spreads over seeds, beside what the reports interpret."""
    keys = [name for name in Q1a.model_fields if name not in ("seed", "train_size", "pin_memory")]
    keys += [name for name in ("train_images", "amp_dtype") if name in runs]
    here = tables.select(runs, template="q1a", input_size=28, divergence="")
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


def repeated_pairs(runs: pd.DataFrame) -> pd.DataFrame:
    """Return how far the two sides of the claims' pairs lie apart, each time that both were run.

    A row for each pair and device and seed, of whole trainings, where there are several. Columns:
    compared, both (what the two have in common), run (as `sources.repetitions` names it),
    difference (points), beyond_chance (1, -1 or 0).
    """
    rows = []
    for name, some in sources.repetitions(runs).items():
        whole = sources.complete(sources.configurations(some))
        for setting, first, second in COMPARED:
            found = sources.pairs(whole, setting, first, second, "accuracy_pct")
            for one, two in sources.both_sides(whole, found, setting, first, second):
                rows.append(
                    {
                        "compared": checks.over(setting, first, second),
                        "both": _in_common(one, setting),
                        "run": name,
                        "difference": one["accuracy_pct"] - two["accuracy_pct"],
                        "beyond_chance": sources.beyond_chance(one, two),
                    }
                )
    table = pd.DataFrame(rows, columns=["compared", "both", "run", "difference", "beyond_chance"])
    return table[table.groupby(["compared", "both"])["run"].transform("count") > 1]


def _in_common(run: dict[str, Any], setting: str) -> str:
    """Name a configuration without the setting in which it is compared with another."""
    names = "dataset", "model", "optimizer", "lr", "batch_size"
    return ", ".join(checks.setting_text(name, run[name]) for name in names if name != setting)


def repeated_pairs_in_brief(pairs: pd.DataFrame) -> Markdown:
    """Say in how many pairs the same side is ahead every time."""
    if pairs.empty:
        return Markdown("No pair has been run in full several times yet (`mlops run seeds`).")
    each = pairs.assign(sign=np.sign(pairs["difference"])).groupby(["compared", "both"])
    unlike = each["sign"].nunique() > 1
    beyond = unlike & each["beyond_chance"].any()
    opposed = (each["beyond_chance"].max() > 0) & (each["beyond_chance"].min() < 0)
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


def repeated_pairs_table(pairs: pd.DataFrame) -> HTML | Markdown:
    """Lay out `repeated_pairs` as a page shows it: a row for each pair, a column for each run."""
    if pairs.empty:
        return Markdown(NOT_YET)
    cells = [
        f"{difference:+.2f}{'*' if beyond else ''}"
        for difference, beyond in zip(pairs["difference"], pairs["beyond_chance"], strict=True)
    ]
    titles = {"compared": "Difference (points) of", "both": "Both", "run": "run"}
    shown = pairs.assign(cell=cells).rename(columns=titles)
    wide = shown.set_index(list(titles.values()))["cell"].unstack(sort=False).fillna("")
    return layouts.page(wide.rename_axis(columns=None).reset_index("Both"))


def repeats(runs: pd.DataFrame) -> Markdown:
    """Say how far trainings of equal parameters and seed lie apart: other machine, other code."""
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
        "or at another commit, where sums are rounded otherwise (test accuracy):\n\n"
        + "\n".join(lines)
    )


def _trainings(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs of Q1(a) and, after them, those of Q2."""
    return pd.concat([tables.select(runs, template=template) for template in ("q1a", "q2")])


def first_epochs(runs: pd.DataFrame) -> Markdown:
    """Say how far trainings lie apart after one epoch that begin alike, but for rounding.

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
        name = ", ".join(filter(None, [begun_as["title"], layouts.otherwise(begun_as, free)]))
        shown = dict.fromkeys(
            f"{accuracy:.2f} on {tables.device_text(run)}, {run.get('amp_dtype')}"
            for accuracy, run in zip(first, some.to_dict("records"), strict=True)
        )
        found.append((max(first) - min(first), f"- {name}: {'; '.join(shown)}"))
    far = [text for points, text in sorted(found, reverse=True) if points >= FAR]
    return Markdown(
        f"Of {len(found)} trainings that were begun more than once, alike but for length, machine, "
        "threads, precision or commit, the validation accuracies after the first epoch (per cent) "
        f"are up to {max(found)[0]:.1f} points apart, and at least {FAR:g} point in {len(far)}:\n\n"
        + "\n".join(far)
    )


def devices(runs: pd.DataFrame) -> pd.DataFrame:
    """Return both accuracies of each configuration of Q1(a) with a whole training on CPU and GPU.

    Columns: configuration, cpu, gpu (texts), difference (points), beyond_chance (1, -1 or 0).
    """
    columns = ["configuration", "cpu", "gpu", "difference", "beyond_chance"]
    runs = tables.select(runs, template="q1a")
    if runs.empty:
        return pd.DataFrame(columns=columns)
    keys = [name for name in sources.PAIR_KEYS if name != "device"]
    on_each = [tables.select(runs, device=device) for device in ("cpu", "cuda")]
    seeds = set.intersection(*(set(sources.shared_seeds(here)) for here in on_each))
    sides = []
    for here in on_each:
        alike = here[here["seed"].isin(seeds)]  # else the test images differ
        whole = sources.complete(sources.configurations(alike))
        sides.append({tuple(row[name] for name in keys): row for row in whole.to_dict("records")})
    on_cpu, on_gpu = sides
    rows = [
        {
            "configuration": gpu["title"],
            "cpu": _accuracy(cpu),
            "gpu": _accuracy(gpu),
            "difference": gpu["accuracy_pct"] - cpu["accuracy_pct"],
            "beyond_chance": sources.beyond_chance(gpu, cpu),
        }
        for key, gpu in on_gpu.items()
        if (cpu := on_cpu.get(key))
    ]
    return pd.DataFrame(rows, columns=columns)


def _accuracy(row: dict[str, Any]) -> str:
    interval = tables.interval_text(row["accuracy_pct"], row["low"], row["high"])
    return f"{interval}, {row['amp_dtype']}"


def devices_in_brief(both: pd.DataFrame) -> Markdown:
    """Say how far the two devices' trainings lie apart."""
    if both.empty:
        return Markdown("No configuration has been trained in full on a CPU and on a GPU yet.")
    more, less = (both["difference"] > 0).sum(), (both["difference"] < 0).sum()
    beyond = both["beyond_chance"].value_counts().reindex([1, -1], fill_value=0)
    return Markdown(
        f"Of {len(both)} configurations trained in full on a CPU and on a GPU, the GPU's has the "
        f"higher test accuracy in {more} ({beyond[1]} beyond chance), the lower in {less} "
        f"({beyond[-1]} beyond chance); on average {both['difference'].mean():+.2f} points."
    )


def devices_table(both: pd.DataFrame) -> HTML | Markdown:
    """Lay out `devices` as a page shows it."""
    if both.empty:
        return Markdown(NOT_YET)
    words = both["beyond_chance"].map({1: "yes", -1: "yes", 0: ""})
    shown = both.assign(difference=both["difference"].map("{:+.2f}".format), beyond_chance=words)
    titles = {"configuration": "Configuration", "cpu": "CPU", "gpu": "GPU"}
    titles |= {"difference": "difference", "beyond_chance": "beyond chance"}
    return layouts.page(shown.rename(columns=titles).set_index("Configuration"))


def never_right(runs: pd.DataFrame, dataset: str, seed: int = 0) -> np.ndarray:
    """Return which test images every run on all training images gets wrong: int rows of the split.

    Only runs of this dataset and seed share their test images.
    """
    here = tables.select(_of_all_images(runs), dataset=dataset, seed=seed)
    right = [
        record.unpack_correct(run)
        for run in here.to_dict("records")
        if isinstance(run.get("correct"), str)
    ]
    right = [bits for bits in right if len(bits) == len(right[0])]
    if not right:
        return np.empty(0, dtype=int)
    return np.flatnonzero(~np.any(right, axis=0))


def hardest(runs: pd.DataFrame, dataset: str, count: int = 20) -> Picture | Markdown:
    """Show the first test images that every run gets wrong, with their labels.

    Without the dataset (a book is built from records alone), say how many there are.
    """
    if tables.select(_of_all_images(runs), dataset=dataset, seed=0).empty:
        return Markdown(NOT_YET)
    rows = never_right(runs, dataset)
    about = (
        f"{len(rows)} test images of {tables.title(dataset)} that no run of seed 0 on all images "
        "gets right"
    )
    if not len(rows) or not data.local(dataset):
        return Markdown(f"{about} (`mlops data` brings the images).")
    images, labels = data.load(dataset)
    shown = data.split(labels, 0)[2][rows][:count]
    names = data.class_names(dataset)
    titles = [names[label] for label in labels[shown]]
    return plots.image_grid(images[shown], titles, f"The first {len(shown)} of {about}")

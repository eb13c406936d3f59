"""Records and the published CSV files → DataFrames."""

from __future__ import annotations

import html
import math
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import HTML

from mlops_lib import record
from mlops_lib.record import Record
from mlops_lib.stats import differ, wilson

RUNS = record.BOOK / "runs"
PUBLISHED = record.BOOK / "published"
NOT_RUN = "not run"
NOT_STATED = "not stated"
RUN_PAGES = "runs/"  # where the book has them
LINK = re.compile(rf"\[([^\]]+)\]\(({RUN_PAGES}[^()]+)\)")
LINK_SIGN = "↗"
UNSHARED = 0.8  # of the processor time its threads could get, what a run alone gets at least
PUBLISHED_EPOCHS = {"mnist": 5, "fashion_mnist": 10}  # report B; report A states none
TWINS = ["model", "optimizer", "lr", "batch_size", "input_size", "in_channels"]
Q1A_KEYS = ["dataset", "batch_size", "optimizer", "lr"]
MODELS = ("resnet18", "resnet50")
TITLES = {
    "mnist": "MNIST",
    "fashion_mnist": "FashionMNIST",
    "kmnist": "KMNIST",
    "digits": "digits",
    "resnet18": "ResNet-18",
    "resnet50": "ResNet-50",
    "sgd": "SGD",
    "adam": "Adam",
    "rbf": "RBF",
    "poly": "polynomial",
    "cpu": "CPU",
    "cuda": "GPU",
}


def title(value: Any) -> str:
    """Return how text names a value: `resnet18` → `ResNet-18`."""
    return TITLES.get(value, str(value))


def run_title(parameters: dict[str, Any]) -> str:
    """Return a run's title: `MNIST, ResNet-18, Adam 0.001, batch 16`."""
    p = parameters
    if "kernel" in p:
        parts = [f"SVM, {title(p['kernel'])} kernel"]
    else:
        parts = [
            title(p["model"]),
            f"{title(p['optimizer'])} {p['lr']:g}",
            f"batch {p['batch_size']}",
        ]
    return ", ".join([title(p["dataset"]), *parts])


def records(folder: Path | None = None) -> dict[Path, Record]:
    """Read every record below a folder (`book/runs/`), by its path.

    A file that is damaged or foreign is left out with a warning that names it.
    """
    found = {}
    for path in sorted((folder or RUNS).glob("*/*/*.json")):
        try:
            found[path] = record.read(path)
        except record.RecordError as error:
            warnings.warn(f"left out: {error}", stacklevel=2)
    return found


def load(folder: Path | None = None) -> pd.DataFrame:
    """Return a row for every record below a folder, parameters and results as columns."""
    folder = folder or RUNS
    rows = [_row(run, path, folder) for path, run in records(folder).items()]
    return pd.DataFrame(rows, columns=None if rows else ["template", "suite", "page"])


def _row(run: Record, path: Path, folder: Path) -> dict[str, Any]:
    """Flatten a record; `epochs` is their number, `history` what was measured after each."""
    relative = path.relative_to(folder)
    best = run.results.get("best", {})
    return {  # in this order: nothing that a record says takes the place of what follows it
        **run.environment,
        **{f"best_{name}": value for name, value in best.items()},
        **run.results,
        **run.parameters,
        "history": run.results.get("epochs"),
        "device": run.environment["device"],
        "device_name": run.environment["device_name"],
        "train_images": run.results.get("train_images") or run.parameters["train_size"] or 49_000,
        "duration_seconds": run.duration_seconds,
        "template": run.template,
        "suite": relative.parts[0],
        "page": relative.with_suffix("").as_posix(),
        "title": run_title(run.parameters),
    }


def select(runs: pd.DataFrame, **wanted: Any) -> pd.DataFrame:
    """Return the runs whose columns have these values; none where a column is missing."""
    for name, value in wanted.items():
        if name not in runs:
            return runs.iloc[:0]
        runs = runs[runs[name] == value]
    return runs


def fullest(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs that trained on most images for most epochs: one a seed, as published."""
    if runs.empty:
        return runs
    order = [
        name for name in ("train_images", "epochs") if name in runs and runs[name].notna().all()
    ]
    runs = runs.sort_values(order, ascending=False, kind="stable")
    same = (runs[order] == runs[order].iloc[0]).all(axis=1)
    return runs[same].drop_duplicates("seed")


def published(question: str) -> pd.DataFrame:
    """Return a published table (`q1a`, `q1b`, `q2`) as it was printed, both reports together."""
    return pd.read_csv(PUBLISHED / f"{question}.csv")


def images_right(run: Any) -> tuple[int, int]:
    """Return how many test images a run got right, and of how many."""
    total = int(np.sum(run["confusion_matrix"]))
    return round(run["test_accuracy"] * total), total


def accuracy_interval(run: Any) -> tuple[float, float, float]:
    """Return test accuracy and its 95 % Wilson interval, in per cent."""
    right, total = images_right(run)
    low, high = wilson(right, total)
    return 100 * right / total, 100 * low, 100 * high


def accuracy_text(run: Any) -> str:
    """Return `98.42 (98.20-98.61)`: accuracy and its 95 % interval in per cent."""
    accuracy, low, high = accuracy_interval(run)
    return f"{accuracy:.2f} ({low:.2f}–{high:.2f})"


def extent(run: Any, published_epochs: int | None = None) -> str:
    """Say on how much less than the published protocol a run was trained; nothing if on all."""
    parts = []
    if published_epochs and run["epochs"] < published_epochs:
        plural = "" if run["epochs"] == 1 else "s"
        parts.append(f"{run['epochs']:.0f} epoch{plural} of {published_epochs}")
    if run.get("train_images", 49_000) < 49_000:
        parts.append(f"{run['train_images']:,.0f} images of 49,000")
    return ", ".join(parts)


def cell(runs: pd.DataFrame, published_epochs: int | None = None) -> str:
    """Return what a table says of the runs of one configuration: the fullest, or `not run`."""
    runs = fullest(runs)
    if runs.empty:
        return NOT_RUN
    if len(runs) > 1:
        accuracy = 100 * runs["test_accuracy"]
        text = f"{accuracy.mean():.2f} ± {accuracy.std():.2f} (n={len(runs)})"
    else:
        text = accuracy_text(runs.iloc[0])
    less = extent(runs.iloc[0], published_epochs)
    links = " ".join(_link(run, LINK_SIGN) for run in runs.to_dict("records"))
    return f"{text} {links}; {less}" if less else f"{text} {links}"


def q1a(runs: pd.DataFrame) -> pd.DataFrame:
    """Lay out Q1(a) as the reports do, each cell beside what was measured here, in per cent."""
    reports = published("q1a")
    rows = []
    for values, _ in reports.groupby(Q1A_KEYS, sort=False):
        configuration = dict(zip(Q1A_KEYS, values, strict=True))
        row: dict[Any, Any] = {
            "Dataset": title(values[0]), "Batch": values[1], "Optimizer": title(values[2]),
            "Rate": f"{values[3]:g}",
        }  # fmt: skip
        for model in MODELS:
            told = select(reports, model=model, **configuration).set_index("report")["accuracy_pct"]
            here = trained(runs, model=model, **configuration)
            for report in "AB":
                row[title(model), report] = told_text(told[report], here, values[0])
            row[title(model), "measured here"] = cell(here, PUBLISHED_EPOCHS[values[0]])
        rows.append(row)
    return _two_level(rows, ["Dataset", "Batch", "Optimizer", "Rate"])


def told_text(told: float, here: pd.DataFrame, dataset: str) -> str:
    """Return `98.00 (+0.42*)`: a published accuracy and what it has over the measured one.

    The star: by more than the sampling of the test images explains (two proportions, 5 %). Without
    a run of all published epochs and images, the published accuracy alone.
    """
    here = fullest(here)
    if here.empty or extent(here.iloc[0], PUBLISHED_EPOCHS[dataset]):
        return f"{told:.2f}"
    measured = here["test_accuracy"].mean()
    star = "*" if differ(told / 100, measured, images_right(here.iloc[0])[1]) else ""
    return f"{told:.2f} ({told - 100 * measured:+.2f}{star})"


def trained(runs: pd.DataFrame, **configuration: Any) -> pd.DataFrame:
    """Return the runs of Q1(a) on images of their own size with this configuration.

    SGD's momentum is 0.9 unless the configuration says otherwise.
    """
    return select(runs, template="q1a", input_size=28, **{"momentum": 0.9} | configuration)


def page(table: pd.DataFrame, wrap: bool = False) -> HTML:
    """Return a table as a page shows it: escaped, nothing cut off, a line for each part (`;`).

    A cell's `[text](runs/…)` is a link to a run's page. `wrap` lets long texts take several lines.
    In the book, its columns sort by a click.
    """
    if not isinstance(table.index, pd.RangeIndex):
        table = table.reset_index()
    classes = "sortable wrapped" if wrap else "sortable"
    shown = table.map(_page_text).to_html(
        escape=False, border=0, justify="left", index=False, classes=classes
    )
    return HTML(shown)


def _page_text(value: Any) -> str:
    text = "<br>".join(map(html.escape, str(value).split("; ")))
    return LINK.sub(r'<a href="\2.html">\1</a>', text)


def _link(run: Any, text: str) -> str:
    """Return a link to a run's page, as `page` takes it."""
    return f"[{text}]({RUN_PAGES}{run['page']})"


def _two_level(rows: list[dict], index: list[str]) -> pd.DataFrame:
    table = pd.DataFrame(rows).set_index(index)
    table.columns = pd.MultiIndex.from_tuples(table.columns)
    return table


def q1b(runs: pd.DataFrame) -> pd.DataFrame:
    """Lay out Q1(b): accuracy in per cent and fitting time in seconds, reports and measured."""
    reports = published("q1b")
    rows = []
    for (dataset, kernel), _ in reports.groupby(["dataset", "kernel"], sort=False):
        row: dict[Any, str] = {"Dataset": title(dataset), "Kernel": title(kernel)}
        for report in "AB":
            told = select(reports, dataset=dataset, kernel=kernel, report=report).iloc[0]
            row[f"Report {report}", "accuracy"] = f"{told['accuracy_pct']:.2f}"
            row[f"Report {report}", "fit (s)"] = f"{told['train_time_ms'] / 1000:.1f}"
            row[f"Report {report}", "C"] = f"{told['C']:g}"
        here = fullest(select(runs, template="q1b", dataset=dataset, kernel=kernel))
        row["Measured here", "accuracy"] = cell(here)
        row["Measured here", "fit (s)"] = (
            NOT_RUN if here.empty else f"{here['fit_seconds'].iloc[0]:.1f}"
        )
        row["Measured here", "C"] = NOT_RUN if here.empty else f"{here['best_C'].iloc[0]:g}"
        rows.append(row)
    return _two_level(rows, ["Dataset", "Kernel"])


def q2(runs: pd.DataFrame) -> pd.DataFrame:
    """Lay out Q2: accuracy (per cent), training time (s) and multiply-adds (G) of every row."""
    rows: list[dict[Any, str]] = []
    for told in published("q2").to_dict("records"):
        size = 28 if told["report"] == "A" else 224
        wanted = {"device": told["device"], "model": told["model"], "input_size": size}
        if told["report"] == "A":
            wanted |= {name: told[name] for name in ("batch_size", "optimizer", "lr")}
        here = fullest(select(runs, template="q2", dataset="fashion_mnist", **wanted))
        rows.append(
            {
                "Report": told["report"],
                "Device": title(told["device"]),
                "Model": title(told["model"]),
                "Optimizer": NOT_STATED if pd.isna(told["optimizer"]) else title(told["optimizer"]),
                "Image": f"{size}x{size}",
                ("Published", "accuracy"): f"{told['accuracy_pct']:.2f}",
                ("Published", "training (s)"): f"{told['train_time_ms'] / 1000:,.0f}",
                ("Published", "GFLOPs"): f"{told['gflops']:g}",
                ("Measured here", "accuracy"): cell(here),
                **_measured_speed(here),
            }
        )
    return _two_level(rows, ["Report", "Device", "Model", "Optimizer", "Image"])


def _measured_speed(here: pd.DataFrame) -> dict[tuple[str, str], str]:
    forms = {
        "training (s)": ("train_seconds", "{:,.0f}", 1),
        "images/s": ("images_per_second", "{:,.0f}", 1),
        "GFLOPs": ("flops", "{:.3f}", 1e-9),
        "share of peak": ("peak_share", "{:.1%}", 1),
    }
    return {
        ("Measured here", column): NOT_RUN
        if here.empty
        else form.format(here[name].iloc[0] * factor)
        for column, (name, form, factor) in forms.items()
    }


def gpu_ratios(timed: pd.DataFrame) -> pd.DataFrame:
    """Return how many times faster a GPU was than a CPU, for each configuration timed on both.

    `timed` has the columns device, seconds and any of TWINS; the result has those of TWINS, ratio.
    """
    keys = [name for name in TWINS if name in timed]
    if timed.empty:
        return pd.DataFrame(columns=[*TWINS, "ratio"])
    stated = timed[keys].astype(object).where(timed[keys].notna(), NOT_STATED)
    timed = stated.assign(device=timed["device"], seconds=timed["seconds"])
    seconds = timed.pivot_table("seconds", keys, "device").reindex(columns=["cpu", "cuda"])
    return (seconds["cpu"] / seconds["cuda"]).dropna().rename("ratio").reset_index()


def per_class(matrix: Any, names: tuple[str, ...]) -> pd.DataFrame:
    """Return precision and recall of each class from a confusion matrix (true, predicted)."""
    matrix = np.asarray(matrix, dtype=float)
    with np.errstate(invalid="ignore"):
        precision = matrix.diagonal() / matrix.sum(axis=0)
        recall = matrix.diagonal() / matrix.sum(axis=1)
    return (
        pd.DataFrame(
            {"class": names, "precision": precision, "recall": recall, "images": matrix.sum(axis=1)}
        )
        .set_index("class")
        .astype({"images": int})
        .round(4)
    )


def search(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Return the candidates of an SVM search, the best on the validation split first."""
    table = pd.DataFrame(rows).sort_values("val_accuracy", ascending=False, kind="stable")
    table = table.drop(columns="fit_cpu_seconds", errors="ignore")
    table["val_accuracy"] = (100 * table.pop("val_accuracy")).map("{:.2f} %".format)
    return table.round(2).fillna("").set_index("C")


def overview(runs: pd.DataFrame, template: str | None = None) -> HTML:
    """Return one row a run: what was run, on how much, accuracy, time, and the run's page."""
    columns = ["Run", "Suite", "Training images", "Accuracy (%)", "Training (s)", "Device"]
    rows = []
    for run in (select(runs, template=template) if template else runs).to_dict("records"):
        values = [
            _link(run, run["title"]),
            run["suite"],
            f"{run['train_images']:,.0f}",
            accuracy_text(run),
            _time_text(run),
            run["device_name"],
        ]
        rows.append(dict(zip(columns, values, strict=True)))
    return page(pd.DataFrame(rows or [dict.fromkeys(columns, NOT_RUN)]))


def _time_text(run: dict[str, Any]) -> str:
    """Return the training time of a run; in brackets where other work took the processor."""
    name = "fit" if run["template"] == "q1b" else "train"
    seconds = run[f"{name}_seconds"]
    used, threads = (run.get(key) or math.nan for key in (f"{name}_cpu_seconds", "threads"))
    shared = run["device"] == "cpu" and used < UNSHARED * seconds * threads
    return f"({seconds:,.1f})" if shared else f"{seconds:,.1f}"


def q1a_long(runs: pd.DataFrame) -> pd.DataFrame:
    """Return Q1(a) as one row an accuracy: dataset, model, configuration, source, low, high."""
    rows = []
    for told in published("q1a").to_dict("records"):
        rows.append(_point(told, f"report {told['report']}", told["accuracy_pct"]))
        here = fullest(trained(runs, **{name: told[name] for name in ("model", *Q1A_KEYS)}))
        if told["report"] == "A" and not here.empty:
            rows.append(_point(told, "measured here", *accuracy_interval(here.iloc[0])))
    return pd.DataFrame(rows)


def _point(told: dict[str, Any], source: str, accuracy: float, *interval: float) -> dict[str, Any]:
    low, high = interval or (accuracy, accuracy)
    return {
        "dataset": title(told["dataset"]),
        "model": title(told["model"]),
        "configuration": f"{title(told['optimizer'])} {told['lr']:g}, batch {told['batch_size']}",
        "source": source,
        "accuracy": accuracy,
        "low": low,
        "high": high,
    }


def speeds(runs: pd.DataFrame) -> pd.DataFrame:
    """Return run, device and training images per second of every run of Q2."""
    here = select(runs, template="q2")
    if here.empty:
        return pd.DataFrame(columns=["run", "device", "images_per_second"])
    return pd.DataFrame(
        {
            "run": here["title"] + here["input_size"].map(", {0:.0f}x{0:.0f}".format),
            "device": here["device"].map(title),
            "images_per_second": here["images_per_second"],
        }
    )


def compare(first: Record, second: Record) -> pd.DataFrame:
    """Return the parameters, results and environment in which two runs differ."""
    sides = [
        {
            f"{part}.{name}": value
            for part in ("parameters", "results", "environment")
            for name, value in getattr(run, part).items()
            if not isinstance(value, list | dict) and name != "correct"
        }
        for run in (first, second)
    ]
    table = pd.DataFrame(sides, index=["first", "second"], dtype=object).T
    return table[table["first"].ne(table["second"]) & table.notna().any(axis=1)]

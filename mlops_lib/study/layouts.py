"""The result pages' tables and what their figures show: DataFrames and HTML."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from typing import Any

import pandas as pd
from IPython.display import HTML

from mlops_lib.params import Q1a, non_default_settings
from mlops_lib.stats import differ
from mlops_lib.tables import (
    MACHINE,
    MODELS,
    NOT_RUN,
    NOT_STATED,
    PROTOCOL,
    PUBLISHED_EPOCHS,
    Q1A_KEYS,
    accuracy_over_seeds,
    accuracy_text,
    alone,
    device_text,
    extent,
    fullest,
    images_right,
    interval_text,
    main_device_first,
    published,
    select,
    title,
    trained,
)

CHANGES = ("input_size", "amp", "input_pipeline", "pin_memory")  # one at a time, by `ablations`
MEASURED, MEASURED_ON_LESS = "measured here", "measured here on less"
SPEEDS = ("epochs", "time (s)", "images/s", "GFLOPs", "share of peak")
RUN_PAGES = "runs/"  # where the book has them
LINK = re.compile(rf"\[([^\]]+)\]\(({RUN_PAGES}[^()]+)\)")
LINK_SIGN = "↗"
NUMBER = re.compile("<td>(?=[^A-Za-z<]+</td>)")  # a cell without words
NOT_YET = "Not run yet."  # in place of a table
NOTHING = "–"  # in the other cells of a row that says `not run`


def page(table: pd.DataFrame, wrap: bool = False) -> HTML:
    """Return a table as a page shows it: escaped, nothing cut off, a line for each part (`;`).

    A cell's `[text](runs/…)` is a link to a run's page. `wrap` lets long texts take several lines.
    In the book, its columns sort by a click. The levels of an index become one column: the first,
    which stays in sight where a table is wider than the screen.
    """
    if table.index.nlevels > 1:
        name = ", ".join(table.index.names).capitalize()
        rows = [", ".join(map(str, levels)) for levels in table.index]
        table = table.set_axis(pd.Index(rows, name=name))
    if not isinstance(table.index, pd.RangeIndex):
        table = table.reset_index(col_level=-1)
    classes = "sortable wrapped" if wrap else "sortable"
    shown = table.map(_page_text).to_html(
        escape=False, border=0, justify="left", index=False, classes=classes
    )
    return HTML(NUMBER.sub('<td class="number">', shown))  # these stay on one line


def _page_text(value: Any) -> str:
    text = "<br>".join(map(html.escape, str(value).split("; ")))
    return LINK.sub(r'<a href="\2.html">\1</a>', text)


def _link(run: Any, text: str) -> str:
    """Return a link to a run's page, as `page` takes it."""
    return f"[{text}]({RUN_PAGES}{run['page']})"


def cell(runs: pd.DataFrame, published_epochs: int | None = None) -> str:
    """Return what a table says of the runs of one configuration: the fullest, or `not run`."""
    runs = fullest(runs)
    if runs.empty:
        return NOT_RUN
    text = interval_text(*accuracy_over_seeds(runs))
    if len(runs) > 1:
        text += f"; mean of {len(runs)} seeds"
    links = [_link(run, LINK_SIGN) for run in runs.to_dict("records")]
    less = extent(runs.iloc[0], published_epochs).split(", ")
    parts = filter(None, [*less, *runs["divergence"].unique()])
    return " ".join([text, *links]) + "".join(f"; {part}" for part in parts)


def q1a(runs: pd.DataFrame) -> pd.DataFrame:
    """Lay out Q1(a) as the reports do, each cell beside what was measured here, in per cent."""
    reports, runs = published("q1a"), main_device_first(runs)
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


def q1b(runs: pd.DataFrame) -> pd.DataFrame:
    """Lay out Q1(b): accuracy in per cent, fitting time in seconds, what the best candidate is."""
    reports = published("q1b")
    rows = []
    for (dataset, kernel), _ in reports.groupby(["dataset", "kernel"], sort=False):
        row: dict[Any, str] = {"Dataset": title(dataset), "Kernel": title(kernel)}
        for report in "AB":
            told = select(reports, dataset=dataset, kernel=kernel, report=report).iloc[0]
            row[f"Report {report}", "accuracy"] = f"{told['accuracy_pct']:.2f}"
            row[f"Report {report}", "fit (s)"] = f"{told['train_time_ms'] / 1000:.1f}"
            row[f"Report {report}", "best"] = _candidate(told)
        here = fullest(select(runs, template="q1b", dataset=dataset, kernel=kernel))
        row["Measured here", "accuracy"] = cell(here)
        run = None if here.empty else here.iloc[0].to_dict()
        row["Measured here", "fit (s)"] = _time_text(run) if run else NOTHING
        row["Measured here", "best"] = _candidate(run, "best_") if run else NOTHING
        rows.append(row)
    return _two_level(rows, ["Dataset", "Kernel"])


def _candidate(row: Any, prefix: str = "") -> str:
    """Return `C 10; degree 3; gamma scale`: what is stated of an SVM's candidate."""
    values = {name: row.get(prefix + name) for name in ("C", "degree", "gamma")}
    return "; ".join(f"{name} {_value(value)}" for name, value in values.items() if pd.notna(value))


def q2(runs: pd.DataFrame) -> pd.DataFrame:
    """Lay out Q2: accuracy (per cent), training time (s) and multiply-adds (G) of every row."""
    rows: list[dict[Any, str]] = []
    for told in published("q2").to_dict("records"):
        size = 28 if told["report"] == "A" else 224
        wanted = {"device": told["device"], "model": told["model"], "input_size": size}
        wanted |= {"in_channels": 1 if size == 28 else 3} | PROTOCOL
        if told["report"] == "A":
            wanted |= {name: told[name] for name in ("batch_size", "optimizer", "lr")}
        here = fullest(select(runs, template="q2", dataset="fashion_mnist", **wanted))
        needs = ": needs a GPU" if told["device"] == "cuda" else ""
        rows.append(
            {
                "Report": told["report"],
                "Device": title(told["device"]),
                "Model": title(told["model"]),
                "Optimizer": NOT_STATED if pd.isna(told["optimizer"]) else title(told["optimizer"]),
                "Image": f"{size}x{size}",
                ("Published", "accuracy"): f"{told['accuracy_pct']:.2f}",
                ("Published", "time (s)"): f"{told['train_time_ms'] / 1000:,.0f}",
                ("Published", "GFLOPs"): f"{told['gflops']:g}",
                ("Measured here", "accuracy"): cell(here) if len(here) else NOT_RUN + needs,
                **_measured_speed(here),
            }
        )
    return _two_level(rows, ["Report", "Device", "Model", "Optimizer", "Image"])


def _measured_speed(here: pd.DataFrame) -> dict[tuple[str, str], str]:
    if here.empty:
        texts = dict.fromkeys(SPEEDS, NOTHING)
    else:
        run = here.iloc[0].to_dict()
        values = (
            f"{run['epochs_done']:.0f}",
            _timed(run, f"{run['train_seconds']:,.0f}"),
            _timed(run, f"{run['images_per_second']:,.0f}"),
            f"{run['flops'] / 1e9:.3f}",
            _timed(run, f"{share:.1%}") if pd.notna(share := run.get("peak_share")) else NOTHING,
        )
        texts = dict(zip(SPEEDS, values, strict=True))
    return {("Measured here", column): text for column, text in texts.items()}


def _two_level(rows: list[dict], index: list[str]) -> pd.DataFrame:
    table = pd.DataFrame(rows).set_index(index)
    table.columns = pd.MultiIndex.from_tuples(table.columns)
    return table


def overview(runs: pd.DataFrame, template: str | None = None) -> HTML:
    """Return one row a run: what was run, on how much, accuracy, time, and the run's page."""
    columns = [
        "Run", "Suite", "Training images", "Accuracy (%)", "Training (s)", "Other settings",
        "Device",
    ]  # fmt: skip
    rows = []
    for run in (select(runs, template=template) if template else runs).to_dict("records"):
        values = [
            _link(run, run["title"]),
            run["suite"],
            f"{run['train_images']:,.0f}",
            accuracy_text(run),
            _time_text(run),
            ", ".join(filter(None, [otherwise(run), run["divergence"]])),
            run["device_name"],
        ]
        rows.append(dict(zip(columns, values, strict=True)))
    return page(pd.DataFrame(rows or [dict.fromkeys(columns, NOT_RUN)]), wrap=True)


def otherwise(run: dict[str, Any], besides: Sequence[str] = ()) -> str:
    """Name the parameters, unlike their defaults, that a run's title leaves out, and `besides`.

    Of a search it says how many candidates it had.
    """
    if (run.get("candidates") or 1) > 1:
        return f"{run['candidates']:.0f} candidates"
    titled = ("dataset", "model", "optimizer", "lr", "batch_size", "kernel")
    elsewhere = ("train_size", "device")  # the columns of tables have what came of them
    return ", ".join(
        f"{name} {_value(value)}"
        for name, value in non_default_settings(run["template"], run).items()
        if name not in (*titled, *elsewhere, *besides)
    )


def _value(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(_value, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def one_change(runs: pd.DataFrame) -> pd.DataFrame:
    """Return, side by side, the runs of Q1(a) on one machine that differ in one of `CHANGES` alone.

    With each goes the precision that it computed in, which follows from several parameters.
    """
    here = select(runs, template="q1a").fillna({"amp_dtype": NOT_STATED})
    columns = ["Configuration", "Changed", "Precision", "Accuracy (%)", "Images/s"]
    names = [name for name in (*Q1a.model_fields, *MACHINE) if name in here]
    rows = []
    for name in CHANGES if len(here) else ():
        others = [other for other in names if other != name]
        for _, alike in here.groupby(others, dropna=False, sort=False):
            values = alike.drop_duplicates(name).sort_values(name)
            for run in values.to_dict("records") if len(values) > 1 else ():
                rows.append([
                    f"{run['title']}, epochs {run['epochs']:.0f}",
                    f"{name}; {_value(run[name])}",
                    run.get("amp_dtype", NOT_STATED),
                    cell(pd.DataFrame([run])),
                    _timed(run, f"{run['images_per_second']:,.0f}"),
                ])  # fmt: skip
    return pd.DataFrame(rows or [[NOT_RUN] * len(columns)], columns=columns)


def _time_text(run: dict[str, Any]) -> str:
    """Return the training time of a run."""
    return _timed(run, f"{run['seconds']:,.1f}")


def _timed(run: dict[str, Any], text: str) -> str:
    """Return what is said of a run's time: in brackets where other work took the processor."""
    return text if run["alone"] else f"({text})"


def q1a_long(runs: pd.DataFrame) -> pd.DataFrame:
    """Return Q1(a) as one row an accuracy: dataset, model, configuration, source, low, high."""
    rows, runs = [], main_device_first(runs)
    for told in published("q1a").to_dict("records"):
        rows.append(_point(told, f"report {told['report']}", told["accuracy_pct"]))
        here = fullest(trained(runs, **{name: told[name] for name in ("model", *Q1A_KEYS)}))
        if told["report"] == "A" and not here.empty:
            less = extent(here.iloc[0], PUBLISHED_EPOCHS[told["dataset"]])
            source = MEASURED_ON_LESS if less else MEASURED
            rows.append(_point(told, source, *accuracy_over_seeds(here)))
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
    """Return run, device, training images per second and share of the device's peak.

    It has the runs of Q2 that had no company. Their texts say in what they differ from the usual
    and, where there are several devices of a kind, on which of them they ran.
    """
    here = alone(select(runs, template="q2"))
    if here.empty:
        return pd.DataFrame(columns=["run", "device", "images_per_second", "peak_share"])
    machines = here.assign(machine=list(map(device_text, here.to_dict("records"))))
    several = machines.groupby("device")["machine"].nunique() > 1
    rows = []
    for run in machines.to_dict("records"):
        size = f"{run['input_size']:.0f}x{run['input_size']:.0f}"
        where = run["machine"] if several[run["device"]] else title(run["device"])
        other = otherwise(run, besides=("input_size", "in_channels"))
        parts = run["title"], size, where, other, extent(run), run["divergence"]
        rows.append(
            {
                "run": ", ".join(filter(None, parts)),
                "device": title(run["device"]),
                "images_per_second": run["images_per_second"],
                "peak_share": run.get("peak_share"),
            }
        )
    return pd.DataFrame(rows)

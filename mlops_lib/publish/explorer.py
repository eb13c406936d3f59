"""The explorer of all results: an Altair chart with menus, drawn in the reader's browser by Vega.

`chart` is what a page shows. Without JavaScript it is a static picture of the same results. Nothing
is loaded from elsewhere: the extension writes Vega into the book.
"""

from __future__ import annotations

import json
from typing import Any

import altair as alt
import pandas as pd
import vl_convert
from IPython.display import HTML

SOURCES = {  # how each is drawn: colours that are told apart by most, on light pages and dark ones
    "Report A": ("#0173b2", "circle"),
    "Report B": ("#de8f05", "diamond"),
    "Our runs, GPU": ("#029e73", "square"),
    "Our runs, CPU": ("#cc78bc", "triangle-up"),
}
BELOW = 3.0  # points below our worst full run of a dataset and network, where the axis begins
ALL = "all settings"
ROW = alt.Step(13, **{"for": "offset"})  # pixels, for each source of a setting
STATIC = {"background": "white", "axis": {"labelLimit": 200}}


def chart(results: pd.DataFrame) -> HTML:
    """Return the explorer of `all_runs.results`, for a page of the book."""
    shown = _shown(results)
    spec = json.dumps(_interactive(shown).to_dict()).replace("<", "\\u003c")
    picture = vl_convert.vegalite_to_svg(_static(shown).to_dict())
    return HTML(
        f'<div class="explorer"><script type="application/json">{spec}</script></div>'
        f"<noscript>{picture}</noscript>"
    )


def _shown(results: pd.DataFrame) -> pd.DataFrame:
    """Return what is drawn: outliers at the edge of their axis, each with its value as a label."""
    ours = results[results["page"].notna() & results["in_full"]]
    lowest = (ours.groupby(["dataset", "network"])["accuracy_pct"].min() - BELOW).rename("lowest")
    shown = results.join(lowest, on=["dataset", "network"])
    edge = shown["lowest"].fillna(shown["accuracy_pct"])
    outside = shown["accuracy_pct"] < edge
    page = shown["page"].map("runs/{}.html".format, na_action="ignore")
    return shown.drop(columns=["lowest", "page", "question", "device"]).assign(
        x=shown["accuracy_pct"].clip(lower=edge),
        low=shown["low"].clip(lower=edge),
        high=shown["high"].clip(lower=edge),
        label=shown["accuracy_pct"].map("◂ {:.2f} %".format).where(outside, ""),
        url=page,
        run=shown["run"].astype(object).fillna(shown["source"]),
    )


def _marks(data: pd.DataFrame | None = None) -> Any:
    """Return intervals, results and the labels of outliers, a line for each source."""
    colours, shapes = zip(*SOURCES.values(), strict=True)
    base = alt.Chart(data if data is not None else alt.Undefined).encode(
        y=alt.Y("setting:N", title=None),
        yOffset=alt.YOffset("source:N", scale=alt.Scale(domain=list(SOURCES))),
        color=alt.Color(
            "source:N",
            title=None,
            legend=alt.Legend(symbolOpacity=1),
            scale=alt.Scale(domain=list(SOURCES), range=list(colours)),
        ),
    )
    x = alt.X(
        "x:Q", title="test accuracy (%)", scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=6)
    )
    interval = {"x": alt.X("low:Q", scale=alt.Scale(zero=False)), "x2": "high:Q"}
    intervals = (
        base.mark_rule(opacity=0.5, aria=False)
        .transform_filter("isValid(datum.low)")
        .encode(**interval)
    )
    points = base.mark_point(filled=True, size=70, opacity=0.9).encode(
        x=x,
        shape=alt.Shape("source:N", scale=alt.Scale(domain=list(SOURCES), range=list(shapes))),
        href="url:N",
        tooltip=[
            alt.Tooltip("run:N", title="Result"),
            alt.Tooltip("source:N", title="Source"),
            alt.Tooltip("accuracy_pct:Q", title="Accuracy (%)", format=".2f"),
            alt.Tooltip("seconds:Q", title="Training (s)", format=",.0f"),
        ],
    )
    labels = base.mark_text(align="left", dx=8, aria=False).encode(x=x, text="label:N")
    return alt.layer(intervals, points, labels)


def _menu(name: str, label: str, options: list[str]) -> alt.Parameter:
    return alt.param(name, value=options[0], bind=alt.binding_select(options=options, name=label))


def _interactive(shown: pd.DataFrame) -> Any:
    """Return the chart whose menus choose dataset, network and setting."""
    networks = list(pd.unique(shown["network"]))
    settings = [ALL, *pd.unique(shown["setting"])]
    short = alt.binding_checkbox(name="Also runs on fewer images or epochs")
    chosen = (
        "datum.dataset == dataset && datum.network == network"
        f" && (setting == '{ALL}' || datum.setting == setting) && (short || datum.in_full)"
    )
    parameters = [
        _menu("dataset", "Dataset", list(pd.unique(shown["dataset"]))),
        _menu("network", "Network", networks),
        _menu("setting", "Setting", settings),
        alt.param("short", value=False, bind=short),
    ]
    about = "Test accuracy of each result by setting, for the chosen dataset and network"
    return (
        _marks(shown)
        .transform_filter(chosen)
        .add_params(*parameters)
        .properties(width="container", height=ROW, description=about)
        .configure_legend(orient="top", columns=2)
    )


def _static(shown: pd.DataFrame) -> alt.FacetChart:
    """Return all full results at once, a panel for each dataset and network."""
    marks = _marks().properties(width=260, height=ROW)
    panels = marks.facet(
        data=shown[shown["in_full"]], align="each",
        row=alt.Row("network:N", title=None), column=alt.Column("dataset:N", title=None),
    )  # fmt: skip
    return panels.resolve_scale(x="independent", y="independent").configure(**STATIC)

"""The page "Why the reports disagree": its figure and tables."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns

from mlops_lib import tables
from mlops_lib.plots import Picture, picture, styled
from mlops_lib.study import recovery
from mlops_lib.study.protocol import SOURCES
from mlops_lib.study.recovery import FIGURE, SVM_PROTOCOL
from mlops_lib.study.table_cells import NOTHING, link
from mlops_lib.study.verdict_file import VerdictFile
from mlops_lib.study.words import signed, signed_range

MAX_CANDIDATES = 2  # of a report, in a table
SCALINGS = {
    "unit": "pixels 0 to 1",
    "standard": "standardised pixels",
    "normalised": "one mean and spread",
}
BEHIND_TEXT = {"facecolor": "white", "edgecolor": "none", "pad": 1}
SPLITS = {
    ("published", "first"): "published in order",
    ("published", "stratified"): "published",
    ("pooled", "stratified"): "pooled",
    ("pooled", "first"): "pooled in order",
}


def protocol_text(row: Any) -> str:
    """Return a candidate protocol in words; `row` has the values of `recovery.SVM_PROTOCOL`."""
    images = f"{row['train_images']:,.0f}/{row['test_images']:,.0f}"
    split = SPLITS[row["split"], row["subset"]]
    return f"{SCALINGS[row['scaling']]}, {split} {images}, degree {row['degree']:.0f}"


def candidates(runs: pd.DataFrame, report: str) -> pd.DataFrame:
    """Return the candidates for a report's SVMs that were run for most of its figures.

    A row for each of the best `MAX_CANDIDATES`, the best first: in words, and links to its runs.
    """
    figures = recovery.svm_figures(runs)
    figures = figures[figures["report"] == report]
    ranking = recovery.svm_ranking(runs)
    ranking = ranking[ranking.index.get_level_values("report") == report].reset_index()
    rows = []
    most = ranking[ranking["figures"] == ranking["figures"].max()]
    for row in most.head(MAX_CANDIDATES).to_dict("records"):
        alike = figures[(figures[SVM_PROTOCOL] == pd.Series(row)[SVM_PROTOCOL]).all(axis=1)]
        cells = {"Candidate": protocol_text(row), "Exact": f"{row['exact']} of {row['figures']}"}
        cells["Distance (points)"] = f"{row['distance']:.2f}"
        for run in alike.sort_values(FIGURE, ascending=False).to_dict("records"):
            name = f"{tables.title(run['dataset'])}, {tables.title(run['kernel'])}"
            cells[name] = link(run, f"{run['ours']:.2f}") + f"; ({run['printed']:.2f})"
        rows.append(cells)
    return pd.DataFrame(rows)


def kernels(runs: pd.DataFrame) -> pd.DataFrame:
    """Return by how many points the polynomial kernel is ahead of RBF under each protocol.

    Those of degree 3, scikit-learn's default, and of all test images.
    """
    gains = recovery.kernels(runs)
    if gains.empty:
        return pd.DataFrame()
    gains = gains.query("degree == 3 and test_images >= 10_000")
    rows = [
        {"Protocol": protocol_text(row)}
        | {
            f"{tables.title(name)} (points)": "" if pd.isna(row[name]) else signed(row[name])
            for name in gains
        }
        for row in gains.reset_index().to_dict("records")
    ]
    return pd.DataFrame(rows)


def by_both_protocols(verdicts: VerdictFile) -> pd.DataFrame:
    """Return the claims on SVMs, judged with SVMs by our protocol and by that of their report."""
    rows = []
    for claim in verdicts.claims:
        if again := claim.by_recovered_protocol:
            ours = claim.sources[SOURCES[2]]
            same = (part for part in ours.parts if part.what == again.what)
            rows.append(
                {
                    "Claim": f"{claim.id}: {claim.short}{' (its SVM)' if ours.parts else ''}",
                    "By our protocol": next(same, ours).verdict,
                    "By the report's": again.verdict,
                    "Evidence by the report's": again.sentence,
                }
            )
    return pd.DataFrame(rows)


def sizes(runs: pd.DataFrame) -> pd.DataFrame:
    """Lay out `recovery.by_image_size`."""
    found = recovery.by_image_size(runs).reset_index()
    return pd.DataFrame(
        {
            "Images": [
                f"{row.in_channels:.0f}×{row.input_size:.0f}×{row.input_size:.0f}"
                for row in found.itertuples()
            ],
            "Trainings": found["n"],
            "Test accuracy": found["mean"].map("{:.2f}".format),
            "Standard deviation": found["std"].map("{:.2f}".format).replace("nan", NOTHING),
            "Gain (points)": found["gain"].map(signed, na_action="ignore").fillna(NOTHING),
        }
    )


def sgd(gains: pd.DataFrame) -> pd.DataFrame:
    """Lay out `recovery.sgd_by_rate`: in how many pairs SGD does better at 1e-4 than at 1e-3."""
    rows = [
        {
            "Source": source[0].upper() + source[1:],
            "1e-4 ahead": f"{(some > 0).sum()} of {len(some)}",
            "Its gain (points)": signed_range(some),
        }
        for source, some in gains.groupby("source", sort=False)["gain"]
    ]
    return pd.DataFrame(rows)


def comparable(figures: pd.DataFrame) -> pd.DataFrame:
    """Return the figures of the candidates that were run for more than half of a report's four."""
    if figures.empty:
        return figures
    counts = figures.groupby(["report", *SVM_PROTOCOL])["difference"].transform("size")
    return figures[counts > 2]


@styled()
def figure(shown: pd.DataFrame) -> Picture:
    """Show how far each candidate protocol is from the printed accuracies of each report.

    `shown` are some figures of `recovery.svm_figures`.
    """
    distance = (
        shown["difference"].abs().groupby([shown[name] for name in ("report", *SVM_PROTOCOL)])
    )
    shown = shown.assign(
        candidate=list(map(protocol_text, shown.to_dict("records"))),
        figure=[
            f"{tables.title(row.dataset)}, {tables.title(row.kernel)}" for row in shown.itertuples()
        ],
        mean=distance.transform("mean"),
    ).sort_values("mean", kind="stable")
    parts = dict(list(shown.groupby("report")))
    rows = [part["candidate"].nunique() for part in parts.values()]
    drawn, axes = plt.subplots(
        len(parts), squeeze=False, figsize=(5.2, 1.2 + 0.5 * sum(rows)), height_ratios=rows,
        sharex=True, layout="constrained",
    )  # fmt: skip
    order = sorted(set(shown["figure"]))
    for number, (report, axis) in enumerate(zip(parts, axes.flat, strict=True)):
        sns.scatterplot(
            parts[report], x="difference", y="candidate", hue="figure", style="figure", s=70,
            hue_order=order, style_order=order, legend=not number, ax=axis,
        )  # fmt: skip
        for row, name in enumerate(parts[report]["candidate"].unique()):  # above its marks
            axis.text(
                0.01, row - 0.3, name, transform=axis.get_yaxis_transform(), va="center",
                fontsize=9.5, in_layout=False, zorder=1, bbox=BEHIND_TEXT,
            )  # fmt: skip
        axis.axvline(0, color=".3", linewidth=2.5, zorder=0)
        axis.set(title=f"Report {report}", ylabel="", yticks=[], ylim=(rows[number] - 0.5, -0.6))
        axis.set_xlabel("accuracy here minus printed accuracy (points)")
    drawn.legend(*axes.flat[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    axes.flat[0].get_legend().remove()
    drawn.draw_without_rendering()  # lays it out: its box is measured before it is drawn
    drawn.set_layout_engine("none")
    exact = shown[shown["exact"]].groupby("report").size()
    told = ", ".join(f"{count} exact for report {report}" for report, count in exact.items())
    return picture(drawn, f"Distance of candidates from printed figures: {told or 'none exact'}")

"""The page of the findings: the verdicts in words, what they rest on, what else was changed."""

from __future__ import annotations

import itertools

import pandas as pd
from IPython.display import Markdown

from mlops_lib import tables
from mlops_lib.params import Q1a
from mlops_lib.study import claims, selection, sources
from mlops_lib.study.checks import FAILS, HOLDS, MIXED, UNKNOWN
from mlops_lib.study.protocol import MACHINE, NOT_RUN, NOT_STATED
from mlops_lib.study.selection import select
from mlops_lib.study.table_cells import accuracy_cell, timed_text

VERBS = {  # of one claim, of several
    HOLDS: ("holds", "hold"),
    MIXED: ("is mixed", "are mixed"),
    FAILS: ("does not hold", "do not hold"),
}
CHANGES = ("input_size", "amp", "input_pipeline", "pin_memory")  # one at a time, by `ablations`


def headline(judged: pd.DataFrame) -> str:
    """Return how many published claims hold, in our runs and in the tables of their reports."""
    ours, own = claims.by_runs_and_own_tables(judged)

    def counts(rows: pd.DataFrame) -> str:
        parts = []
        for verdict in (HOLDS, MIXED, FAILS):
            ids = rows[rows["verdict"] == verdict]["id"].tolist()
            if ids:
                parts.append(f"{len(ids)} {VERBS[verdict][len(ids) > 1]} ({', '.join(ids)})")
        return ", ".join(parts) or "none"

    total, measured = len(ours), (ours["verdict"] != UNKNOWN).sum()
    which = "all" if measured == total else f"{measured} so far"
    return (
        f"Of {total} published claims, our runs can judge {which}: "
        f"{counts(ours)}. By the tables of the report that makes them, {counts(own)}; the others "
        "are about something that those tables do not show."
    )


def verdicts(judged: pd.DataFrame) -> Markdown:
    """Return the headline as a page shows it."""
    return Markdown(headline(judged))


def evidence(judged: pd.DataFrame) -> Markdown:
    """Return what every source says of every claim, as a page shows it."""
    lines = []
    for (name, text), rows in judged.groupby(["id", "claim"], sort=False):
        lines.append(f"\n**{name}. {text}**\n")
        for row in rows.itertuples():
            p = ", ".join(f"{value:.3g}" for value in row.p_holm)
            adjusted = f"; adjusted p = {p}" if p else ""
            lines.append(f"- {row.source}: *{row.verdict}*. {row.says}{adjusted}.")
    return Markdown("\n".join(lines))


def by_repetition_in_brief(table: pd.DataFrame) -> Markdown:
    """Return how many verdicts of `by_repetition` are the same each time, and which are not."""
    names = list(table.columns[1:])
    if len(names) < 2:
        return Markdown("All of Q1(a) has not been run twice yet (`mlops run seeds`).")
    unlike = claims.changing(table)
    listed = "; ".join(f"{name} {' / '.join(row[names])}" for name, row in unlike.iterrows())
    others = f" The others, in this order: {listed}." if listed else ""
    return Markdown(
        f"All of Q1(a) was run {len(names)} times ({' / '.join(names)}). By each of these alone, "
        f"{len(table) - len(unlike)} of {len(table)} claims about its accuracies get the same "
        f"verdict every time.{others}"
    )


def basis(runs: pd.DataFrame) -> Markdown:
    """Return which trainings of Q1(a) verdicts on accuracies rest on, and which those on times."""
    source = sources.ours(runs)
    complete, timed = selection.complete(source.q1a), selection.complete(source.timed)
    if complete.empty:
        return Markdown("No configuration of Q1(a) has been trained in full yet.")
    *others, last = map(str, sorted(complete["by_seed"].iloc[0]))
    shown = f"seeds {', '.join(others)} and {last}" if others else f"seed {last}"
    text = f"Verdicts on the accuracy of ResNets rest on {_trained(complete)}, with {shown}"
    timed = timed[timed["train_seconds"].notna()]
    if timed.empty:
        return Markdown(f"{text}. No training in full has a time that can be compared.")
    return Markdown(f"{text}; verdicts on their training time on {_trained(timed)}.")


def _trained(complete: pd.DataFrame) -> str:
    """Return how many configurations were trained, where and in which precision."""
    published = len(sources.report("A").q1a)
    on = ", ".join(dict.fromkeys(itertools.chain.from_iterable(complete["device_names"])))
    known = dict.fromkeys(complete["amp_dtype"].dropna()) if "amp_dtype" in complete else {}
    precision = f" (in {', '.join(known)})" if known else ""
    return f"{len(complete)} of {published} configurations on {on}{precision}"


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
                    f"{name}; {tables.value_text(run[name])}",
                    run.get("amp_dtype", NOT_STATED),
                    accuracy_cell(pd.DataFrame([run])),
                    timed_text(run, f"{run['images_per_second']:,.0f}"),
                ])  # fmt: skip
    return pd.DataFrame(rows or [[NOT_RUN] * len(columns)], columns=columns)

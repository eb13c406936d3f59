"""The verdict board: a row a claim, for the book, the README and the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from IPython.display import HTML
from jinja2 import Environment, PackageLoader, StrictUndefined

from mlops_lib.messages import nearest, shorten
from mlops_lib.params import UserError
from mlops_lib.study.protocol import SOURCES
from mlops_lib.study.sentences import decided
from mlops_lib.study.table_cells import RUN_PAGES
from mlops_lib.study.verdict_file import Finding, JudgedClaim, VerdictFile
from mlops_lib.study.verdicts import JUDGED, MEANINGS, Verdict
from mlops_lib.study.words import listed

SYMBOLS: dict[Verdict, str] = {
    "holds": "✔",
    "contradicted": "✘",
    "does not hold": "✗",
    "depends": "◐",
    "undecided": "?",
    "by construction": "=",
    "not transferable": "⇄",
    "not shown": "–",
    "not run": "–",
}
OURS = SOURCES[2]
PAGE = "claims.html"  # that has the cards
CHANGES: dict[Verdict, str] = {
    "holds": "Repetitions whose mean difference is no longer significantly on the claimed side.",
    "contradicted": "Repetitions whose mean difference is no longer significantly on that side.",
    "does not hold": "Repetitions in which no pair is significantly against it.",
    "depends": "Repetitions in which both subgroups say the same.",
    "undecided": "More repetitions.",
    "by construction": "Nothing that a run could show.",
    "not transferable": "Nothing: it is about the machines of the report.",
    "not shown": "A table of what the claim is about.",
    "not run": "The missing runs: `mlops run full`.",
}


def html(file: VerdictFile, sentences: bool = False) -> HTML:
    """Return the board; each claim leads to its card. With `sentences` each has its evidence."""
    return HTML(_render("board.html", claims=file.claims, page=PAGE, sentences=sentences))


def cards(file: VerdictFile) -> HTML:
    """Return a folded card for each claim: what each source says, and what it rests on."""
    return HTML(_render("cards.html", claims=file.claims))


def text(file: VerdictFile, ids: Sequence[str] = ()) -> str:
    """Return a line for each claim as a terminal shows it, or the evidence of those named.

    Raises UserError for an id that is not there.
    """
    if not ids:
        return _render("claims.txt", claims=file.claims)
    named = {claim.id: claim for claim in file.claims}
    for name in ids:
        if name.upper() not in named:
            raise UserError(
                f"id={shorten(name)} is not allowed: use one of {', '.join(named)}"
                f"{nearest(name, list(named))}"
            )
    return _render("claim.txt", claims=[named[name.upper()] for name in ids])


def markdown(file: VerdictFile) -> str:
    """Return the board as a Markdown table of words and symbols."""
    return _render("board.md", claims=file.claims)


def counts(file: VerdictFile, own_tables: bool = False) -> dict[Verdict, list[str]]:
    """Return the ids of the claims by verdict, of our runs or of each claim's own report."""
    found: dict[Verdict, list[str]] = {word: [] for word in MEANINGS}
    for claim in file.claims:
        source = f"Report {claim.report}" if own_tables else OURS
        found[claim.sources[source].verdict].append(claim.id)
    return found


def _render(template: str, **values: Any) -> str:
    environment = Environment(
        loader=PackageLoader("mlops_lib.publish"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "badge": _badge,
        "mark": _mark,
        "plain": _plain,
        "steady": _steady,
        "steady_sentence": _steady_sentence,
        "change": _change,
        "lines": _lines,
    }
    return environment.get_template(template).render(ours=OURS, runs=RUN_PAGES, **values).strip()


def _badge(found: Finding, own: bool = False) -> str:
    word = found.verdict
    kind = word.replace(" ", "-")
    symbol, mark = SYMBOLS[word], " own" if own else ""
    return f'<span class="verdict {kind}{mark}" data-symbol="{symbol}">{word}</span>'


def _mark(found: Finding) -> str:
    return f"{SYMBOLS[found.verdict]} {found.verdict}"


def _plain(claim: JudgedClaim) -> str:
    return decided(claim.sources[OURS]).sentence


def _steady(claim: JudgedClaim) -> str:
    again = claim.repetitions
    return f"{again.same}/{again.of}" if again else ""


def _steady_sentence(claim: JudgedClaim) -> str:
    again = claim.repetitions
    if not again:
        return "It rests on more than the repeated trainings, or on none of them."
    return (
        f"In {again.same} of {again.of} repetitions of all trainings, the average difference has "
        "the same sign."
    )


def _span(lines: list[int]) -> str:
    """Return `2 to 33`, or `3 and 5` where others lie between."""
    low, high = min(lines), max(lines)
    return f"{low} to {high}" if high - low + 1 == len(lines) else listed(sorted(lines))


def _change(claim: JudgedClaim) -> str:
    """Return what would change our verdict; an SVM's fit repeats exactly."""
    ours = claim.sources[OURS]
    if ours.check == "rbf_over_poly" and ours.verdict in JUDGED:
        return "Other test images, or another protocol for the SVMs."
    return CHANGES[ours.verdict]


def _lines(rows: list[str]) -> str:
    """Return lines of tables as text: `32 lines of q1a.csv (2 to 33)`."""
    tables: dict[str, list[int]] = {}
    for table, line in (row.split(":") for row in rows):
        tables.setdefault(table, []).append(int(line))
    parts = [
        f"{len(lines)} lines of {table} ({_span(lines)})"
        if len(lines) > 1
        else f"line {lines[0]} of {table}"
        for table, lines in tables.items()
    ]
    return " and ".join(parts)

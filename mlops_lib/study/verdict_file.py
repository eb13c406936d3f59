"""Verdicts as a file: written by `mlops claims --json`, held against others by `--check`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mlops_lib import tables
from mlops_lib.messages import first_problem, shorten
from mlops_lib.params import UserError
from mlops_lib.study import claims, recovery, sentences, sources, stability
from mlops_lib.study.once import once
from mlops_lib.study.verdicts import Evidence, Verdict, scaled_effect

DIGITS = 6  # of the numbers: beyond, machines may round differently


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class Subgroup(_Form):
    """The mean effect among the pairs with one value of a setting."""

    setting: str
    value: str | float
    effect: float
    sign: int = Field(ge=-1, le=1)


class Finding(_Form):
    """What a source says of a claim or of a part of it."""

    verdict: Verdict
    """The word; the book's page of rules explains it."""
    sentence: str
    """The evidence in words."""
    check: str
    """The check of `claims.yaml`; `all_parts` where there are several."""
    what: str = ""
    """What is compared."""
    unit: str = ""
    """Of effect, low and high: points, or times (a ratio)."""
    effect: float | None = None
    """The mean difference over pairs, above 0 (times: above 1) on the claimed side."""
    low: float | None = None
    """Where its 95 % interval begins."""
    high: float | None = None
    """Where its 95 % interval ends."""
    p: float | None = None
    """Of the mean difference, two-sided."""
    pairs: int | None = None
    """How many pairs were compared."""
    ahead: int | None = None
    """In how many the claimed side is ahead."""
    behind: int | None = None
    """In how many it is behind."""
    significantly_ahead: int | None = None
    """In how many it is significantly ahead (5 %, Holm)."""
    significantly_behind: int | None = None
    """In how many it is significantly behind (5 %, Holm)."""
    trainings: int | None = None
    """The fewest trainings behind a compared value."""
    depends_on: list[Subgroup] = []
    """Subgroups whose effects differ significantly, two of each setting."""
    further_seeds: int | None = None
    """How many more seeds would settle what is undecided, with 80 % power."""
    values: dict[str, Any] = {}
    """What checks without pairs found."""
    rows: list[str] = []
    """What it rests on: pages of runs, or lines of published tables."""
    parts: list[Finding] = []
    """The parts of a claim of several."""


class Repetitions(_Form):
    """In how many repetitions of Q1(a) the mean difference has the same sign."""

    same: int
    of: int


class JudgedClaim(_Form):
    """A claim and what each source says of it."""

    id: str
    report: str = Field(pattern="^[A-Z]$")
    short: str
    text: str
    kind: Literal["learning", "hardware", "construction"]
    sources: dict[str, Finding]
    repetitions: Repetitions | None = None
    by_recovered_protocol: Finding | None = None
    """What our runs say of its parts on SVMs, with SVMs as in the report that makes the claim."""


class VerdictFile(_Form):
    """All claims, and the keys of the records that they rest on, by page."""

    schema_version: Literal[1] = 1
    claims: list[JudgedClaim]
    records: dict[str, str] = {}


def of_records() -> VerdictFile:
    """Return the verdicts on all claims by the recorded runs, as in `of_runs`."""
    return of_runs(tables.all_runs(), tables.all_runs(variants=True))


@once
def of_runs(runs: pd.DataFrame, variants: pd.DataFrame | None = None) -> VerdictFile:
    """Return the verdicts on all claims, from the reports' tables and from these runs.

    `variants` also have those by other protocols (`tables.all_runs`), among which are the reports'.
    """
    judged, ours, spread = claims.judge(runs), sources.ours(runs), claims.spreads(runs)
    variants = runs if variants is None else variants
    steady = stability.by_repetition(stability.multiverse(runs))
    found = [
        JudgedClaim(
            id=claim.id,
            report=claim.report[-1],
            short=claim.short,
            text=claim.text,
            kind=claim.kind,
            sources={row.source: _finding(row.evidence) for row in rows.itertuples()},
            repetitions=Repetitions(**steady.loc[claim.id]) if claim.id in steady.index else None,
            by_recovered_protocol=_finding(again) if again else None,
        )
        for claim in claims.claims()
        for rows in [judged[judged["id"] == claim.id]]
        for again in [recovery.evidence(claim, ours, variants, spread)]
    ]
    rests_on = {
        row for claim in found for finding in claim.sources.values() for row in finding.rows
    }
    keys = dict(zip(runs["page"], runs["key"], strict=True)) if len(runs) else {}
    return VerdictFile(
        claims=found, records={page: keys[page] for page in sorted(rests_on & keys.keys())}
    )


def _finding(evidence: Evidence) -> Finding:
    found = Finding(
        verdict=evidence.verdict,
        sentence=sentences.sentence(evidence),
        check=evidence.check,
        what=evidence.what,
        further_seeds=evidence.further_seeds,
        values=evidence.values,
        rows=list(evidence.rows),
        parts=[_finding(part) for part in evidence.parts],
    )
    scaled, effect = scaled_effect(evidence), evidence.effect
    if effect is None or scaled is None:
        return found
    mean, low, high = map(_rounded, scaled)
    return found.model_copy(
        update={
            "unit": evidence.unit,
            "effect": mean,
            "low": low,
            "high": high,
            "p": _rounded(float(f"{effect.p:.3g}"), None),
            "pairs": effect.n,
            "ahead": effect.wins,
            "behind": effect.losses,
            "significantly_ahead": effect.significant_wins,
            "significantly_behind": effect.significant_losses,
            "trainings": effect.trainings,
            "depends_on": [
                Subgroup(
                    setting=of.factor, value=of.level, effect=round(of.mean, DIGITS), sign=of.sign
                )
                for of in effect.depends_on
            ],
        }
    )


def _rounded(value: float, digits: int | None = DIGITS) -> float | None:
    """Return a number as the file holds it: what is not known is null."""
    if math.isnan(value):
        return None
    return value if digits is None else round(value, digits)


def read(path: Path) -> VerdictFile:
    """Return the verdicts of a file; raises UserError, which names it and what is wrong."""
    try:
        return VerdictFile.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise UserError(f"{path} holds no verdicts: {first_problem(error)}") from None
    except UnicodeError as error:
        raise UserError(f"{path} holds no verdicts: {shorten(str(error))}") from None


def changes(old: VerdictFile, new: VerdictFile) -> list[str]:
    """Return a line for each claim and source whose verdict or measured values differ.

    An interval alone is no difference: the noise behind it is pooled over all runs.
    """
    before, after = ({claim.id: claim for claim in file.claims} for file in (old, new))
    lines = [f"{name}: no longer there" for name in before.keys() - after.keys()]
    for name, claim in after.items():
        if name not in before:
            lines.append(f"{name}: new")
            continue
        for source, now in claim.sources.items():
            then = before[name].sources.get(source)
            if then and then.verdict != now.verdict:
                lines.append(f"{name}, {source}: {then.verdict} → {now.verdict} ({now.sentence})")
            elif then and _measured(then) != _measured(now):
                lines.append(f"{name}, {source}: still {now.verdict}, now {now.sentence}")
    return lines


def _measured(found: Finding) -> tuple[Any, ...]:
    return found.effect, found.values, found.rows, *map(_measured, found.parts)

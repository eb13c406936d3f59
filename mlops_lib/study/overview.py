"""The book's first page: the facts that its sentences state."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pandas as pd

from mlops_lib.study import noise, settings
from mlops_lib.study.protocol import SOURCES
from mlops_lib.study.verdict_file import Finding, VerdictFile
from mlops_lib.study.verdicts import Verdict
from mlops_lib.study.words import signed

GROUPS: dict[str, tuple[Verdict, ...]] = {
    "hold": ("holds",),
    "fail": ("contradicted", "does not hold"),
    "depend": ("depends",),
    "open": ("undecided",),
    "waiting": ("not run",),
}


def facts(runs: pd.DataFrame, verdicts: VerdictFile) -> dict[str, Any]:
    """Return what the overview states: nothing without runs, no finding without its evidence."""
    if runs.empty:
        return {}
    ours = {claim.id: claim.sources[SOURCES[2]] for claim in verdicts.claims}
    words = Counter(found.verdict for found in ours.values())
    counts = {name: sum(words[word] for word in of) for name, of in GROUPS.items()}
    again = {claim.id: claim.repetitions for claim in verdicts.claims if claim.repetitions}
    unsteady = [name for name, counted in again.items() if counted.same < counted.of]
    return {
        "runs": len(runs),
        "total": len(ours),
        "counts": counts | {"other": len(ours) - sum(counts.values())},
        "adam": _by_rate(ours["A1"]),
        "depth": _depth(ours["A3"]),
        "ranking": settings.facts(settings.ranked(settings.repeated(runs), noise.pooled(runs))),
        "repetitions": max((counted.of for counted in again.values()), default=1),
        "repeated": len(again),
        "steady": len(again) - len(unsteady),
        "unsteady": unsteady,
    }


def _by_rate(found: Finding) -> dict[str, str] | None:
    """Return Adam's lead at both learning rates, where they differ significantly."""
    rates = {of.value: of for of in found.depends_on if of.setting == "lr"}
    if len(rates) < 2:
        return None
    return {
        name: f"{signed(of.effect).lstrip('+')} points ({'' if of.sign else 'not '}significant)"
        for name, (_, of) in zip(("low", "high"), sorted(rates.items()), strict=True)
    }


def _depth(found: Finding) -> dict[str, Any] | None:
    """Return in how many pairs ResNet-50 is behind and by how many points, where it is."""
    part = (found.parts or [found])[0]
    if part.effect is None or part.effect >= 0:
        return None
    return {
        "behind": part.behind,
        "significantly": part.significantly_behind,
        "pairs": part.pairs,
        "points": f"{-part.effect:.2f}",
    }

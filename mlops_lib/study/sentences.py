"""Evidence → one plain sentence: the only place where verdicts are put into words."""

from __future__ import annotations

from functools import cache
from typing import Any

from jinja2 import Environment, StrictUndefined, Template

from mlops_lib import tables
from mlops_lib.study.effects import Subgroup
from mlops_lib.study.table_cells import setting_text
from mlops_lib.study.verdicts import DEPENDS, SILENT, Evidence, scaled_effect
from mlops_lib.study.words import signed

FACTORS = {
    "table": "table",
    "dataset": "dataset",
    "model": "network",
    "batch_size": "batch size",
    "optimizer": "optimizer",
    "lr": "learning rate",
}
PAIRS = """\
{{ e.what }}: {{ mean }} on average\
{% if e.effect.error == e.effect.error %} (95 % interval {{ low }} to {{ high }}){% endif %}, \
ahead in {{ e.effect.wins }} of {{ e.effect.n }} pair{{ "s" if e.effect.n > 1 }}\
{% if e.effect.significant_wins %} ({{ e.effect.significant_wins }} significantly){% endif %}\
{% if e.effect.losses %}, behind in {{ e.effect.losses }}\
{% if e.effect.significant_losses %} ({{ e.effect.significant_losses }} significantly){% endif %}\
{% endif %}\
{% if e.verdict == "depends" %}; it depends on the {{ factor }}: {{ subgroups }}{% endif %}\
{% if e.further_seeds %}; {{ e.further_seeds }} more seed{{ "s" if e.further_seeds > 1 }} \
would settle it{% endif %}"""
TEMPLATES = {
    "best_is": """\
{{ e.what }} on {{ v.dataset | title }}: {{ "%.2f" | format(v.best_pct) }} % (claimed \
{{ "%.2f" | format(v.claimed_pct) }} %){% if v.by %}, by {{ by }}{% endif %}""",
    "svm_time": """\
{% for dataset, times in v.items() %}{{ dataset | title }}: SVMs took \
{{ times.svm_seconds | range }} s to fit, ResNets {{ times.resnet_seconds | range }} s to train\
{{ "; " if not loop.last }}{% endfor %}""",
    "gpu_between": """\
GPU over CPU: {% for model, times in v.times.items() %}{{ model | title }} {{ times | factor }} \
times{{ ", " if not loop.last }}{% endfor %}\
{% if v.machines %} ({{ v.machines | join("; ") }}){% endif %}""",
    "flops_by_architecture": """\
operation counts are {{ 'equal' if v.equal else 'unequal' }} on both devices""",
    "deeper_costs_more": "ResNet-50 takes {{ v.times | factor }} times the operations of ResNet-18",
}
TEMPLATES["gpu_about"] = TEMPLATES["larger_gain_more"] = TEMPLATES["gpu_between"]


def sentence(evidence: Evidence) -> str:
    """Return what was found, without the full stop; of several parts all that say something."""
    if evidence.parts:
        return "; ".join(f"{part.verdict}: {sentence(part)}" for part in evidence.parts)
    if evidence.verdict in SILENT:
        return f"{evidence.what}: {evidence.verdict}"
    return _template(evidence.check).render(
        e=evidence, v=evidence.values, **_effect(evidence), **_by(evidence)
    )


def decided(found: Any) -> Any:
    """Return the part that decides the verdict, of evidence or of a finding; else itself."""
    return next((part for part in found.parts if part.verdict == found.verdict), found)


@cache
def _template(check: str) -> Template:
    """Return the compiled template of a check."""
    environment = Environment(undefined=StrictUndefined, autoescape=False)
    environment.filters |= {
        "title": tables.title,
        "range": lambda ends: _range(ends, ",.0f"),
        "factor": lambda ends: _range(ends, ".1f"),
    }
    return environment.from_string(TEMPLATES.get(check, PAIRS))


def _range(ends: list[float], form: str) -> str:
    low, high = (f"{end:{form}}" for end in ends)
    return low if low == high else f"{low} to {high}"


def effect_texts(evidence: Evidence) -> tuple[str, str, str] | None:
    """Return the mean effect and the ends of its interval as text: `+0.71 points`."""
    values = scaled_effect(evidence)
    if values is None:
        return None
    if evidence.unit == "times":
        mean, low, high = (f"{value:.2f}" for value in values)
        return f"{mean} times as fast", low, high
    mean, low, high = map(signed, values)
    return f"{mean} points", low, high


def _effect(evidence: Evidence) -> dict[str, str]:
    texts = effect_texts(evidence)
    if texts is None or evidence.effect is None:
        return {}
    names = dict(zip(("mean", "low", "high"), texts, strict=True))
    if evidence.verdict != DEPENDS:
        return names
    pair = next(two for two in _splits(evidence) if any(of.sign > 0 for of in two))
    subgroups = ", ".join(
        f"{signed(of.mean)} {'with' if isinstance(of.level, str) else 'at'} "
        f"{setting_text(of.factor, of.level)}{'' if of.sign else ' (not significant)'}"
        for of in pair
    )
    return names | {"factor": FACTORS[pair[0].factor], "subgroups": subgroups}


def _splits(evidence: Evidence) -> list[tuple[Subgroup, Subgroup]]:
    assert evidence.effect
    found = evidence.effect.depends_on
    return list(zip(found[::2], found[1::2], strict=True))


def _by(evidence: Evidence) -> dict[str, str]:
    by = evidence.values.get("by") or {}
    return {"by": ", ".join(setting_text(name, value) for name, value in by.items())}

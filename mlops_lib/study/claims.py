"""The published claims (`book/published/claims.yaml`), and what each source says of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import pandas as pd
import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from mlops_lib import paths
from mlops_lib.messages import first_problem, nearest, shorten
from mlops_lib.params import UserError
from mlops_lib.study import checks, checks_speed, noise, sources
from mlops_lib.study.once import once
from mlops_lib.study.verdicts import NOT_TRANSFERABLE, SILENT, Evidence, all_parts

FILE = paths.PUBLISHED / "claims.yaml"
AnyCheck = Annotated[
    checks.Ahead
    | checks.BestSetting
    | checks.RbfOverPoly
    | checks.OverSvms
    | checks.BestIs
    | checks_speed.SvmTime
    | checks_speed.GpuBetween
    | checks_speed.GpuAbout
    | checks_speed.LargerGainMore
    | checks_speed.FlopsByArchitecture
    | checks_speed.DeeperCostsMore,
    Field(discriminator="check"),
]


class ClaimsError(UserError):
    """The file of claims can't be read, or has an entry that is not allowed."""


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Claim(_Entry):
    """A statement of a report, in our words, and how it is checked."""

    id: str = Field(pattern=r"^[A-Z]\d+$", description="a report's letter and a number")
    short: str  # for boards and figures
    text: str
    kind: Literal["learning", "hardware", "construction"]
    checks: tuple[AnyCheck, ...] = Field(min_length=1)

    @property
    def report(self) -> str:
        """Return the name of the source that makes the claim: `Report A`."""
        return f"Report {self.id[0]}"


class Statement(_Entry):
    """A statement of a report that no data can check, and why."""

    report: Literal["A", "B"]
    text: str
    reason: str


def _unique(claims: tuple[Claim, ...]) -> tuple[Claim, ...]:
    twice = [name for name, count in Counter(claim.id for claim in claims).items() if count > 1]
    if twice:
        raise ValueError(f"the id {twice[0]} should be there once")
    return claims


class _File(_Entry):
    claims: Annotated[tuple[Claim, ...], AfterValidator(_unique)]
    statements: tuple[Statement, ...] = ()


def read(path: Path = FILE) -> _File:
    """Return the claims and the statements of a file.

    Raises ClaimsError, which names the file, the entry, the value and what is allowed.
    """
    content = None
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
        return _File.model_validate(content)
    except (OSError, UnicodeError) as error:
        raise ClaimsError(f"{path} can't be read: {error}") from None
    except yaml.YAMLError as error:
        raise ClaimsError(
            f"{path.name} is not valid YAML: {' '.join(str(error).split())}"
        ) from None
    except ValidationError as error:
        raise ClaimsError(f"{path.name}: {_problem(error, content)}") from None


def _problem(error: ValidationError, content: Any) -> str:
    """Return which entry has the first value that is not allowed, and what is."""
    problem = error.errors()[0]
    place, where = list(problem["loc"]), ""
    if len(place) > 2 and isinstance(place[1], int):
        entry = content[place[0]][place[1]]
        name = entry.get("id") if isinstance(entry, dict) else None
        where = f"{name if isinstance(name, str) else f'entry {place[1] + 1}'}: "
    if problem["type"] == "union_tag_invalid":
        tags = problem["ctx"]["expected_tags"].replace("'", "")
        tag = problem["ctx"]["tag"]
        return f"{where}check={shorten(tag)} is not allowed: known are {tags}" + nearest(
            tag, tags.split(", ")
        )
    if problem["type"] == "extra_forbidden":
        known = list(_form(place).model_fields)
        return (
            f"{where}{place[-1]}={shorten(problem['input'])} is not allowed: "
            f"known are {', '.join(known)}{nearest(place[-1], known)}"
        )
    return where + first_problem(error)


def _form(place: list[Any]) -> type[BaseModel]:
    """Return the form of what has an unknown key at this place of the file."""
    if len(place) == 1:
        return _File
    if place[2] != "checks":
        return Claim if place[0] == "claims" else Statement
    union = get_args(get_args(AnyCheck)[0])
    return next(
        form for form in union if place[4] in get_args(form.model_fields["check"].annotation)
    )


@cache
def claims() -> tuple[Claim, ...]:
    """Return the published claims, in the order of their file."""
    return read().claims


def statements() -> pd.DataFrame:
    """Return what the reports also say and no data can check, with the reason."""
    rows = [(of.report, of.text, of.reason) for of in read().statements]
    return pd.DataFrame(rows, columns=["Report", "Statement", "Why it cannot be checked"])


@once
def judge(runs: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each claim and source: id, claim, kind, source, verdict, evidence."""
    spread = spreads(runs)
    found = [sources.report("A"), sources.report("B"), sources.ours(runs)]
    return pd.DataFrame(
        [
            {
                "id": claim.id,
                "claim": claim.text,
                "kind": claim.kind,
                "source": source.name,
                "verdict": (evidence := check(claim, source, spread)).verdict,
                "evidence": evidence,
            }
            for source in found
            for claim in claims()
        ]
    )


@once
def spreads(runs: pd.DataFrame) -> checks.Spreads:
    """Return the noise of each measure that claims are about."""
    trainings = noise.complete_trainings(runs)
    return {measure: noise.of_trainings(trainings, measure) for measure in checks.MEASURES}


def check(claim: Claim, source: sources.Source, spread: checks.Spreads) -> Evidence:
    """Return what a source says of a claim."""
    return all_parts([_part(part, claim, source, spread) for part in claim.checks])


def _part(
    part: checks.Check, claim: Claim, source: sources.Source, spread: checks.Spreads
) -> Evidence:
    evidence = part.evidence(source, spread)
    if not part.transferable and claim.report != source.name and evidence.verdict not in SILENT:
        return replace(evidence, verdict=NOT_TRANSFERABLE)
    return evidence

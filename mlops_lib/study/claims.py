"""The published claims, read from `book/published/claims.yaml`, and what each source says of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Annotated, Literal

import pandas as pd
import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from mlops_lib import paths
from mlops_lib.messages import first_problem
from mlops_lib.params import UserError
from mlops_lib.study import checks, checks_speed, noise, selection, sources
from mlops_lib.study.once import once
from mlops_lib.study.protocol import SOURCES
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

    id: str = Field(pattern=r"^[AB]\d+$")
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
    try:
        return _File.model_validate(yaml.safe_load(path.read_text("utf-8")))
    except (OSError, UnicodeError) as error:
        raise ClaimsError(f"{path} can't be read: {error}") from None
    except yaml.YAMLError as error:
        raise ClaimsError(f"{path.name} is not valid YAML: {' '.join(str(error).split())}") from None
    except ValidationError as error:
        raise ClaimsError(f"{path.name}: {first_problem(error)}") from None


@cache
def claims() -> tuple[Claim, ...]:
    """Return the published claims, in the order of their file."""
    return read().claims


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

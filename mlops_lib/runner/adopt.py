"""Adopt a template's changed code: prove that results stay the same, so that records stay valid.

Each earlier code is taken from the executed notebooks of its records. A few of their runs, made
small, are executed here by the earlier and by the present code, which have to agree bit for bit.
So the proof compares code on one machine, and needs none of the machines of the records.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from mlops_lib import lineage, machine, provenance, record, tables
from mlops_lib.lineage import Code, Earlier, Lineage, Repeated
from mlops_lib.params import TEMPLATES, Parameters, UserError, non_default_settings
from mlops_lib.record import Record
from mlops_lib.runner import execute

TIMES = re.compile(r"second|^peak_")  # results that no two runs share
SMALL = {"dataset": "digits", "train_size": 100, "epochs": 2}
MAX_INPUT_SIZE = 32  # larger than the images, as any that takes longer


class AdoptionError(UserError):
    """The present code gives other results than an earlier one, or can't be compared with it."""


def adopt(template: str, say: Callable[[str], None] = print) -> Lineage:
    """Prove the present code of a template against all earlier code that has records; note it.

    Raises AdoptionError if results differ: then nothing is noted, and the records stay stale.
    """
    path = record.template_path(template)
    present = lineage.template_code(path)
    repeated, ran = [], None
    for code, (notebook, runs) in _recorded(template).items():
        if code == present:
            continue
        asked = few(runs)
        say(
            f"{len(runs)} records of earlier code: {len(asked)} small runs by it and by the present"
        )
        pairs = [_by_both(template, notebook, path, parameters, say) for parameters in asked]
        ran = pairs[0][0]
        repeated.append(Earlier(code=code, repeated=tuple(proof for _, proof in pairs)))
    if ran is None:
        raise AdoptionError(f"template={template!r} has no records of earlier code to adopt")
    proven = Lineage(
        code_sha256=lineage.sha256(present),
        commit=provenance.commit(),
        device_name=ran.environment["device_name"],
        torch=ran.environment["torch"],
        earlier=tuple(repeated),
    )
    lineage.write(template, proven)
    return proven


def _recorded(template: str) -> dict[Code, tuple[Path, list[Parameters]]]:
    """Return each code of which there are records: one of its notebooks, and what they asked."""
    found: dict[Code, tuple[Path, list[Parameters]]] = {}
    for path, made in tables.records().items():
        notebook = path.with_suffix(".ipynb")
        if made.template != template or not notebook.exists():
            continue
        if record.read(notebook).key != made.key:  # edited since
            continue
        code = lineage.code(json.loads(notebook.read_text(encoding="utf-8")))
        _, runs = found.setdefault(code, (notebook, []))
        runs.append(TEMPLATES[template](**made.parameters))
    return found


def few(runs: Iterable[Parameters]) -> list[Parameters]:
    """Return small runs that together have every value of every parameter of these runs.

    They are on few images of `digits`, and on this machine's CPU if it has no other device.
    """
    seen: set[tuple[str, Any]] = set()
    chosen = []
    for run in runs:
        values = run.model_dump()
        values |= {name: value for name, value in SMALL.items() if name in values}
        if "input_size" in values:
            values["input_size"] = min(values["input_size"], MAX_INPUT_SIZE)
        if values.get("device") == "cuda" and not machine.cuda_is_present():
            values["device"] = "cpu"
        if not seen.issuperset(values.items()):
            seen.update(values.items())
            chosen.append(type(run)(**values))
    return chosen


def _by_both(
    template: str, earlier: Path, present: Path, asked: Parameters, say: Callable[[str], None]
) -> tuple[Record, Repeated]:
    """Execute a run by two notebooks; return its record and what proves that they agree."""
    before, after = (_executed(template, path, asked) for path in (earlier, present))
    changed = non_default_settings(template, after.parameters)
    was, now = timeless(before.results), timeless(after.results)
    if was != now:
        names = ", ".join(name for name in {**was, **now} if was.get(name) != now.get(name))
        raise AdoptionError(
            f"the present code of {template} gives other results than an earlier one, with "
            f"{changed}: {names} differ; its records stay stale"
        )
    say(f"the same results: {changed}")
    device = after.environment["device"]
    proof = Repeated(parameters=changed, device=device, results_sha256=lineage.sha256(now))
    return after, proof


def _executed(template: str, notebook: Path, asked: Parameters) -> Record:
    """Return the record of a run that a notebook, a template or an executed one, performs."""
    source = notebook.read_text(encoding="utf-8")
    parameters = asked.identity()  # the earlier code has no others
    task = execute.Task(template, source, record.key(asked, template), parameters, "", fresh=True)
    performed = execute.perform(task)
    if performed.error:
        raise AdoptionError(f"{notebook} fails with {parameters}: {performed.error}")
    return record.parse(performed.notebook, notebook)


def timeless(results: Any) -> Any:
    """Return a record's results without times and what follows from them."""
    if isinstance(results, dict):
        kept = {name: value for name, value in results.items() if not TIMES.search(name)}
        return {name: timeless(value) for name, value in kept.items()}
    return [timeless(item) for item in results] if isinstance(results, list) else results

"""The record: the JSON result of a run. Its schema, its key, reading and writing.

A template calls `begin` first and `Begun.finish` last; the cell that shows the finished record
carries it in the notebook, from where the runner (or anyone) reads it back.
"""

from __future__ import annotations

import base64
import html
import json
import os
import platform
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from mlops_lib import checkpoint, data, hardware, lineage, machine, paths, provenance, svm
from mlops_lib.fast import is_on as fast_is_on
from mlops_lib.fast import kernel_start
from mlops_lib.messages import first_problem
from mlops_lib.params import TEMPLATES, Parameters, Q1b, UserError
from mlops_lib.schema import RESULTS, Machine

MIME = "application/vnd.mlops-record+json"
Template = Literal["q1a", "q1b", "q2"]
MOST_SHOWN = 10  # items of a list, where a notebook shows a record
RUNNER = "MLOPS_RUNNER"  # set where a runner on this machine writes the record
GPU_SHARED = "MLOPS_GPU_SHARED"  # set where its other runs may use the same GPU


def _is_a_time(text: str) -> str:
    datetime.fromisoformat(text)  # raises ValueError
    return text


Time = Annotated[
    str,
    Field(pattern="^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$"),
    AfterValidator(_is_a_time),
]


class RecordError(UserError):
    """A file is not a record, or a notebook holds none."""


class Record(BaseModel):
    """What a run was asked, what came out and where it ran.

    `started_at` and `duration_seconds` are of the process that finished it: of a run that was
    interrupted, its last part. Seconds within `results` count all parts.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    schema_version: Literal[1] = 1
    """The version of this form."""
    template: Template
    """The template that was executed."""
    key: str = Field(pattern="^[0-9a-f]{64}$")
    """SHA-256 of parameters and the template's code: the run is done where it is among `keys`."""
    parameters: dict[str, Any]
    """All parameters of the template, defaults included."""
    results: dict[str, Any]
    """What came out."""
    environment: dict[str, Any]
    """Where it ran."""
    started_at: Time
    """When it began, in UTC."""
    duration_seconds: float = Field(ge=0, allow_inf_nan=False)
    """The whole run; of a notebook executed by other means, without the kernel's start."""

    def _repr_mimebundle_(self, **_: object) -> dict[str, Any]:
        content = self.model_dump(mode="json")
        text = json.dumps(_shortened(content), indent=1, ensure_ascii=False)
        return {
            MIME: content,
            "text/plain": f"Record {self.key[:12]}",
            "text/html": f"<details><summary>Record {self.key[:12]}</summary>"
            f"<pre>{html.escape(text)}</pre></details>",
        }


def template_path(template: str) -> Path:
    """Return the path of a template of this project."""
    return paths.BOOK / f"{template}.ipynb"


def key(parameters: Parameters, template: str) -> str:
    """Hash validated parameters and the template's code cells; markdown and tags don't count."""
    return _key(parameters, template, lineage.template_code(template_path(template)))


def keys(parameters: Parameters, template: str) -> set[str]:
    """Return the keys with which a run is done: that of the code, and of what it was before."""
    present = lineage.template_code(template_path(template))
    codes = lineage.accepted(template, present)
    return {_key(parameters, template, code) for code in codes}


def _key(parameters: Parameters, template: str, code: lineage.Code) -> str:
    return lineage.sha256({"template": template, "parameters": parameters.identity(), "code": code})


@dataclass(frozen=True)
class Begun:
    """A run that has begun: its validated parameters and its clock."""

    template: Template
    parameters: Any
    key: str
    started_at: str
    _clock: float = field(repr=False)

    @property
    def checkpoint(self) -> Path | None:
        """Where training saves the state from which it resumes after an interruption.

        A file in `MLOPS_CHECKPOINTS`, by default `.checkpoints/` of the project, the same for all
        runs of this template's code with these parameters. None while another process uses it.
        """
        path = checkpoint_path(self.key)
        if checkpoint.own(path):
            return path
        print("another process is at this run: this one keeps no checkpoint", flush=True)
        return None

    def finish(self, results: dict[str, Any], **where: Any) -> Record:
        """Return the record; `where` is what `environment` takes.

        The checkpoint is removed, unless a runner is to do so when it has written the record.
        """
        finished = Record(
            template=self.template,
            key=self.key,
            parameters=self.parameters.model_dump(mode="json"),
            results=results,
            environment=environment(**where),
            started_at=self.started_at,
            duration_seconds=time.perf_counter() - self._clock,
        )
        if RUNNER not in os.environ:
            checkpoint.remove(checkpoint_path(self.key))
        return finished

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th>{name}</th><td>{html.escape(str(value))}</td></tr>"
            for name, value in self.parameters.model_dump(mode="json").items()
        )
        return f"<table>{rows}</table>"


def checkpoint_path(key: str) -> Path:
    """Return the path of the checkpoint of the run with this key."""
    return paths.checkpoints() / f"{key}.pt"


def begin(template: Template, namespace: dict[str, Any]) -> Begun:
    """Validate a notebook's parameters (its `globals()`) and start the clock.

    Raises ParameterError, before any work, where a value is not allowed.
    """
    parameters = TEMPLATES[template].from_notebook(namespace)
    require(parameters)
    provenance.commit()  # as it is before the work
    if fast_is_on():
        kernel_start.spare_kernel()
    started_at = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return Begun(template, parameters, key(parameters, template), started_at, time.perf_counter())


def require(parameters: Parameters, here: bool = True) -> None:
    """Raise ParameterError where a run needs what its dataset lacks or, if `here`, this machine."""
    if parameters.identity().keys().isdisjoint(("split", "subset", "train_on_validation")):
        size = getattr(parameters, "train_size", None)
        data.require_size(getattr(parameters, "dataset", ""), size)
    if isinstance(parameters, Q1b):
        svm.require_choice(parameters)
    if here:
        data.require_classes(getattr(parameters, "dataset", ""))
        fast_is_on()  # raises where MLOPS_FAST has another value
        hardware.require(getattr(parameters, "device", "cpu"))
        svm.require(getattr(parameters, "backend", "auto"))


def environment(
    device: str = "cpu",
    device_name: str | None = None,
    threads: int | None = None,
    amp_dtype: str | None = None,
    allocator: str = "default",
    fast: bool | None = None,
) -> dict[str, Any]:
    """Return where a run ran: device, processor, precision, memory, tricks, versions, commit."""
    return {
        "device": device,
        "device_name": device_name or machine.cpu_name(),
        "cpu": machine.cpu_name(),
        "instructions": machine.instructions(),
        "cores": len(machine.cores()),
        "threads": threads or machine.threads(),
        "amp_dtype": amp_dtype,
        "allocator": allocator,
        "fast": fast_is_on() if fast is None else fast,
        "python": platform.python_version(),
        **provenance.software(device),
        **({"device_shared": True} if device != "cpu" and GPU_SHARED in os.environ else {}),
    }


def classification(labels: np.ndarray, predicted: np.ndarray) -> dict[str, Any]:
    """Return accuracy (0..1), confusion matrix and which images were right.

    `labels` and `predicted` are int (N,). Row i of the matrix holds the images of class i;
    `correct` has one bit for each image, packed (numpy's `packbits`) and base64.
    """
    matrix = np.zeros((10, 10), dtype=np.int64)
    np.add.at(matrix, (labels, predicted), 1)
    correct = labels == predicted
    return {
        "test_accuracy": float(correct.mean()),
        "confusion_matrix": matrix.tolist(),
        "correct": base64.b64encode(np.packbits(correct).tobytes()).decode(),
    }


def unpack_correct(results: dict[str, Any]) -> np.ndarray:
    """Return which test images were classified right, bool (N,); raise RecordError."""
    total = int(np.sum(results["confusion_matrix"]))
    try:
        packed = np.frombuffer(base64.b64decode(results["correct"], validate=True), np.uint8)
    except (ValueError, TypeError):
        packed = np.empty(0, np.uint8)
    if 8 * len(packed) - total not in range(8):
        raise RecordError(f"results.correct should be a bit for each of {total} images, base64")
    return np.unpackbits(packed, count=total).astype(bool)


def read(path: Path) -> Record:
    """Read a record from a `.json` file or from an executed `.ipynb`; raise RecordError.

    The key of a notebook's record is that of the code in the notebook, which may be an edited copy.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise RecordError(f"{path} can't be read: {error.strerror}") from None
    found = parse(text, path)
    if path.suffix != ".ipynb":
        return found
    try:
        code = lineage.code(json.loads(text))
    except (LookupError, TypeError, AttributeError):
        raise RecordError(f"{path} holds no record: it is not a notebook") from None
    parameters = TEMPLATES[found.template](**found.parameters)
    return found.model_copy(update={"key": _key(parameters, found.template, code)})


def parse(text: bytes | str, path: Path) -> Record:
    """Return the record in the content of a `.json` or `.ipynb` file; raise RecordError."""
    try:
        content = json.loads(text)
    except RecursionError:
        raise RecordError(f"{path} can't be read: it is nested too deeply") from None
    except ValueError as error:
        raise RecordError(f"{path} can't be read: {error}") from None
    try:
        if path.suffix == ".ipynb":
            content = _shown_record(content)
        found = Record.model_validate(content)
        # In the form that runs write; a parameter that the template got later has its default.
        parameters = TEMPLATES[found.template](**found.parameters).model_dump(mode="json")
        found = found.model_copy(update={"parameters": parameters})
        _check(found)
    except ValidationError as error:
        raise RecordError(f"{path} holds no record: {first_problem(error)}") from None
    except ValueError as error:
        raise RecordError(f"{path} holds no record: {error}") from None
    return found


def _check(found: Record) -> None:
    """Raise ValueError where a record holds what no run of its template writes."""
    for place, model in (("results", RESULTS[found.template]), ("environment", Machine)):
        try:
            model.model_validate(getattr(found, place))
        except ValidationError as error:
            raise RecordError(first_problem(error, place)) from None
    if found.results.get("correct") is not None:
        unpack_correct(found.results)
    # It can be written again: it is not nested too deeply, and every character can be encoded.
    json.dumps(found.model_dump(mode="json"), ensure_ascii=False).encode()


def _shown_record(notebook: dict[str, Any]) -> dict[str, Any]:
    """Return the record that the last code cell of a notebook shows; raise RecordError."""
    try:
        for cell in reversed(notebook["cells"]):
            for output in cell.get("outputs", ()):
                if MIME in output.get("data", ()):
                    return output["data"][MIME]
    except (KeyError, TypeError, AttributeError):
        raise RecordError("it is not a notebook") from None
    raise RecordError("no cell shows one")


def write(record: Record, path: Path) -> None:
    """Write a record as JSON, by an atomic rename."""
    write_text(json.dumps(record.model_dump(mode="json"), indent=1) + "\n", path)


def write_text(text: str, path: Path) -> None:
    """Write a file by an atomic rename: it is whole, or it is not there."""
    with checkpoint.atomic_write(path) as file:
        file.write(text.encode())


def _shortened(value: Any) -> Any:
    """Cut long texts and lists, so that a record can be read at a glance."""
    if isinstance(value, dict):
        return {name: _shortened(item) for name, item in value.items()}
    if isinstance(value, list):
        few = value if len(value) <= MOST_SHOWN else value[:3]
        rest = [f"… ({len(value)} in all)"] if few is not value else []
        return [_shortened(item) for item in few] + rest
    if isinstance(value, str) and len(value) > 80:
        return f"{value[:60]}… ({len(value)} characters)"
    return value

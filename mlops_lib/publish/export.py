"""All records for other tools: as a CSV or Parquet table, or in an MLflow tracking store."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mlops_lib import tables
from mlops_lib.checkpoint import first_line
from mlops_lib.params import ParameterError
from mlops_lib.record import Record

WRITERS = {".csv": "to_csv", ".parquet": "to_parquet"}
EXPERIMENT = "replication study"
MAX_NAME, MAX_VALUE = 200, 5000  # characters that every MLflow takes
MAX_METRICS, MAX_TEXTS = 1000, 100  # in a request


def write(target: str, folder: Path | None = None) -> tuple[int, list[str]]:
    """Write all recorded runs to a file or to an MLflow store.

    Returns how many were written, and for each record that could not be written its path and why.

    `target` ends with `.csv` or `.parquet`, or is an MLflow tracking URI, such as
    `sqlite:///mlflow.db` or `http://localhost:5000`. Raises ParameterError for anything else.
    """
    if "://" in target:
        return to_mlflow(target, folder)
    if Path(target).suffix not in WRITERS:
        raise ParameterError(
            f"target={target!r} is not allowed: use a .csv or .parquet file, or the URI of an "
            "MLflow store, like sqlite:///mlflow.db"
        )
    if target.endswith(".parquet") and find_spec("pyarrow") is None:
        raise ParameterError(f"target={target!r} needs PyArrow: pip install pyarrow")
    return to_file(Path(target), folder)


def to_file(target: Path, folder: Path | None = None) -> tuple[int, list[str]]:
    """Write a row for every run, with lists and tables within a result as JSON.

    Returns as `write`.
    """
    sound, damaged = tables.sound_and_damaged(folder)
    runs = tables.rows(sound)
    mixed = [name for name in runs if runs[name].dtype == object]
    runs[mixed] = runs[mixed].map(_as_text)
    getattr(runs, WRITERS[target.suffix])(target, index=False)
    return len(runs), list(damaged.values())


def _as_text(value: Any) -> str | None:
    """Return what a column of unlike values shows of one of them; nothing where there is none."""
    if isinstance(value, list | dict):
        return json.dumps(value)
    return None if value is None or value != value else str(value)


def to_mlflow(uri: str, folder: Path | None = None) -> tuple[int, list[str]]:
    """Log every run that the store does not have yet: parameters, metrics by epoch, environment.

    Returns as `write`. A run that can't be logged whole is removed from the store again.
    Raises ParameterError if MLflow is not installed or the store can't be used.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # sends no usage data
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    try:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
    except ImportError:
        raise ParameterError(f"target={uri!r} needs MLflow: pip install mlflow") from None
    for noisy in ("mlflow", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        client = MlflowClient(uri, registry_uri=uri)
        found = client.get_experiment_by_name(EXPERIMENT)
        experiment = found.experiment_id if found else client.create_experiment(EXPERIMENT)
        known = _logged(client, experiment)
    except MlflowException as error:
        raise ParameterError(f"target={uri!r} can't be used: {first_line(error)}") from None
    sound, damaged = tables.sound_and_damaged(folder)
    written, left_out = 0, list(damaged.values())
    for path, run in sound.items():
        if _identity(run) in known:
            continue
        try:
            _log(client, experiment, path, run)
        except (MlflowException, ValueError, OverflowError) as error:
            left_out.append(f"{path} can't be logged: {first_line(error)}")
        else:
            known.add(_identity(run))
            written += 1
    return written, left_out


def _logged(client: Any, experiment: str) -> set[str]:
    """Return the identities of the runs that are in the store."""
    identities, token = set(), None
    while True:
        page = client.search_runs([experiment], max_results=1000, page_token=token)
        identities |= {run.data.tags.get("mlops.identity") for run in page}
        token = page.token
        if not token:
            return identities


def _identity(run: Record) -> str:
    """Return what distinguishes one execution of a run from every other."""
    return f"{run.key} {run.started_at}"


def _log(client: Any, experiment: str, path: Path, run: Record) -> None:
    """Log a run: its content first, so that a run is created only where there is one."""
    start = int(1000 * datetime.fromisoformat(run.started_at).timestamp())
    end = start + int(1000 * run.duration_seconds)
    requests = _requests(path, run, end)
    title = tables.run_title(run.parameters)
    logged = client.create_run(experiment, start, run_name=title).info.run_id
    try:
        for request in requests:
            client.log_batch(logged, **request)
        client.set_terminated(logged, "FINISHED", end)
    except BaseException:
        with suppress(Exception):  # the first error is the one to name
            client.delete_run(logged)
        raise


def _requests(path: Path, run: Record, end: int) -> list[dict[str, Any]]:
    """Return what is logged of a run, in requests of the size that MLflow takes."""
    from mlflow.entities import Metric, Param, RunTag

    tags = {f"environment.{name}": value for name, value in run.environment.items()}
    tags |= {"template": run.template, "suite": path.parents[1].name}
    metrics = [(name, value, 0) for name, value in run.results.items()]
    for number, epoch in enumerate(run.results.get("epochs", ()), 1):
        metrics += [(f"epoch.{name}", value, number) for name, value in epoch.items()]
    names = _allowed_names(name for name, _, _ in metrics)
    texts = {"params": (Param, run.parameters), "tags": (RunTag, tags)}
    requests: list[dict[str, Any]] = [
        {kind: [entity(name, str(values[key])[:MAX_VALUE]) for key, name in some]}
        for kind, (entity, values) in texts.items()
        for some in _parts([*_allowed_names(values).items()], MAX_TEXTS)
    ]
    numbers = [
        Metric(names[name], float(value), end, step)
        for name, value, step in metrics
        if isinstance(value, int | float)
    ]
    requests += [{"metrics": some} for some in _parts(numbers, MAX_METRICS)]
    # Last: a run that has it is whole, and is not logged again.
    return [*requests, {"tags": [RunTag("mlops.identity", _identity(run))]}]


def _parts(items: list[Any], size: int) -> Iterator[list[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _allowed_names(names: Iterable[str]) -> dict[str, str]:
    """Return for each name one that MLflow allows, and that no other has: `error rate ___`."""
    allowed: dict[str, str] = {}
    for name in dict.fromkeys(names):
        text = re.sub(r"^(?=\.|$)|[^\w.\- ]", "_", name)[:MAX_NAME]
        while text in allowed.values():
            text += "_"
        allowed[name] = text
    return allowed

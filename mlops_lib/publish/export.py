"""All records for other tools: as a CSV or Parquet table, or in an MLflow tracking store."""

from __future__ import annotations

import json
import logging
import os
from datetime import datetime
from pathlib import Path
from typing import Any

from mlops_lib import tables
from mlops_lib.checkpoint import first_line
from mlops_lib.params import ParameterError
from mlops_lib.record import Record

WRITERS = {".csv": "to_csv", ".parquet": "to_parquet"}
EXPERIMENT = "replication study"


def write(target: str, folder: Path | None = None) -> int:
    """Write all recorded runs to a file or to an MLflow store; return how many were written.

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
    return to_file(Path(target), folder)


def to_file(target: Path, folder: Path | None = None) -> int:
    """Write a row for every run, with lists and tables within a result as JSON."""
    runs = tables.all_runs(folder)
    nested = [name for name in runs if runs[name].map(lambda v: isinstance(v, list | dict)).any()]
    for name in nested:
        runs[name] = runs[name].map(lambda v: json.dumps(v) if isinstance(v, list | dict) else None)
    mixed = [name for name in runs if runs[name].dtype == object]
    runs[mixed] = runs[mixed].map(lambda v: v if v is None or v != v else str(v))
    getattr(runs, WRITERS[target.suffix])(target, index=False)
    return len(runs)


def to_mlflow(uri: str, folder: Path | None = None) -> int:
    """Log every run that the store does not have yet: parameters, metrics by epoch, environment.

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
        made = tables.records(folder)
        new = {path: run for path, run in made.items() if _identity(run) not in known}
        for path, run in new.items():
            _log(client, experiment, path, run)
    except MlflowException as error:
        raise ParameterError(f"target={uri!r} can't be used: {first_line(error)}") from None
    return len(new)


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
    from mlflow.entities import Metric, Param, RunTag

    start = int(1000 * datetime.fromisoformat(run.started_at).timestamp())
    end = start + int(1000 * run.duration_seconds)
    tags = {f"environment.{name}": value for name, value in run.environment.items()}
    tags |= {"template": run.template, "suite": path.parents[1].name}
    tags |= {"mlops.identity": _identity(run)}
    metrics = [(name, value, 0) for name, value in run.results.items()]
    for number, epoch in enumerate(run.results.get("epochs", ()), 1):
        metrics += [(f"epoch.{name}", value, number) for name, value in epoch.items()]
    title = tables.run_title(run.parameters)
    logged = client.create_run(experiment, start, run_name=title).info.run_id
    client.log_batch(
        logged,
        [Metric(name, value, end, step) for name, value, step in metrics if _is_number(value)],
        [Param(name, str(value)) for name, value in run.parameters.items()],
        [RunTag(name, str(value)) for name, value in tags.items()],
    )
    client.set_terminated(logged, "FINISHED", end)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)

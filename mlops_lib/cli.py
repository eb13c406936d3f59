"""The `mlops` command. Slow imports happen inside the commands that need them."""

from __future__ import annotations

import errno
import io
import logging
import math
import os
import sys
from pathlib import Path
from typing import Any

import click

INTERRUPTED = 130  # the exit code, as shells have it


class _Group(click.Group):
    """Turn errors that the user can mend into one line on stderr and exit code 2.

    Ctrl-C and the other signals that end programs: one line and exit code 130.
    """

    def invoke(self, context: click.Context) -> object:
        from mlops_lib.runner.ending import at_signals

        try:
            with at_signals(_interrupt):
                return self._invoke(context)
        except KeyboardInterrupt:
            click.echo("mlops: interrupted", err=True)
            context.exit(INTERRUPTED)

    def _invoke(self, context: click.Context) -> object:
        from mlops_lib.params import UserError

        try:
            return super().invoke(context)
        except UserError as error:
            click.echo(f"mlops: {error}", err=True)
            context.exit(2)
        except OSError as error:  # about a file that the user named, or a full disk
            if error.errno == errno.EPIPE:  # the reader has closed the pipe: not an error
                raise
            what = f"{error.filename}: {error.strerror}" if error.filename else error
            click.echo(f"mlops: {what}", err=True)
            context.exit(2)


class _Path(click.Path):
    """A path: `~` is the home folder, also in `--pdf=~/book.pdf`, which shells leave as it is."""

    def convert(self, value: Any, *context: Any) -> Any:
        return super().convert(os.path.expanduser(value), *context)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Run parameter grids of the study's notebooks, and build the book from their records."""
    from mlops_lib.params import UserError

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal without "…" gets "?"
            stream.reconfigure(errors="replace")
    try:
        os.getcwd()
    except FileNotFoundError:
        raise UserError("the working directory is gone: go to another by 'cd'") from None


def _interrupt() -> None:
    raise KeyboardInterrupt


def _end_at_once() -> None:
    """End this process before its runs begin: nothing is to be kept, and imports can't wait."""
    os.write(sys.stderr.fileno(), b"mlops: interrupted\n")
    os._exit(INTERRUPTED)


def _finite(_: click.Context, option: click.Parameter, value: float | None) -> float | None:
    """Refuse `nan`, which passes every check of a range."""
    if value is not None and math.isnan(value):
        raise click.BadParameter(f"{value} is not in the range 0<x<=10000000.0.")
    return value


def _slots_of(suite: str):
    """Return the slots of all runs of SUITE, also of those that are not possible here."""
    from mlops_lib.runner.slot import find_slots
    from mlops_lib.runner.suite import read

    return find_slots(suite, read(suite, anywhere=True))


def _slots_to_list(suite: str):
    """Return the slots whose runs are possible here or were tried, and the number of others."""
    everything = _slots_of(suite)
    slots = [
        slot
        for slot in everything
        if slot.run.possible or slot.record.exists() or slot.notebook.exists()
    ]
    return slots, len(everything) - len(slots)


def _print_left_out(count: int) -> None:
    if count:
        click.echo(f"{count} more need a CUDA device; this machine has none")


@main.command()
@click.argument("suite", type=_Path())
@click.option("--jobs", default=1, type=click.IntRange(1, 256), show_default=True,
              help="Runs at a time; cores and GPUs are divided among them.")  # fmt: skip
@click.option("--where", multiple=True, metavar="KEY=VALUE",
              help="Only runs with this parameter, or template=q1a.")  # fmt: skip
@click.option(
    "--only",
    multiple=True,
    metavar="RUN",
    help="Only this run: q1a/<slug>, as 'mlops status' shows it.",
)
@click.option("--only-failed", is_flag=True, help="Only runs that failed.")
@click.option("--stale", is_flag=True, help="Also repeat runs whose template has changed since.")
@click.option("--stale-library", is_flag=True,
              help="Also repeat runs of a library that has changed since.")  # fmt: skip
@click.option("--again", is_flag=True,
              help="Also repeat done runs; a failure leaves the earlier result.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Show what would run, and why.")
@click.option("--retries", default=0, type=click.IntRange(0, 100), show_default=True,
              help="Further attempts at a run that fails.")  # fmt: skip
@click.option("--timeout", type=click.FloatRange(0, 1e7, min_open=True), metavar="SECONDS",
              callback=_finite, help="End a run that takes longer.")  # fmt: skip
@click.option("--keep-going/--fail-fast", default=True, show_default=True,
              help="After a failure, continue with the others or start no more.")  # fmt: skip
@click.option("--scheduler", metavar="ADDRESS", help="Use the workers of this Dask scheduler.")
def run(suite: str, **options) -> None:
    """Execute the runs of SUITE (a name in params/, or a YAML file) that are not recorded yet."""
    from mlops_lib.runner.ending import at_signals

    with at_signals(_end_at_once):
        done, asked = _run(suite, options)
    if done < asked:
        raise click.ClickException(
            f"{asked - done} of {asked} runs are not done; 'mlops status {suite}' shows which"
        )


def _run(suite: str, options: dict) -> tuple[int, int]:
    """Execute runs as `run` does; return how many are done, and how many were to be."""
    from mlops_lib.runner import plan
    from mlops_lib.runner.slot import only, require_all, where

    # Other machines may have what a run needs; an explicitly named run reports what it lacks.
    anywhere = options["scheduler"] is not None or bool(options["only"])
    named = _slots_of(suite)
    everything = [slot for slot in named if anywhere or slot.run.possible]
    slots = only(where(everything, options["where"]), options["only"])
    pending = _pending(options)
    statuses = [slot.status() for slot in slots]
    if not options["dry_run"]:
        _restore_records(slots, statuses)
    if options["stale_library"]:
        statuses = [slot.status(of_library=True) for slot in slots]
    waiting = [slot for slot, status in zip(slots, statuses, strict=True) if status in pending]
    of = f" of {len(everything)}" if len(slots) < len(everything) else ""
    click.echo(f"suite {suite}: {len(slots)}{of} runs, {statuses.count('done')} already recorded")
    _print_left_out(len(named) - len(everything))
    stale = statuses.count("stale")
    if stale and "stale" not in pending:
        click.echo(f"{stale} are of a template that has changed since: --stale repeats them")
    if options["dry_run"]:
        click.echo("\n".join(plan.lines(slots, statuses, pending, options["jobs"])))
        return 0, 0
    here = options["scheduler"] is None
    require_all((slot.run for slot in waiting), here=here)
    if here and (line := plan.forecast(waiting, options["jobs"])):
        click.echo(line)
    return _execute(waiting, pending, options), len(waiting)


def _pending(options: dict):
    """Return the statuses of the runs that the options ask for."""
    from mlops_lib.runner.slot import DONE, FAILED, STALE, UNFINISHED

    pending = FAILED if options["only_failed"] else UNFINISHED
    pending |= STALE if options["stale"] or options["stale_library"] else frozenset()
    return pending | (DONE if options["again"] else frozenset())


def _restore_records(slots: list, statuses: list) -> None:
    """Rewrite lost records whose notebooks hold them, and update `statuses`."""
    lost = {"damaged": "could not be read", "failed": "was missing"}
    for number, slot in enumerate(slots):
        if (what := lost.get(statuses[number])) and slot.restore():
            click.echo(f"{slot.record} {what}: rewritten from its notebook")
            statuses[number] = slot.status()


def _execute(slots: list, pending: frozenset, options: dict) -> int:
    """Execute runs and display them; return how many are done. Exit with code 130 at Ctrl-C."""
    from mlops_lib.runner import cluster, grid, scratch
    from mlops_lib.runner.display import RunDisplay, terminal_or_log
    from mlops_lib.runner.ending import at_signals

    with RunDisplay(len(slots), terminal_or_log()) as display:
        settings = grid.Options(
            pending=pending,
            jobs=options["jobs"],
            retries=options["retries"],
            timeout=options["timeout"],
            fail_fast=not options["keep_going"],
            scheduler=options["scheduler"],
            on_start=display.start,
            on_wait=display.wait,
            on_output=display.output,
        )

        def interrupt() -> None:
            logging.disable()  # libraries tell of kernels that end
            settings.interrupted.set()

        done = 0
        with at_signals(interrupt):
            try:
                for outcome in grid.execute_all(slots, settings):
                    display.finish(outcome)
                    done += outcome.error is None
            except cluster.ClusterError as error:
                raise click.ClickException(str(error)) from None
    if settings.interrupted.is_set():
        click.echo(f"interrupted: {done} of {len(slots)} runs done; run it again to resume")
        sys.stdout.flush()
        scratch.remove()
        os._exit(INTERRUPTED)  # threads may still wait for kernels that are gone
    return done


@main.command()
@click.argument("suite", type=_Path())
def status(suite: str) -> None:
    """List the runs of SUITE: done, stale (the template has changed since), failed, missing, or
    damaged (the record can't be read)."""
    from mlops_lib.runner import repeat
    from mlops_lib.runner.plan import drift

    slots, others = _slots_to_list(suite)
    for slot in slots:
        status = slot.status()
        click.echo(f"{status:8} {slot.label} ({slot.run.template}/{slot.run.slug})")
        if status in ("failed", "damaged"):
            click.echo(f"         {repeat.problem(slot.notebook)}")
            click.echo(f"         {repeat.command(slot.notebook, suite)}")
    for line in drift(slots):
        click.echo(line)
    _print_left_out(others)


@main.command()
@click.argument("template", type=click.Choice(["q1a", "q1b", "q2"]))
def adopt(template: str) -> None:
    """Let records of TEMPLATE's earlier code stay valid, if its present code gives equal results.

    A few small runs are executed by both and compared bit for bit, times apart.
    """
    from mlops_lib.runner.adopt import adopt as prove

    prove(template, click.echo)
    click.echo("book/lineage.json written: records of the earlier code are done")


@main.command()
@click.option("--suite", type=_Path(), metavar="SUITE",
              help="End with a line for each run of this suite.")  # fmt: skip
@click.option("--pdf", type=_Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Print it to a PDF file instead (needs Chromium).")  # fmt: skip
def report(suite: str | None, pdf: Path | None) -> None:
    """Build the book from the records that are there; end with the path of its first page."""
    from mlops_lib import tables
    from mlops_lib.publish import build
    from mlops_lib.runner import repeat
    from mlops_lib.runner.display import result_line

    slots, others = _slots_to_list(suite) if suite else ([], 0)
    try:
        failed = build.pdf(pdf.resolve(), click.echo) if pdf else build.build(click.echo)
    except build.BuildError as error:
        raise click.ClickException(str(error)) from None
    for reason in tables.sound_and_damaged()[1].values():
        click.echo(f"left out: {reason}")
    for path in repeat.strays():
        click.echo(f"no run of a suite: {path}; keep it elsewhere")
    for slot in slots:
        found = slot.read()
        click.echo(result_line(slot, found) if found else f"not run: {slot.label}")
    _print_left_out(others)
    click.echo(f"The book: {pdf or build.index()}")
    if failed:
        raise click.ClickException("the code of pages fails: " + "; ".join(failed))


@main.command()
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--json", "target", type=_Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Write all verdicts with their numbers and records to a JSON file.")  # fmt: skip
@click.option("--check", "expected", type=_Path(path_type=Path, exists=True), metavar="FILE",
              help="Exit with 1 if a verdict or a number differs from those in FILE.")  # fmt: skip
def claims(ids: tuple[str, ...], target: Path | None, expected: Path | None) -> None:
    """Show the verdict on each published claim, or explain those named (such as A1)."""
    from mlops_lib import record
    from mlops_lib.publish import board
    from mlops_lib.study import verdict_file

    earlier = verdict_file.read(expected) if expected else None
    found = verdict_file.of_records()
    if target:
        record.write_text(found.model_dump_json(indent=1), target.resolve())
    elif not earlier:
        click.echo(board.text(found, ids))
    if earlier and (differ := verdict_file.changes(earlier, found)):
        raise click.ClickException("\n".join(["the verdicts differ:", *differ]))


@main.command()
@click.argument("first", type=_Path(path_type=Path))
@click.argument("second", type=_Path(path_type=Path))
@click.option("--html", "page", type=_Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Write a page of both, with pictures, instead.")  # fmt: skip
def compare(first: Path, second: Path, page: Path | None) -> None:
    """Show how two runs differ: notebooks or records FIRST and SECOND."""
    from mlops_lib import record, tables

    runs = record.read(first), record.read(second)
    if page is None:
        table = tables.compare(*runs)
        click.echo("the runs do not differ" if table.empty else table.to_string())
        return
    from mlops_lib.publish import comparison

    if page.exists() and not page.is_file():  # a pipe, a terminal
        page.write_text(comparison.page(*runs), encoding="utf-8")
    else:
        record.write_text(comparison.page(*runs), page.resolve())
    click.echo(f"{page} written")


@main.command()
@click.argument("target", type=_Path())
def export(target: str) -> None:
    """Write all recorded runs to TARGET: a .csv or .parquet file, or the URI of an MLflow store."""
    from mlops_lib.publish.export import write

    written, left_out = write(target)
    click.echo(f"{written} runs written to {target}")
    if left_out:
        raise click.ClickException("\n".join(["some were left out:", *left_out]))


@main.command()
@click.argument("names", nargs=-1)
def data(names: tuple[str, ...]) -> None:
    """Fetch and verify the datasets NAMES (all that the reports use, where none is named)."""
    from mlops_lib import downloads
    from mlops_lib.data import load, picture_folders

    if "digits" in names:
        click.echo("digits: nothing to fetch, scikit-learn brings them")
    asked = [name for name in names if name != "digits"]
    for name in asked:
        downloads.require_known(name)
    for name in asked if names else ("mnist", "fashion_mnist"):
        if classes := picture_folders(name):
            images, _ = load(name)
            folder = classes[0].parent
            click.echo(f"{name}: {len(images)} pictures of {len(classes)} classes in {folder}")
            continue
        found = downloads.fetch(name, click.echo)
        click.echo(f"{name}: four files in {found[0].parent}, checked (SHA-256)")


if __name__ == "__main__":
    sys.exit(main())

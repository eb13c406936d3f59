"""The `mlops` command. Slow imports happen inside the commands that need them."""

from __future__ import annotations

import sys
from pathlib import Path

import click


class _Group(click.Group):
    """Turn errors that speak to the user into one line on stderr and exit code 2."""

    def invoke(self, context: click.Context) -> object:
        from mlops_lib.params import ParameterError
        from mlops_lib.record import RecordError

        try:
            return super().invoke(context)
        except (ParameterError, RecordError) as error:
            click.echo(f"mlops: {error}", err=True)
            context.exit(2)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Run parameter grids of the study's notebooks, and build the book from their records."""


def _slots(suite: str):
    from mlops_lib import run
    from mlops_lib import suite as suites

    return run.slots(suite, suites.load(suite))


@main.command()
@click.argument("suite")
@click.option("--stale", is_flag=True, help="Also repeat runs whose template has changed since.")
def run(suite: str, stale: bool) -> None:
    """Execute the runs of SUITE (a name in params/, or a YAML file) that are not recorded yet."""
    from rich.console import Console

    from mlops_lib import run as runner
    from mlops_lib.console import RunDisplay

    slots = _slots(suite)
    again = runner.UNFINISHED | ({"stale"} if stale else set())
    waiting = [slot for slot in slots if slot.status() in again]
    runner.check(slot.run for slot in waiting)
    click.echo(f"suite {suite}: {len(slots)} runs, {len(slots) - len(waiting)} already recorded")
    failures = 0
    with RunDisplay(len(waiting), Console()) as display:
        outcomes = runner.execute_all(
            waiting, again=again, on_start=display.start, on_output=display.output
        )
        for outcome in outcomes:
            display.finish(outcome)
            failures += outcome.error is not None
    if failures:
        raise click.ClickException(f"{failures} of {len(waiting)} runs failed")


@main.command()
@click.argument("suite")
def status(suite: str) -> None:
    """List the runs of SUITE: done, stale (the template has changed since), failed or missing."""
    for slot in _slots(suite):
        click.echo(f"{slot.status():8} {slot.run.template:4} {slot.title} ({slot.run.slug})")


@main.command()
@click.option("--suite", help="End with a line for each run of this suite.")
def report(suite: str | None) -> None:
    """Build the book from the records that are there; end with the path of its first page."""
    from mlops_lib import book
    from mlops_lib.console import result_line

    index = book.build(click.echo)
    for slot in _slots(suite) if suite else []:
        found = slot.read()
        click.echo(result_line(slot, found) if found else f"not run: {slot.title}")
    click.echo(f"The book: {index}")


@main.command()
@click.argument("first", type=click.Path(path_type=Path))
@click.argument("second", type=click.Path(path_type=Path))
def compare(first: Path, second: Path) -> None:
    """Show how two runs differ: notebooks or records FIRST and SECOND."""
    from mlops_lib import record, tables

    click.echo(tables.compare(record.read(first), record.read(second)).to_string())


@main.command()
@click.argument("names", nargs=-1)
def data(names: tuple[str, ...]) -> None:
    """Fetch and verify the datasets NAMES (all that the reports use, where none is named)."""
    from mlops_lib import data as datasets
    from mlops_lib.params import ParameterError, nearest

    for name in names or ("mnist", "fashion_mnist"):
        known = list(datasets.TORCHVISION_CLASS)
        if name not in known:
            raise ParameterError(
                f"dataset={name!r} is not allowed: use {', '.join(known)}{nearest(name, known)}"
            )
        paths = datasets.fetch(name, click.echo)
        click.echo(f"{name}: four files in {paths[0].parent}, as published (SHA-256)")


if __name__ == "__main__":
    sys.exit(main())

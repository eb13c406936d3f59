"""The README and the pages with commands: the commands and paths exist, the results are current."""

import re
import shlex
import subprocess
import sys
import tomllib

import click
import code_blocks
import papermill.cli
import pytest
import yaml
from click.testing import CliRunner
from distributed.cli import dask_scheduler, dask_worker
from jupyter_book.cli import main as jupyter_book

from mlops_lib import cli
from mlops_lib.params import TEMPLATES
from mlops_lib.paths import BOOK, PROJECT
from mlops_lib.publish import readme
from mlops_lib.runner import suite

README = (PROJECT / "README.md").read_text()
REPRODUCE, SCALE_OUT = ((BOOK / name).read_text() for name in ("reproduce.md", "scale_out.md"))
DECIMALS = re.compile(r"\d+\.\d{2,}")
NOTEBOOKS = re.compile(r"^    .*\.ipynb.*$", re.MULTILINE)
CODE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)  # what is run or typed, not prose
PAGES = (README, REPRODUCE, SCALE_OUT, (PROJECT / ".github" / "CONTRIBUTING.md").read_text())
LINES = list(dict.fromkeys(line for text in PAGES for line in code_blocks.lines(text)))
CLICK = {
    "mlops": cli.main,
    "jupyter-book": jupyter_book.main,
    "papermill": papermill.cli.papermill,
    "dask scheduler": dask_scheduler.main,
    "dask worker": dask_worker.main,
}


def commands(program):
    """Return the words of each command of a program, without the settings before it."""
    found = []
    for words in map(str.split, LINES):
        while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
            words = words[1:]
        if words and words[0].rpartition("/")[2] == program:
            found.append(shlex.split(" ".join([program, *words[1:]])))
    return found


def parse(words):
    """Parse a command of a click program as it would be; nothing is run."""
    words = [word for word in words if word != "&"]
    name = next(name for name in CLICK if " ".join(words).startswith(name))
    command, words = CLICK[name], words[len(name.split()) :]
    while isinstance(command, click.Group):
        command, words = command.commands[words[0]], words[1:]
    return command.make_context(name, words)


def make(target):
    """Let make say what it would do for a target."""
    command = ["make", "--no-print-directory", "-n", "-o", ".venv/ready", target]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_results_are_those_of_the_committed_records():
    assert readme.replaced(README, readme.block()) == README, "run `make readme`"


def test_only_what_stands_between_the_marks_is_replaced():
    text = f"before\n{readme.BEGIN}\nold\n{readme.END}\nafter\n"
    new = f"before\n{readme.BEGIN}\n\nnew\n\n{readme.END}\nafter\n"
    assert readme.replaced(text, "\nnew\n") == new
    for mark in (readme.BEGIN, readme.END):
        with pytest.raises(ValueError, match="needs the lines"):
            readme.replaced(text.replace(mark, ""), "new")


def test_the_places_are_there():
    (rows,) = (rows for rows in code_blocks.tables(README) if rows[0][0] == "place")
    places = [code_blocks.spans(place)[0] for place, _ in rows[1:]]
    assert len(places) == 8
    named = [span for row in rows for cell in row for span in code_blocks.spans(cell)]
    for path in filter(lambda span: "/" in span, named):
        assert list(PROJECT.glob(path)), path
    wings = [path.parent for path in (PROJECT / "mlops_lib").glob("*/__init__.py")]
    assert {f"mlops_lib/{wing.name}/" for wing in wings} < set(places)


def test_pages_that_it_links_are_there():
    for path in re.findall(r"\]\(([^)]+)\)", README):
        assert (PROJECT / path).exists(), path


def test_every_suite_is_explained():
    (rows,) = (rows for rows in code_blocks.tables(REPRODUCE) if rows[0][0] == "suite")
    assert sorted(code_blocks.spans(row[0])[0] for row in rows[1:]) == suite.names()


@pytest.mark.parametrize(
    "words",
    [words for name in ("mlops", "papermill", "dask", "jupyter-book") for words in commands(name)],
    ids=" ".join,
)
def test_a_command_and_its_options_exist(words):
    found = parse(words).params
    if found.get("suite"):
        assert found["suite"] in suite.names()
    for name, _ in found.get("parameters", ()):  # papermill -p
        assert name in TEMPLATES["q1a"].model_fields


def test_a_mistyped_command_would_be_found():
    with pytest.raises(click.NoSuchOption):
        parse(["mlops", "run", "quick", "--job", "2", "--wher", "x=y"])
    with pytest.raises(KeyError):
        parse(["mlops", "runn", "quick"])


FREE = [words for words in commands("mlops") if words[1] in ("run", "status")]


@pytest.mark.parametrize(
    "words", [words for words in FREE if "--scheduler" not in words], ids=" ".join
)
def test_what_costs_nothing_runs(words):
    dry_run = ["--dry-run"] if words[1] == "run" else []
    done = CliRunner().invoke(cli.main, [*words[1:], *dry_run])
    assert done.exit_code == 0, done.output


def test_papermill_explains_the_parameters_as_shown():
    (words,) = (words for words in commands("papermill") if "--help-notebook" in words)
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=PROJECT, capture_output=True, text=True
    )
    assert done.returncode == 0
    assert all(name in done.stdout for name in TEMPLATES["q1a"].model_fields)


def test_commands_within_sentences_exist():
    for words in map(str.split, (span for text in PAGES for span in code_blocks.spans(text))):
        if words[0] == "mlops" and len(words) > 1:
            assert words[1] in cli.main.commands
        elif words[0] == "make" and len(words) > 1:
            assert make(words[1])


@pytest.mark.parametrize("words", commands("make"), ids=" ".join)
def test_a_target_of_make_exists(words):
    assert make(words[1])


def test_make_explains_every_target():
    makefile = (PROJECT / "Makefile").read_text()
    (phony,) = re.findall(r"^\.PHONY: (.*)", makefile, re.MULTILINE)
    explained = set(re.findall(r'@echo "make ([\w-]+)', makefile))
    assert explained == set(phony.split()) - {"help", "stripped", "prose"}


def test_it_asks_for_the_python_that_the_project_asks_for():
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    low, high = re.findall(r"3\.\d+", project["requires-python"])
    newest = f"3.{int(high[2:]) - 1}"
    for text in (README, REPRODUCE):
        assert f"Python {low} to {newest}" in text


def test_a_commit_is_checked_as_by_make_lint():
    (local,) = yaml.safe_load((PROJECT / ".pre-commit-config.yaml").read_text())["repos"]
    entries = [hook["entry"] for hook in local["hooks"]]
    assert [line for line in make("lint") if line in entries] == entries


def test_no_measured_number_is_typed_into_a_page():
    for page in BOOK.glob("*.md"):
        prose = NOTEBOOKS.sub("", CODE.sub("", page.read_text()))
        assert not DECIMALS.findall(prose.replace("Python 3.11 to 3.13", "")), page.name

"""What the README says is true: its map, its commands, its figures."""

import re
import shlex
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import click
import papermill.cli
import pytest
import yaml
from click.testing import CliRunner
from distributed.cli import dask_scheduler, dask_worker
from jupyter_book.cli import main as jupyter_book

from mlops_lib import claims, cli, run, suite, tables
from mlops_lib.params import TEMPLATES
from mlops_lib.record import BOOK, PROJECT

README = (PROJECT / "README.md").read_text()
BLOCKS = [line[4:].partition(" #")[0].strip() for line in README.splitlines() if line[:4] == "    "]
CLICK = {
    "mlops": cli.main,
    "jupyter-book": jupyter_book.main,
    "papermill": papermill.cli.papermill,
    "dask scheduler": dask_scheduler.main,
    "dask worker": dask_worker.main,
}
PYPROJECT = tomllib.loads((PROJECT / "pyproject.toml").read_text())


def table(heading):
    """Return the cells of a table's rows."""
    _, rows = README.split(f"| {heading} |")[0:2]
    rows = rows.partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def shown(program):
    return [shlex.split(line) for line in BLOCKS if line.partition(" ")[0] == program]


def parse(words):
    """Parse a command of a click program as it would be; nothing is run."""
    words = [word for word in words if word != "&"]
    name = next(name for name in CLICK if " ".join(words).startswith(name))
    command, words = CLICK[name], words[len(name.split()) :]
    while isinstance(command, click.Group):
        command, words = command.commands[words[0]], words[1:]
    return command.make_context(name, words)


def test_the_map_names_every_module_in_the_order_of_imports():
    named = [re.fullmatch(r"`(\w+)\.py`", row[0])[1] for row in table("module | its one concern")]
    files = {path.stem for path in (PROJECT / "mlops_lib").glob("*.py")}
    assert set(named) == files - {"__init__", "__main__"}
    (contract,) = PYPROJECT["tool"]["importlinter"]["contracts"]
    layers = [layer.removeprefix("mlops_lib.") for layer in contract["layers"]]
    assert named == layers[:0:-1]  # all but __main__, from below


def test_every_path_of_the_map_is_there():
    for path, text in table("path | what it is"):
        for name in re.findall(r"`([^`]+/[^`]*)`", f"{path} {text}"):
            assert "<" in name or list(PROJECT.glob(name)), name
    slot = run.slots("smoke", suite.load("smoke"))[0]
    place = slot.notebook.parent.relative_to(PROJECT).as_posix()
    assert "`book/runs/<suite>/<template>/`" in README
    assert fnmatch(place, "book/runs/*/*")


def test_the_map_names_every_suite():
    (text,) = (text for path, text in table("path | what it is") if path == "`params/`")
    assert sorted(re.findall(r"`(\w+)`", text)) == suite.names()


def test_the_words_name_every_template():
    (text,) = (text for word, text in table("word | meaning") if word == "template")
    assert re.findall(r"`book/(\w+)\.ipynb`", text) == ["q1a", "q1b", "q2"]
    assert all((BOOK / f"{name}.ipynb").exists() for name in TEMPLATES)


@pytest.mark.parametrize(
    "words",
    [words for name in ("mlops", "papermill", "dask", "jupyter-book") for words in shown(name)],
    ids=" ".join,
)
def test_a_command_and_its_options_exist(words):
    found = parse(words).params
    if "suite" in found:
        assert found["suite"] in suite.names()
    for name, _ in found.get("parameters", ()):  # papermill -p
        assert name in TEMPLATES["q1a"].model_fields


def test_a_mistyped_command_would_be_found():
    with pytest.raises(click.NoSuchOption):
        parse(["mlops", "run", "quick", "--job", "2", "--wher", "x=y"])
    with pytest.raises(KeyError):
        parse(["mlops", "runn", "quick"])


@pytest.mark.parametrize(
    "words", [words for words in shown("mlops") if words[1] in ("run", "status")], ids=" ".join
)
def test_what_costs_nothing_runs(words):
    if words[1] == "run" and "--scheduler" not in words:
        words = [*words, "--dry-run"]
    if "--scheduler" not in words:
        done = CliRunner().invoke(cli.main, words[1:])
        assert done.exit_code == 0, done.output


def test_papermill_explains_the_parameters_as_shown():
    (words,) = (words for words in shown("papermill") if "--help-notebook" in words)
    words[0] = str(Path(sys.executable).with_name("papermill"))
    done = subprocess.run(words, cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0
    assert all(name in done.stdout for name in TEMPLATES["q1a"].model_fields)


def test_commands_within_sentences_exist():
    for words in map(str.split, re.findall(r"`(mlops [a-z]+)", README)):
        assert words[1] in cli.main.commands
    for target in re.findall(r"(?:`|^    )make ([a-z]+)", README, re.MULTILINE):
        done = subprocess.run(
            ["make", "-n", "-o", ".venv/ready", target], cwd=PROJECT, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr


def test_make_explains_every_target():
    makefile = (PROJECT / "Makefile").read_text()
    (phony,) = re.findall(r"^\.PHONY: (.*)", makefile, re.MULTILINE)
    explained = set(re.findall(r'@echo "make (\w+)', makefile))
    assert explained == set(phony.split()) - {"help", "stripped"}


def test_it_asks_for_the_python_that_the_project_asks_for():
    (version,) = set(re.findall(r"Python (\d\.\d+) or newer", README))
    assert PYPROJECT["project"]["requires-python"] == f">={version}"


def test_accuracies_of_committed_runs_are_those_of_their_records():
    runs = tables.load()
    records = {(run["title"], tables.accuracy_text(run)) for run in runs.to_dict("records")}
    lines = re.findall(r"^    (.*): test accuracy (.*) %$", README, re.MULTILINE)
    assert lines
    assert set(lines) <= records


def test_accuracies_of_suite_quick_are_of_its_runs_and_have_their_interval():
    titles = {tables.run_title(r.parameters.model_dump()) for r in suite.load("quick")}
    lines = re.findall(r"^    (.*): test accuracy (([\d.]+) \(.*\)) %, ", README, re.MULTILINE)
    assert lines
    for title, printed, accuracy in lines:
        assert title in titles
        right = round(float(accuracy) * 140)  # of 14,000, give or take one
        assert printed in [interval(right + more) for more in (-1, 0, 1)]


def interval(right):
    matrix = [[right, 14_000 - right], [0, 0]]
    return tables.accuracy_text({"test_accuracy": right / 14_000, "confusion_matrix": matrix})


def test_the_verdicts_counted_are_those_of_the_claims():
    words = " ".join(README.split())
    (said,) = re.findall(
        r"Of the (\d+) published claims, (\d+) hold in the tables of the report that makes them, "
        r"(\d+) are mixed there and (\d+) can't be read from them",
        words,
    )
    judged = claims.judge(tables.load())
    own = judged[judged["source"] == "Report " + judged["id"].str[0]]["verdict"].tolist()
    counts = [own.count(verdict) for verdict in ("holds", "mixed", "not measured")]
    assert list(map(int, said)) == [len(claims.CLAIMS), *counts]
    assert "does not hold" not in own


def test_the_verdicts_of_our_runs_are_those_of_the_claims():
    words = " ".join(README.split())
    (said,) = re.findall(r"Our runs judge (\d+) so far: (.+?) hold, (.+?) are mixed\.", words)
    judged = claims.judge(tables.load())
    ours = judged[(judged["source"] == "Our runs") & (judged["verdict"] != "not measured")]
    ids = {verdict: rows["id"].tolist() for verdict, rows in ours.groupby("verdict")}
    assert int(said[0]) == len(ours)
    named = (re.findall(r"[AB]\d+", text) for text in said[1:])
    assert dict(zip(("holds", "mixed"), named, strict=True)) == ids
    assert "1e-4, which report A finds better, is behind 1e-3 in 7 of 8 pairs" in words
    assert "consistently more accurate, is ahead of SGD in 7 of 8" in words
    says = judged[judged["source"] == "Our runs"].set_index("id")["says"]
    counts = {
        name: re.search(r"ahead in (\d+) of (\d+) pairs", says[name]) for name in ("A1", "A2")
    }
    assert counts["A1"].groups() == ("7", "8")
    assert counts["A2"].groups() == ("1", "8") and "behind in 7;" in says["A2"]
    (said,) = re.findall(r"behind in all three seeds, by ([\d.]+) to ([\d.]+) points", words)
    pair = {"dataset": "mnist", "model": "resnet18", "batch_size": 32, "lr": 1e-3, "epochs": 5}
    sgd, adam = (
        tables.trained(tables.load(), optimizer=name, **pair).set_index("seed")["test_accuracy"]
        for name in ("sgd", "adam")
    )
    behind = 100 * (sgd - adam)
    assert (len(behind), f"{behind.min():.2f}", f"{behind.max():.2f}") == (3, *said)


def test_a_commit_is_checked_as_by_make_lint():
    (local,) = yaml.safe_load((PROJECT / ".pre-commit-config.yaml").read_text())["repos"]
    command = ["make", "--no-print-directory", "-n", "-o", ".venv/ready", "lint"]
    lint = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    entries = [hook["entry"] for hook in local["hooks"]]
    assert lint.stdout.splitlines()[: len(entries)] == entries

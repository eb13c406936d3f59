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

from mlops_lib import beyond, claims, cli, headlines, run, sources, suite, tables
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
    lines = re.findall(r"^\| \[(.*)\]\((book/runs/.*)\.ipynb\) \| (.*) % \|$", README, re.MULTILINE)
    assert lines
    runs = tables.load().set_index("page")
    for title, path, accuracy in lines:
        run = runs.loc[path.removeprefix("book/runs/")]
        assert (run["title"], tables.accuracy_text(run)) == (title, accuracy)
    shown = {accuracy.split()[0] for *_, accuracy in lines}
    (text,) = re.findall(r"^- \*\*Q1\(a\)\*\*.*?^- \*\*Q2", README, re.MULTILINE | re.DOTALL)
    here = set(re.findall(r"\d\d\.\d\d", text))
    told = tables.published("q1b").query("kernel == 'rbf'").groupby("dataset")["accuracy_pct"].max()
    finding = headlines.q1a(tables.load()).data
    over_seeds = set(re.findall(r"by their mean: (\d\d\.\d\d)", finding))
    over_seeds |= {f"{100 * of.mean():.2f}" for of in of_each_seed(tables.load(), batch_size=16)}
    assert (printed := {f"{best:.2f}" for best in told}) <= here <= shown | printed | over_seeds
    tied = re.findall(r"within chance of it: (.*?)\. (?:Of|Run)", finding)
    assert len(tied) == 2 and "0.0001" not in "".join(tied)
    assert "none of those with the rate 1e-4" in text


def test_what_is_said_of_a_gpu_is_measured():
    runs = tables.load()
    ratios = tables.gpu_ratios(sources.ours(runs).q2).groupby("input_size")["ratio"]
    ends = [
        f"{end:.0f}" for size in (28, 224) for end in ratios.get_group(size).agg(["min", "max"])
    ]
    words = " ".join(README.split())
    assert re.findall(
        r"trains (\d+) to (\d+) .*? at 28x28 .*?, (\d+) to (\d+) times at", words
    ) == [tuple(ends)]
    assert f"{ends[0]} to {ends[-1]} times, an H200" in words
    for report in "AB":
        published = tables.gpu_ratios(sources.report(report).q2)["ratio"]
        assert f"{published.min():.1f} to {published.max():.1f}" in words
    both = beyond.devices(runs)
    assert (
        f"{(both['beyond_chance'] == 0).sum()} of {len(both)} trainings of ResNet-50 end within"
        in words
    )
    assert both["configuration"].str.contains("ResNet-50").all()
    apart = both[both["beyond_chance"] != 0]["difference"]
    assert apart.max() < 0 and round(apart.min(), 1) == -0.5


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
    (own,) = re.findall(
        r"Of the (\d+) published claims, (\d+) hold in the tables of the report that makes them, "
        r"(\d+) is mixed there, (\d+) does not hold and (\d+) can't be read from them",
        words,
    )
    (ours,) = re.findall(
        r"Our runs judge all (\d+): (\d+) hold, (\d+) are mixed, (\d+) do(?:es)? not", words
    )
    judged = claims.judge(tables.load())
    sides = (
        (own, len(claims.CLAIMS), judged[judged["source"] == "Report " + judged["id"].str[0]]),
        (ours, len(table("claim | | our runs | what they show")), of_our_runs(judged)),
    )
    for said, total, rows in sides:
        found = rows["verdict"].tolist()
        verdicts = ("holds", "mixed", "does not hold", "not measured")
        counts = [total, *map(found.count, verdicts)]
        assert list(map(int, said)) == counts[: len(said)]


def of_our_runs(judged):
    return judged[(judged["source"] == "Our runs") & (judged["verdict"] != "not measured")]


def of_each_seed(runs, batch_size):
    """Return the accuracies of ResNet-18 on MNIST at 1e-3 by seed, with SGD and with Adam."""
    pair = {"dataset": "mnist", "model": "resnet18", "lr": 1e-3, "epochs": 5}
    return (
        tables.fullest(tables.trained(runs, optimizer=name, batch_size=batch_size, **pair))[
            "test_accuracy"
        ].to_numpy()
        for name in ("sgd", "adam")
    )


def test_the_verdicts_of_our_runs_are_those_of_the_claims():
    judged = of_our_runs(claims.judge(tables.load())).set_index("id")
    rows = {name: rest for name, *rest in table("claim | | our runs | what they show")}
    assert list(rows) == judged.index.tolist()
    for name, (text, verdict, shown) in rows.items():
        assert (text, verdict) == (judged.loc[name, "claim"], judged.loc[name, "verdict"])
        for counts in re.findall(r"\d+ of \d+", shown):
            assert f"{counts} pairs" in judged.loc[name, "says"], (name, counts)
    assert "behind in 15" in judged.loc["A2", "says"]
    assert "(none beyond chance)" in judged.loc["B3", "says"]
    of_svms, behind = re.fullmatch(
        r"(of .* behind), (\d+) of them ResNet-50; the best .* by half a point or more",
        rows["A6"][2],
    ).groups()
    says = judged.loc["A6", "says"]
    assert of_svms in says
    assert sum(map(int, re.findall(r"(\d+) of \w+ with ResNet-50", says))) == int(behind)
    tops = re.findall(r"the best ResNet on \w+ \+(\d\.\d+) points from that SVM, beyond", says)
    assert len(tops) == 2 and min(map(float, tops)) >= 0.5
    falls = sources.ours(tables.load()).q1a.query("optimizer == 'adam'").nlargest(3, "wobble_pct")
    assert falls["wobble_pct"].round().tolist() == [3, 2, 0]
    assert falls["lr"].tolist()[:2] == [1e-3] * 2
    (said,) = re.findall(r"in all three seeds, by ([\d.]+) to ([\d.]+) points", rows["A1"][2])
    sgd, adam = of_each_seed(tables.load(), batch_size=32)
    behind = 100 * (sgd - adam)
    assert (len(behind), f"{behind.min():.2f}", f"{behind.max():.2f}") == (3, *said)


def test_what_other_seeds_change_is_measured():
    words, runs = " ".join(README.split()), tables.load()
    ((turned, total),) = re.findall(r"(\d+) of (\d+) pairs of settings change sides", words)
    pairs = beyond.pairs_by_seed(runs)
    said = beyond.pairs_by_seed_in_brief(pairs).data
    assert (
        f"Of {total} pairs" in said
        and f"disagree in {turned} (of MNIST); in {turned} of these" in said
    )
    there = pairs[pairs["both"].str.startswith("FashionMNIST")]
    assert f"In all {len(there) // 3} of FashionMNIST every seed" in words
    assert (there["difference"] * there["beyond_chance"] > 0).all()  # beyond chance in every seed
    assert there.groupby(["compared", "both"])["beyond_chance"].nunique().eq(1).all()
    (best,) = re.findall(r"the best on MNIST is SGD at 1e-3 with batch 16 \(([\d.]+) %;", words)
    found, fashion = re.findall(r"best by their mean: (.*?)\. Run with", headlines.q1a(runs).data)
    assert "ResNet-18, Adam 0.001, batch 32; the seeds tell 3 of the 3" in fashion
    assert found.startswith(best) and "ResNet-18, SGD 0.001, batch 16; the seeds tell" in found
    ((told, others),) = re.findall(r"tell only (\d+) of the (\d+) other settings", words)
    assert f"tell {told} of the {others} others" in found
    sgd, adam = of_each_seed(runs, batch_size=16)
    assert (adam > sgd).tolist() == [True, False, False]  # at batch 16, of A1
    adams = pairs[pairs["compared"] == "Adam over SGD"]
    at_16 = adams[adams["both"] == "MNIST, ResNet-18, rate 0.001, batch 16"].sort_values("seed")
    assert at_16["beyond_chance"].tolist() == [0, -1, -1]


def test_that_rounding_turns_a_first_epoch_is_measured():
    assert "with other rounding one of the 6 turns" in README  # of B1
    runs = tables.select(
        tables.load(), dataset="fashion_mnist", model="resnet50", device="cpu", input_size=28,
        lr=1e-3, batch_size=16,
    )  # fmt: skip
    runs["first"] = [epochs[0]["val_accuracy"] for epochs in runs["history"]]
    first = runs.pivot_table("first", ["template", "threads"], "optimizer")
    assert first["sgd"].gt(first["adam"]).to_dict() == {("q1a", 1): True, ("q2", 2): False}


def test_a_commit_is_checked_as_by_make_lint():
    (local,) = yaml.safe_load((PROJECT / ".pre-commit-config.yaml").read_text())["repos"]
    command = ["make", "--no-print-directory", "-n", "-o", ".venv/ready", "lint"]
    lint = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    entries = [hook["entry"] for hook in local["hooks"]]
    assert lint.stdout.splitlines()[: len(entries)] == entries

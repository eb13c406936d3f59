"""What the README says is true: its map, its commands, its figures."""

import re
import shlex
import subprocess
import sys
import tomllib
from datetime import datetime
from fnmatch import fnmatch
from pathlib import Path

import click
import papermill.cli
import pytest
import yaml
from click.testing import CliRunner
from distributed.cli import dask_scheduler, dask_worker
from jupyter_book.cli import main as jupyter_book

from mlops_lib import cli, record, tables
from mlops_lib.params import TEMPLATES
from mlops_lib.paths import BOOK, PROJECT
from mlops_lib.runner import execute as run
from mlops_lib.runner import suite
from mlops_lib.study import claims, q1a, seeds, selection, sources
from mlops_lib.study.pairs import find, gpu_ratios
from mlops_lib.study.protocol import published

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


@pytest.fixture(scope="module")
def runs():
    return tables.all_runs()


@pytest.fixture(scope="module")
def judged(runs):
    return claims.judge(runs)


@pytest.fixture(scope="module")
def pairs(runs):
    return seeds.repeated_pairs(runs)


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
    slot = run.slots("smoke", suite.read("smoke"))[0]
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


def test_accuracies_of_committed_runs_are_those_of_their_records(runs):
    lines = re.findall(r"^\| \[(.*)\]\((book/runs/.*)\.ipynb\) \| (.*) % \|$", README, re.MULTILINE)
    assert lines
    by_page = runs.set_index("page")
    for title, path, accuracy in lines:
        run = by_page.loc[path.removeprefix("book/runs/")]
        assert (run["title"], tables.accuracy_text(run)) == (title, accuracy)
    shown = {accuracy.split()[0] for *_, accuracy in lines}
    (text,) = re.findall(r"^- \*\*Q1\(a\)\*\*.*?^- \*\*Q2", README, re.MULTILINE | re.DOTALL)
    here = set(re.findall(r"\d\d\.\d\d", text))
    told = published("q1b").groupby(["kernel", "dataset"])["accuracy_pct"].max()
    told = [*told["rbf"], told["poly", "mnist"]]
    over_seeds = set(re.findall(r", best: (\d\d\.\d\d)", q1a.finding(runs).data))
    assert (printed := {f"{best:.2f}" for best in told}) <= here <= shown | printed | over_seeds


def test_what_is_said_of_a_gpu_is_measured(runs):
    ratios = gpu_ratios(sources.ours(runs).q2).groupby("input_size")["ratio"]
    ends = [
        f"{end:.0f}" for size in (28, 224) for end in ratios.get_group(size).agg(["min", "max"])
    ]
    words = " ".join(README.split())
    assert re.findall(
        r"trains (\d+) to (\d+) .*? at 28x28 .*?, (\d+) to (\d+) times at", words
    ) == [tuple(ends)]
    assert f"{ends[0]} to {ends[-1]} times, an H200" in words
    for report in "AB":
        printed = gpu_ratios(sources.report(report).q2)["ratio"]
        assert f"{printed.min():.1f} to {printed.max():.1f}" in words
    both = seeds.devices(runs)
    lowest, highest = both["difference"].agg(["min", "max"])
    equal = (both["significantly_ahead"] == 0).sum()
    assert (
        f"Of the {len(both)} trainings of Q1(a) with seed 0 on both, "
        f"{equal} end within chance of each other, the GPU's from "
        f"{-lowest:.1f} point lower to {highest:.1f} higher" in words
    )


def test_how_long_the_grid_took_on_a_gpu_is_recorded():
    ((minutes, seconds),) = re.findall(
        r"the 32 runs of Q1\(a\) took (\d) min (\d+) s on an H200", " ".join(README.split())
    )
    made = [record.read(path) for path in (BOOK / "runs/full/q1a").glob("*-cuda-*.json")]
    begun = [datetime.fromisoformat(run.started_at).timestamp() for run in made]
    ended = [start + run.duration_seconds for start, run in zip(begun, made, strict=True)]
    assert len(made) == 32
    start_of_the_runner = 60 * int(minutes) + int(seconds) - (max(ended) - min(begun))
    assert 0 < start_of_the_runner < 30


def test_accuracies_of_suite_quick_are_of_its_runs_and_have_their_interval():
    titles = {tables.run_title(r.parameters.model_dump()) for r in suite.read("quick")}
    lines = re.findall(r"^    (.*): test accuracy (([\d.]+) \(.*\)) %, ", README, re.MULTILINE)
    assert lines
    for title, printed, accuracy in lines:
        assert title in titles
        right = round(float(accuracy) * 140)  # of 14,000, give or take one
        assert printed in [interval(right + more) for more in (-1, 0, 1)]


def interval(right):
    matrix = [[right, 14_000 - right], [0, 0]]
    return tables.accuracy_text({"test_accuracy": right / 14_000, "confusion_matrix": matrix})


def test_the_verdicts_counted_are_those_of_the_claims(judged):
    words = " ".join(README.split())
    (own,) = re.findall(
        r"Of the (\d+) published claims, (\d+) hold in the tables of the report that makes them, "
        r"(\d+) is mixed there, (\d+) does not hold and (\d+) can't be read from them",
        words,
    )
    (ours,) = re.findall(
        r"Our runs judge all (\d+): (\d+) hold, (\d+) are mixed, (\d+) do(?:es)? not", words
    )
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


def test_the_verdicts_of_our_runs_are_those_of_the_claims(runs, judged):
    judged = of_our_runs(judged).set_index("id")
    rows = {name: rest for name, *rest in table("claim | | our runs | what they show")}
    assert list(rows) == judged.index.tolist()
    for name, (text, verdict, shown) in rows.items():
        assert (text, verdict) == (judged.loc[name, "claim"], judged.loc[name, "verdict"])
        for counts in re.findall(r"\d+ of \d+", shown):
            assert f"{counts} pairs" in judged.loc[name, "says"], (name, counts)
    assert "behind in 14" in judged.loc["A2", "says"]
    for name, beyond_chance in (("A1", 3), ("B3", 2)):
        assert f"behind in 3 ({beyond_chance} beyond chance)" in judged.loc[name, "says"]
        assert re.search(rf"behind (?:in|beyond chance in) {beyond_chance}\b", rows[name][2])
    of_svms, behind = re.match(
        r"(of .* behind), (\d+) of them ResNet-50 .*; the best .* by half a point or more$",
        rows["A6"][2],
    ).groups()
    says = judged.loc["A6", "says"]
    assert of_svms in says
    assert sum(map(int, re.findall(r"(\d+) of \w+ with ResNet-50", says))) == int(behind)
    tops = re.findall(r"the best ResNet on \w+ \+(\d\.\d+) points from that SVM, beyond", says)
    assert len(tops) == 2 and min(map(float, tops)) >= 0.5
    falls = sources.ours(runs).q1a.query("optimizer == 'adam'")
    falls = falls.pivot_table("val_accuracy_drop_pct", ["model", "dataset", "batch_size"], "lr")
    (little, most) = re.search(
        r"at most ([\d.]+) points; .* up to ([\d.]+) points", rows["B2"][2]
    ).groups()
    assert f"{(falls[1e-3] - falls[1e-4]).loc['resnet18'].abs().max():.2f}" == little
    assert f"{falls.max().max():.1f}" == most == f"{falls.loc['resnet50', 1e-3].max():.1f}"


def test_where_pairs_of_a_claim_are_behind_is_measured(runs):
    whole = selection.complete(sources.ours(runs).q1a)
    kept = ["dataset", "model", "lr", "optimizer", "batch_size"]
    behind = {}
    for setting, first, second in (("optimizer", "adam", "sgd"), ("batch_size", 16, 32)):
        pairs = find(whole, setting, first, second, "accuracy_pct")
        pairs = pairs.sort_values("difference")
        behind[setting] = pairs[[name for name in kept if name != setting]]
    of_adam = behind["optimizer"].head(3)  # A1
    assert set(of_adam["dataset"]) == {"mnist"} and set(of_adam["lr"]) == {1e-3}
    batches = of_adam.groupby("model")["batch_size"].agg(set)
    assert batches.to_dict() == {"resnet18": {16}, "resnet50": {16, 32}}
    of_small = behind["batch_size"].head(2)  # B3
    assert of_small[["model", "optimizer", "lr"]].drop_duplicates().values.tolist() == [
        ["resnet18", "adam", 1e-3]
    ]


def test_what_comes_out_again_is_measured(runs, pairs):
    words = " ".join(README.split())
    again = claims.by_repetition(runs)
    assert list(again.columns[1:]) == ["GPU, seed 0", "GPU, seed 1", "CPU, seed 0"]
    unlike = again[again.iloc[:, 1:].nunique(axis=1) > 1]
    assert (
        f"{len(again) - len(unlike)} of {len(again)} claims about its accuracies get the same "
        f"verdict every time; {', '.join(unlike.index[:-1])} and {unlike.index[-1]} do not" in words
    )
    said = {name: row.tolist()[1:] for name, row in unlike.iterrows()}
    assert said == {
        "B1": ["mixed", "does not hold", "mixed"],
        "B2": ["holds", "holds", "does not hold"],
        "B3": ["mixed", "does not hold", "mixed"],
    }
    brief = seeds.repeated_pairs_in_brief(pairs).data
    ((same, total, mnist, others),) = re.findall(
        r"(\d+) of (\d+) pairs of settings have the same side ahead every time; "
        r"(\d+) of the (\d+)",
        words,
    )
    assert f"Of {total} pairs" in brief and f"every time in {same}" in brief
    assert f"In {others} it changes" in brief and f"{mnist} of MNIST" in brief
    deeper = pairs[pairs["compared"].str.startswith("ResNet-50")]
    assert (deeper["difference"] > 0).sum() == 1  # "with one seed in one of them it was ahead"


def test_the_best_resnets_are_measured(runs, pairs):
    words, finding = " ".join(README.split()), q1a.finding(runs).data
    mnist, fashion = finding.split("\n")
    assert re.findall(r"within chance of it: (.*?)\. Of", mnist) == [
        "ResNet-18, Adam 0.001, batch 32"
    ]
    assert "within chance" not in fashion
    for dataset, setting in ((mnist, "SGD 0.001, batch 16"), (fashion, "Adam 0.001, batch 32")):
        assert re.search(rf", best: [^:]*: \w+, ResNet-18, {setting} \(mean of 2 seeds\)", dataset)
        assert re.search(rf"by their mean: [^:]*: \w+, ResNet-18, {setting};", dataset)
    told = re.findall(r"the seeds tell (\d) of the (\d) others", finding)
    (mnist, others), (fashion, _) = told
    assert f"only {mnist} (MNIST) and {fashion} (FashionMNIST) of the {others} other" in words
    on_cpu, on_gpu = (
        pairs.query("run == @run").set_index(["compared", "both"])
        for run in ("CPU, seed 0", "GPU, seed 0")
    )
    turned = "batch 16 over batch 32", "MNIST, ResNet-18, Adam, rate 0.001"  # of B3
    assert on_cpu.loc[turned, "significantly_ahead"] == 1 and on_gpu.loc[turned, "difference"] < 0


def test_a_commit_is_checked_as_by_make_lint():
    (local,) = yaml.safe_load((PROJECT / ".pre-commit-config.yaml").read_text())["repos"]
    command = ["make", "--no-print-directory", "-n", "-o", ".venv/ready", "lint"]
    lint = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    entries = [hook["entry"] for hook in local["hooks"]]
    assert lint.stdout.splitlines()[: len(entries)] == entries

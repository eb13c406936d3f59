import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest
from click.testing import CliRunner
from PIL import Image

from mlops_lib import downloads, machine, paths
from mlops_lib.cli import main
from mlops_lib.publish import build
from mlops_lib.runner import suite
from mlops_lib.runner.slot import find_slots


@pytest.fixture
def mlops():
    return lambda *words: CliRunner().invoke(main, words)


@pytest.fixture
def smoke_in_place(smoke, monkeypatch):
    """Make the executed smoke runs those of the project."""
    monkeypatch.setenv("MLOPS_RUNS", str(smoke[0].slot.folder.parent))


def test_help_lists_the_commands(mlops):
    text = mlops("--help").output
    assert all(word in text for word in ("run", "status", "report", "compare", "data"))


def test_a_mistake_is_one_line_and_a_bad_exit_code(mlops):
    for words, says in [
        (("run", "quik"), "did you mean 'quick'"),
        (("status", "quik"), "did you mean 'quick'"),
        (("data", "mnist", "mnits"), "did you mean 'mnist'"),  # before anything is fetched
        (("run", "smoke", "--scheduler", ""), "scheduler='' is not allowed"),
        (("report", "--pdf", "no/folder/x.pdf"), "no/folder is not a folder"),
        (("report", "--pdf", "x.pdf", "--suite", "quik"), "did you mean 'quick'"),
        (("compare", "a.ipynb", "b.ipynb"), "a.ipynb can't be read"),
    ]:
        done = mlops(*words)
        assert done.exit_code == 2
        assert done.stderr.startswith("mlops: ")
        assert says in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_a_report_on_paper_ends_with_the_lines_of_its_suite_too(
    mlops, smoke_in_place, tmp_path, monkeypatch
):
    monkeypatch.setattr(build, "pdf", lambda target, say: [])
    done = mlops("report", "--pdf", str(tmp_path / "x.pdf"), "--suite", "smoke")
    assert done.exit_code == 0
    assert "test accuracy" in done.output and "x.pdf" in done.output.splitlines()[-1]


def test_a_place_that_can_not_be_written_to_is_named(mlops, smoke, smoke_in_place, tmp_path):
    (tmp_path / "file").touch()
    record = str(smoke[0].slot.record)
    for words in (
        ("export", str(tmp_path / "none" / "x.csv")),
        ("compare", record, record, "--html", str(tmp_path / "file" / "x.html")),
    ):
        done = mlops(*words)
        assert done.exit_code == 2
        assert done.stderr.startswith("mlops: ") and str(tmp_path) in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_a_tilde_is_the_home_folder_in_every_path(
    mlops, smoke, smoke_in_place, tmp_path, monkeypatch
):
    monkeypatch.setenv("HOME", str(tmp_path))
    for file in (paths.SUITES / "smoke.yaml", smoke[0].slot.record):
        shutil.copy(file, tmp_path)
    first = f"~/{smoke[0].slot.record.name}"
    for words in (
        ("export", "~/x.csv"),
        ("compare", first, first, "--html=~/x.html"),
        ("status", "~/smoke.yaml"),
    ):
        assert mlops(*words).exit_code == 0
    assert (tmp_path / "x.csv").exists() and (tmp_path / "x.html").exists()


def test_a_working_directory_that_is_gone_is_named(mlops, tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    done = mlops("run", "smoke", "--dry-run")
    assert done.exit_code == 2 and "mlops: the working directory is gone" in done.stderr


def test_done_runs_are_repeated_where_asked_for(mlops, smoke_in_place):
    assert "0 to run" in mlops("run", "smoke", "--dry-run").output
    plan = mlops("run", "smoke", "--dry-run", "--again", "--where", "kernel=rbf").output
    assert "1 to run" in plan and "suite smoke: 1 of 5 runs, 1 already recorded" in plan


def test_a_missing_record_is_rewritten(mlops, executed, tmp_path, monkeypatch):
    monkeypatch.setenv("MLOPS_RUNS", str(tmp_path))
    done, made = executed["q1b"]
    (slot,) = [s for s in find_slots("smoke", suite.read("smoke")) if s.run == done.run]
    slot.notebook.parent.mkdir(parents=True)
    shutil.copy(done.notebook, slot.notebook)
    words = ("run", "smoke", "--only", f"q1b/{slot.run.slug}")
    assert "1 to run" in mlops(*words, "--dry-run").output
    said = mlops(*words).output
    assert f"{slot.record} was missing: rewritten from its notebook" in said
    assert "1 of 5 runs, 1 already recorded" in said
    assert slot.read().results == made.results


def test_runs_that_need_another_device_are_counted(mlops, tmp_path, monkeypatch):
    file = tmp_path / "mine.yaml"
    shutil.copy(paths.SUITES / "smoke.yaml", file)
    grid = "  - {template: q2, fixed: {device: cuda}, grid: {seed: [1, 2]}, requires: cuda}\n"
    file.write_text(file.read_text().rstrip() + "\n" + grid)
    for present, count in ((False, 1), (True, 0)):
        monkeypatch.setattr(machine, "cuda_is_present", lambda present=present: present)
        for words in (("run", str(file), "--dry-run"), ("status", str(file))):
            said = mlops(*words).output
            assert said.count("2 more need a CUDA device; this machine has none\n") == count
    monkeypatch.setattr(machine, "cuda_is_present", lambda: False)
    monkeypatch.setenv("MLOPS_RUNS", str(tmp_path / "runs"))
    (slot, _) = find_slots(str(file), suite.read(str(file), anywhere=True))[-2:]
    slot.notebook.parent.mkdir(parents=True)
    slot.notebook.write_text("{}")  # it failed elsewhere
    *_, failed, _, command, left_out = mlops("status", str(file)).output.splitlines()
    assert failed.startswith("failed") and slot.label in failed
    assert left_out.startswith("1 more")
    refused = mlops(*shlex.split(command)[1:])
    assert "device='cuda' is not allowed: this machine has no CUDA device" in refused.stderr


def test_a_folder_of_pictures_is_a_dataset(mlops, tmp_path, monkeypatch):
    monkeypatch.setenv("MLOPS_DATA", str(tmp_path))
    monkeypatch.setattr(downloads, "OWN_DATASETS", ["shades"])
    for name in ("black/a", "white/b", "white/c"):
        path = tmp_path / "shades" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (28, 28), path.parent.name).save(path)
    done = mlops("data", "shades")
    assert done.output == f"shades: 3 pictures of 2 classes in {tmp_path / 'shades'}\n"
    (tmp_path / "shades" / "white" / "c.png").write_text("no picture")
    assert "should hold pictures by class" in mlops("data", "shades").stderr


def test_it_is_also_a_module():
    done = subprocess.run(
        [sys.executable, "-m", "mlops_lib", "--help"], capture_output=True, text=True
    )
    assert done.returncode == 0
    assert "compare" in done.stdout


def test_help_imports_nothing_slow():
    code = (
        "import sys; from mlops_lib import cli; "
        "slow = {'torch', 'pandas', 'papermill', 'sklearn', 'numpy'} & set(sys.modules); "
        "sys.exit(str(slow) if slow else 0)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_nothing_to_do_is_said(mlops, smoke_in_place):
    done = mlops("run", "smoke")
    assert done.exit_code == 0
    assert "5 runs, 5 already recorded" in done.output


def test_status_lists_every_run(mlops, smoke_in_place):
    lines = mlops("status", "smoke").output.splitlines()
    assert len(lines) == 5
    assert all(line.startswith("done") for line in lines)


def test_the_command_that_repeats_a_failed_run_works(mlops, tmp_path, monkeypatch):
    monkeypatch.setenv("MLOPS_RUNS", str(tmp_path / "runs"))
    (tmp_path / "my suites").mkdir()
    file = tmp_path / "my suites" / "mine.yaml"
    shutil.copy(paths.SUITES / "smoke.yaml", file)
    for asked in ("smoke", str(file)):
        slot = find_slots(asked, suite.read(asked))[0]
        slot.notebook.parent.mkdir(parents=True)
        slot.notebook.write_text("{}")
        command = mlops("status", asked).output.splitlines()[2]
        words = shlex.split(command)
        assert words[:3] == ["mlops", "run", asked]
        assert mlops(*words[1:], "--dry-run").output.endswith("1 to run, and 1 of unknown length\n")


def test_a_dry_run_says_what_would_run_and_why(mlops, smoke_in_place):
    done = mlops("run", "smoke", "--dry-run")
    assert done.exit_code == 0
    assert done.output.count("skipped") == 5
    again = mlops("run", "smoke", "--dry-run", "--where", "optimizer=sgd")
    assert again.output.count("skipped") == 1
    for jobs, ending in (("1", ""), ("2", " one at a time")):
        of_all = mlops("run", "smoke", "--dry-run", "--again", "--jobs", jobs)
        assert re.search(rf", about [\d.]+ (s|min){ending}\n$", of_all.output)
    wrong = mlops("run", "smoke", "--where", "optimizer=x")
    assert wrong.exit_code == 2


def test_runs_are_exported_as_tables(mlops, smoke_in_place, tmp_path):
    import pandas as pd

    for name, read in (("runs.csv", pd.read_csv), ("runs.parquet", pd.read_parquet)):
        assert mlops("export", str(tmp_path / name)).exit_code == 0
        table = read(tmp_path / name)
        assert len(table) == 5
        assert table["test_accuracy"].between(0, 1).all()
    assert mlops("export", str(tmp_path / "runs.xls")).exit_code == 2


def test_only_a_run_that_is_there(mlops, smoke, smoke_in_place):
    name = f"q1a/{smoke[0].slot.run.slug}"
    assert mlops("run", "smoke", "--dry-run", "--only", name).output.count("skipped") == 1
    wrong = mlops("run", "smoke", "--only", f"{name}x")
    assert wrong.exit_code == 2
    assert f"did you mean '{name}'" in wrong.stderr


def test_compare_shows_what_differs(mlops, smoke):
    adam, sgd = (outcome.slot for outcome in smoke[:2])
    text = mlops("compare", str(adam.notebook), str(sgd.record)).output
    assert "parameters.optimizer" in text
    assert "parameters.lr" not in text


def test_compare_writes_a_page(mlops, smoke, tmp_path):
    adam, sgd = (str(outcome.slot.record) for outcome in smoke[:2])
    file = tmp_path / "new" / "both.html"
    done = mlops("compare", adam, sgd, "--html", str(file))
    assert done.output == f"{file} written\n"
    assert "parameters.optimizer" in file.read_text()
    link, pipe = tmp_path / "link.html", tmp_path / "pipe"
    link.symlink_to(file)
    os.mkfifo(pipe)
    reader = subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE, text=True)
    for path in (link, pipe):
        assert mlops("compare", adam, adam, "--html", str(path)).exit_code == 0
    assert link.is_symlink() and "parameters.optimizer" not in file.read_text()
    assert pipe.is_fifo() and reader.communicate()[0] == file.read_text()


def test_a_timeout_is_a_number(mlops):
    done = mlops("run", "smoke", "--timeout", "nan", "--dry-run")
    assert done.exit_code == 2
    assert "nan is not in the range" in done.output


def test_what_an_export_leaves_out_is_named(mlops, smoke, tmp_path, monkeypatch):
    monkeypatch.setenv("MLOPS_RUNS", str(tmp_path))
    bad = tmp_path / "smoke" / "q1a" / "bad.json"
    bad.parent.mkdir(parents=True)
    shutil.copy(smoke[0].slot.record, bad.with_name("good.json"))
    bad.write_text("{")
    done = mlops("export", str(tmp_path / "runs.csv"))
    assert done.exit_code == 1
    assert done.stdout.startswith("1 runs written to ")
    assert done.stderr.count(str(bad)) == 1 and "Warning" not in done.stderr


def test_an_interrupt_is_one_line(mlops, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(suite, "read", interrupt)
    for words in (("status", "smoke"), ("report", "--suite", "smoke"), ("run", "smoke")):
        done = mlops(*words)
        assert (done.exit_code, done.stderr) == (130, "mlops: interrupted\n")

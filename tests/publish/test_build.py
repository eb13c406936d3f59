"""The built book, without any run and with the smoke runs: no warning, every page there.

What goes wrong in a build is tried on a book of one page.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml

from mlops_lib import checkpoint, paths
from mlops_lib.params import ParameterError
from mlops_lib.publish import build

CONFIG = """
title: One page
only_build_toc_files: true
execute: {execute_notebooks: force}
sphinx:
  local_extensions: {mlops_lib.publish.extension: .}
"""
PAGE = """---
kernelspec: {display_name: Python 3, language: python, name: python3}
jupytext:
  text_representation: {extension: .md, format_name: myst}
---
# One page

```{code-cell} ipython3
import os, sys, time
print("executed by", os.path.realpath(sys.prefix))
%s
```
"""
REPORT = """
import signal, sys
from pathlib import Path
from mlops_lib import cli, paths
signal.signal(signal.SIGINT, signal.default_int_handler)
paths.BOOK = Path(sys.argv[1])
cli.main(["report"])
"""
KERNEL = {"argv": ["false", "{connection_file}"], "display_name": "x", "language": "python"}


def one_page(project, code):
    """Write a book of one page that executes code; return what environment builds it.

    The user has a kernel of the same name, which can't execute anything, and settings of IPython.
    """
    for name, text in {
        "book/_config.yml": CONFIG,
        "book/_toc.yml": "format: jb-book\nroot: index\n",
        "book/index.md": PAGE % code,
        "jupyter/kernels/python3/kernel.json": json.dumps(KERNEL),
        "ipython/profile_default/startup/x.py": "import time; time = None",
        "tmp/x": "",
    }.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text)
    folders = {"JUPYTER_PATH": "jupyter", "IPYTHONDIR": "ipython", "TMPDIR": "tmp"}
    folders |= {"MLOPS_RUNS": "runs", "MLOPS_BUILD": "book"}
    return os.environ | {name: str(project / folder) for name, folder in folders.items()}


def report(project, code):
    """Start `mlops report` for a book of one page."""
    return subprocess.Popen(
        [sys.executable, "-c", REPORT, str(project / "book")], env=one_page(project, code),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def empty(tmp_path_factory, build_book):
    return build_book(tmp_path_factory.mktemp("empty"))


def test_a_fresh_clone_builds_and_says_not_run(empty):
    for page in ("intro", "tables", "all_runs"):
        text = (empty / f"{page}.html").read_text()
        assert "not run" in text, page
        assert "Traceback" not in text
        assert ">nan<" not in text.lower()


def test_every_run_has_a_page_that_is_linked(filled, smoke):
    listed = (filled / "all_runs.html").read_text()
    for outcome in smoke:
        page = f"runs/smoke/{outcome.slot.run.template}/{outcome.slot.run.slug}.html"
        assert (filled / page).exists()
        assert f'<td><a href="{page}">' in listed
        text = (filled / page).read_text()
        assert "Traceback" not in text
        pictures = re.findall(r'<img alt="([^"]*)" [^>]*src="[./]*_images/', text)
        assert len(pictures) == (0 if outcome.slot.run.template == "q2" else 4)
        assert all(len(words) > 20 for words in pictures)


def test_numbers_come_from_the_records(filled, smoke):
    accuracy = smoke[0].record.results["test_accuracy"]
    assert f"{100 * accuracy:.2f} (" in (filled / "all_runs.html").read_text()
    methods = (filled / "methods.html").read_text()
    for number in ("0.033", "0.078", "1.819", "4.109", "6.95", "5.51"):
        assert number in methods


def test_references_are_all_cited(filled):
    text = (filled / "references.html").read_text()
    for author in ("He,", "LeCun", "Xiao", "Kingma", "Micikevicius", "Cortes", "Chang", "Wilson"):
        assert author in text


def test_a_build_that_fails_is_said_with_its_first_error(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "BOOK", tmp_path)
    monkeypatch.setenv("MLOPS_BUILD", str(tmp_path))
    (tmp_path / "_toc.yml").write_text("../_toc.yml")
    with pytest.raises(build.BuildError, match=r"could not be built: .*malformed") as caught:
        build.build(lambda line: None)
    assert len(str(caught.value).splitlines()) == 1
    assert "Traceback" in (tmp_path / "_build" / "build.log").read_text()


def test_pages_are_executed_by_the_kernel_of_this_environment(tmp_path):
    command = [Path(sys.executable).with_name("jupyter-book"), "build", tmp_path / "book"]
    done = subprocess.run(
        command, env=one_page(tmp_path, "time.time()"), capture_output=True, text=True
    )
    assert done.returncode == 0 and "WARNING" not in done.stderr
    page = (tmp_path / "book" / "_build" / "html" / "index.html").read_text()
    assert f"executed by {os.path.realpath(sys.prefix)}" in page


@pytest.mark.parametrize(
    ("code", "says", "is_built"),
    [
        ("raise ValueError('a\\nb')", "index: ValueError: a", True),
        ("os._exit(3)", "index: DeadKernelError: Kernel died", False),
    ],
)
def test_a_page_whose_code_fails_is_named(tmp_path, code, says, is_built):
    done = report(tmp_path, code)
    said, errors = done.communicate()
    assert done.returncode == 1
    assert says in errors and len(errors.splitlines()) == 1
    assert "WARNING" not in said
    assert ("The book: " in said) == is_built
    assert os.listdir(tmp_path / "tmp") == ["x"]


def test_what_builds_the_book_ends_with_the_report(tmp_path):
    code = "print(open('pid', 'w').write(str(os.getpid())), flush=True); time.sleep(100)"
    expected = {signal.SIGINT: 130, signal.SIGKILL: -9}  # `test_ending` has the others
    reports = {number: report(tmp_path / str(int(number)), code) for number in expected}
    for number, started in reports.items():
        pid = tmp_path / str(int(number)) / "book" / "pid"
        while not (pid.exists() and pid.read_text()):
            assert started.poll() is None
            time.sleep(0.1)
        children = psutil.Process(started.pid).children(recursive=True)
        assert int(pid.read_text()) in [child.pid for child in children]
        started.send_signal(number)
        _, errors = started.communicate(timeout=10)
        assert started.returncode == expected[number]
        assert errors.splitlines() == ["mlops: interrupted"] * (number != signal.SIGKILL)
        assert not psutil.wait_procs(children, timeout=10)[1]
        assert os.listdir(tmp_path / str(int(number)) / "tmp") == ["x"]


def test_a_log_in_another_encoding_and_with_colours_is_read(tmp_path, monkeypatch):
    page, program = tmp_path / "index.html", tmp_path / "build_process.py"
    program.write_text(
        "import sys; sys.stdout.buffer.write(b'\\033[31mWARNING: caf\\351\\033[0m\\n'); "
        f"open({str(page)!r}, 'w')"
    )
    monkeypatch.setattr(build.build_process, "__file__", str(program))
    monkeypatch.setenv("MLOPS_BUILD", str(tmp_path))
    said = []
    assert build._jupyter_book(said.append, page) == []
    assert said == ["WARNING: caf\N{REPLACEMENT CHARACTER}"]
    assert said == (tmp_path / "_build" / "build.log").read_text().splitlines()


def test_a_place_where_nothing_can_be_built_is_named_with_its_cure(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("MLOPS_BUILD", str(tmp_path / "file"))
    with pytest.raises(ParameterError, match=r"can't be built in \S+file/_build: .*MLOPS_BUILD"):
        build.build(lambda line: None)


@pytest.mark.parametrize("refused", [False, True])
def test_where_a_pdf_can_not_be_written_is_said_before_the_book_is_built(
    tmp_path, monkeypatch, refused
):
    def refuse(path, *_):
        raise PermissionError(13, "Permission denied", path)

    def print_nothing(say, page, *_):
        if refused:
            raise AssertionError("built in vain")
        page.with_name("book.pdf").parent.mkdir(parents=True)

    chromium = tmp_path / "chromium"
    chromium.write_text('#!/bin/sh\nfor word; do case $word in --print-to-pdf=*) '
                        'echo pdf > "${word#*=}";; esac; done\n')  # fmt: skip
    chromium.chmod(0o755)
    monkeypatch.setattr(build, "browser", lambda: str(chromium))
    monkeypatch.setattr(build, "_jupyter_book", print_nothing)
    target = tmp_path / "book.pdf"
    target.touch(mode=0o600)
    if refused:
        monkeypatch.setattr(checkpoint.os, "open", refuse)
        with pytest.raises(PermissionError, match=re.escape(str(target))):
            build.pdf(target, print)
    else:
        build.pdf(target, print)
        assert target.read_text() == "pdf\n" and target.stat().st_mode & 0o777 == 0o600


def test_without_a_browser_a_pdf_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "BROWSERS", ())
    with pytest.raises(ParameterError, match="no browser"):
        build.pdf(tmp_path / "book.pdf", print)


def test_the_repository_is_one_setting():
    config = yaml.safe_load((paths.BOOK / "_config.yml").read_text())
    assert config["repository"]["url"] in (paths.BOOK / "reproduce.md").read_text()

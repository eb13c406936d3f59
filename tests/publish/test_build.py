"""The built book, without any run and with the smoke runs: no warning, every page there."""

import re
from types import SimpleNamespace

import pytest
import yaml

from mlops_lib import checkpoint, paths
from mlops_lib.publish import build


@pytest.fixture(scope="module")
def empty(tmp_path_factory, build_book):
    return build_book(tmp_path_factory.mktemp("empty"))


def test_a_fresh_clone_builds_and_says_not_run(empty):
    for page in ("intro", "results_q1a", "results_q1b", "results_q2", "all_runs"):
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


def test_a_build_that_fails_is_said_with_the_log(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "BOOK", tmp_path)
    monkeypatch.setenv("MLOPS_BUILD", str(tmp_path))
    with pytest.raises(build.BuildError, match=r"could not be built"):
        build.build(lambda line: None)


def test_a_log_in_another_encoding_and_with_colours_is_read(tmp_path, monkeypatch):
    program = tmp_path / "jupyter-book"
    program.write_bytes(b"#!/bin/sh\nprintf '\\033[31mWARNING: caf\\351\\033[0m\\n'\n")
    program.chmod(0o755)
    monkeypatch.setattr(build, "sys", SimpleNamespace(executable=str(tmp_path / "python")))
    monkeypatch.setenv("MLOPS_BUILD", str(tmp_path))
    said = []
    build._jupyter_book(said.append, program)
    assert said == ["WARNING: caf\N{REPLACEMENT CHARACTER}"]
    assert said == (tmp_path / "_build" / "build.log").read_text().splitlines()


def test_a_place_where_nothing_can_be_built_is_named_with_its_cure(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("MLOPS_BUILD", str(tmp_path / "file"))
    with pytest.raises(build.BuildError, match=r"can't be built in \S+file/_build: .*MLOPS_BUILD"):
        build.build(lambda line: None)


def test_the_pdf_leaves_out_the_pages_of_single_runs():
    toc = build._without_runs((paths.PROJECT / "_toc.yml").read_text())
    assert "glob" not in toc
    assert "results_q1a" in toc


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
    with pytest.raises(build.BuildError, match="no browser"):
        build.pdf(tmp_path / "book.pdf", print)


def test_the_repository_is_one_setting():
    config = yaml.safe_load((paths.PROJECT / "_config.yml").read_text())
    assert config["repository"]["url"] in (paths.BOOK / "reproduce.md").read_text()

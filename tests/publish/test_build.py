"""The built book, without any run and with the smoke runs: no warning, every page there."""

import re
from types import SimpleNamespace

import pytest
import yaml

from mlops_lib import paths
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
    monkeypatch.setattr(build, "BOOK", tmp_path)
    monkeypatch.setattr(build, "INDEX", tmp_path / "index.html")
    monkeypatch.setattr(build, "LOG", tmp_path / "build.log")
    with pytest.raises(build.BuildError, match=r"could not be built"):
        build.build(lambda line: None)


def test_a_log_in_another_encoding_and_with_colours_is_read(tmp_path, monkeypatch):
    program = tmp_path / "jupyter-book"
    program.write_bytes(b"#!/bin/sh\nprintf '\\033[31mWARNING: caf\\351\\033[0m\\n'\n")
    program.chmod(0o755)
    monkeypatch.setattr(build, "sys", SimpleNamespace(executable=str(tmp_path / "python")))
    monkeypatch.setattr(build, "LOG", tmp_path / "build.log")
    said = []
    build._jupyter_book(said.append, program)
    assert said == ["WARNING: caf\N{REPLACEMENT CHARACTER}"]


def test_the_pdf_leaves_out_the_pages_of_single_runs():
    toc = build._without_runs((paths.PROJECT / "_toc.yml").read_text())
    assert "glob" not in toc
    assert "results_q1a" in toc


def test_without_a_browser_a_pdf_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "BROWSERS", ())
    with pytest.raises(build.BuildError, match="no browser"):
        build.pdf(tmp_path / "book.pdf", print)


def test_the_repository_is_one_setting():
    config = yaml.safe_load((paths.PROJECT / "_config.yml").read_text())
    assert config["repository"]["url"] in (paths.BOOK / "reproduce.md").read_text()

import os
import re
import subprocess

import pytest

from mlops_lib import paths, provenance, record


def test_the_commit_is_that_of_the_code(tmp_path, monkeypatch):
    def git(*words):
        identity = ("-c", "user.name=test", "-c", "user.email=test@localhost")
        subprocess.run(["git", *identity, *words], cwd=tmp_path, check=True, capture_output=True)

    def commit():
        return provenance.commit.__wrapped__()  # not what was kept of the call before

    monkeypatch.setattr(paths, "PROJECT", tmp_path)
    assert commit() is None
    git("init", "-q")
    assert commit() is None
    written = ("book/runs/run.json", "book/benchmarks.json")
    for name in ("code.py", *written):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("a")
    git("add", ".")
    git("commit", "-qm", "first")
    first = commit()
    assert re.fullmatch("[0-9a-f]{12}", first)
    with monkeypatch.context() as elsewhere:  # unpacked within another project's repository
        elsewhere.setattr(paths, "PROJECT", tmp_path / "unpacked")
        (tmp_path / "unpacked").mkdir()
        (tmp_path / "unpacked" / "code.py").write_text("a")
        assert commit() is None
    for name in written:
        (tmp_path / name).write_text("b")
    assert commit() == first
    (tmp_path / "code.py").write_text("b")
    assert commit() == f"{first}+"


def test_why_git_can_not_read_a_checkout_is_said_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(paths, "PROJECT", tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path.parent))  # nothing is safe by the user's settings
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    (tmp_path / "code.py").touch()
    subprocess.run(["git", "add", "."], cwd=tmp_path, check=True)
    index = tmp_path / ".git" / "index"
    index.write_bytes(b"DIRX" + index.read_bytes()[4:])
    provenance.commit.cache_clear()
    assert [provenance.commit(), provenance.commit()] == [None, None]
    assert capsys.readouterr().err.count("index file corrupt") == 1
    provenance.commit.cache_clear()
    if os.geteuid() == 0:
        for path in (tmp_path, tmp_path / ".git"):
            os.chown(path, 4321, 4321)
        assert [provenance.commit(), provenance.commit()] == [None, None]
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and f"safe.directory {tmp_path}" in said
    monkeypatch.setenv("PATH", str(tmp_path))  # where there is no git
    provenance.commit.cache_clear()
    assert provenance.commit() is None
    assert capsys.readouterr().err == ""
    provenance.commit.cache_clear()


def test_a_commit_made_meanwhile_is_not_that_of_a_run(monkeypatch):
    provenance.commit()
    monkeypatch.setattr(provenance.subprocess, "run", None)
    assert record.environment()["commit"] == provenance.commit()


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Return an empty project, of which nothing is kept from call to call."""
    monkeypatch.setattr(paths, "PROJECT", tmp_path)
    (tmp_path / "mlops_lib" / "fast").mkdir(parents=True)
    (tmp_path / "mlops_lib" / "study").mkdir()
    for kept in (provenance.library_sha256, provenance.locked):
        monkeypatch.setattr(provenance, kept.__name__, kept.__wrapped__)
    return tmp_path


def test_the_library_is_what_templates_import(project):
    (project / "mlops_lib" / "train.py").write_text("a")
    first = provenance.library_sha256()
    (project / "mlops_lib" / "study" / "claims.py").write_text("a")
    assert provenance.library_sha256() == first
    (project / "mlops_lib" / "fast" / "adam.py").write_text("a")
    assert provenance.library_sha256() != first


def test_a_library_that_is_not_stated_has_not_changed(project):
    assert not provenance.library_has_changed({})
    assert not provenance.library_has_changed({"library_sha256": provenance.library_sha256()})
    assert provenance.library_has_changed({"library_sha256": "0" * 64})


def test_versions_are_held_against_the_lock(project):
    ran = {"torch": "2.11.0+cu130", "torchvision": "0.30.0", "scikit-learn": None}
    assert provenance.other_versions(ran) == {}  # there is no lock
    lock = "torch==2.15.0 \\\n    --hash=sha256:0\ntorchvision==0.30.0 ; a\nscikit-learn==1.9.0\n"
    (project / "requirements.txt").write_text(lock)
    assert provenance.other_versions(ran) == {"torch": "2.11.0+cu130"}
    assert provenance.other_versions({"torch": "2.15.0+cpu"}) == {}


def test_a_run_on_a_gpu_names_its_driver(tmp_path, monkeypatch):
    said = tmp_path / "version"
    said.write_text(
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  575.57.08  Sat May 24\nGCC 12.3"
    )
    monkeypatch.setattr(provenance, "DRIVER", said)
    assert provenance.software("cuda")["driver"] == "575.57.08"
    assert "driver" not in provenance.software()

"""The settings of git that `make` includes: notebooks, with the environment and without it."""

import shutil
import subprocess
import sys

import pytest

from mlops_lib.paths import PROJECT


@pytest.mark.parametrize("environment", [True, False])
def test_notebooks_are_shown_and_stripped_where_the_environment_is(tmp_path, environment):
    def git(*words):
        identity = ("-c", "user.name=test", "-c", "user.email=test@localhost")
        done = subprocess.run(
            ["git", *identity, *words], cwd=tmp_path, check=True, capture_output=True, text=True
        )
        assert done.stderr == ""
        return done.stdout

    for name in (".gitattributes", ".gitconfig"):
        shutil.copy(PROJECT / name, tmp_path)
    if environment:
        (tmp_path / ".venv").symlink_to(sys.prefix)
    executed = next((PROJECT / "book" / "runs").glob("*/q1b/*.ipynb"))
    template, run = tmp_path / "book" / "q1b.ipynb", tmp_path / "book/runs/any/q1b/a.ipynb"
    for path in (template, run):
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(executed, path)
    git("init", "-q")
    git("config", "include.path", "../.gitconfig")
    git("add", "book")
    git("commit", "-qm", "first")
    assert ("image/png" in git("show", ":book/q1b.ipynb")) != environment
    assert git("diff") == ""
    run.write_text(run.read_text().replace('"# ', '"# numbers: ', 1))
    shown = git("diff")
    assert "+" in shown and "# numbers: " in shown and ("nbdiff" in shown) == environment

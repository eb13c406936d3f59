"""A template in JupyterLab: one value changed, all cells run, saved; git sees the value alone."""

import contextlib
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest
from playwright.sync_api import expect

from mlops_lib.paths import PROJECT

# On a machine with much else to do:
START, PAGE, RUN = 180, 180_000, 300_000  # s, ms, ms
END = 5  # s


def git(project, *words):
    command = ["git", "-c", "user.name=test", "-c", "user.email=test@localhost", *words]
    return subprocess.run(command, cwd=project, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Copy the working tree into a git checkout of its own, set up as `make` does."""
    copy = tmp_path_factory.mktemp("project")
    listed = git(PROJECT, "ls-files", "--cached", "--others", "--exclude-standard")
    for name in listed.splitlines():
        if os.path.lexists(PROJECT / name):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(PROJECT / name, copy / name, follow_symlinks=False)
    git(copy, "init", "-q")
    (copy / ".git" / "info" / "exclude").write_text("/.venv\n")
    (copy / ".venv").symlink_to(sys.prefix)
    git(copy, "config", "include.path", "../.gitconfig")
    git(copy, "add", ".")
    git(copy, "commit", "-qm", "copy")
    return copy


@pytest.fixture(scope="module")
def lab(project, tmp_path_factory):
    """Start `make lab`; return the address of its JupyterLab, token included."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex()
    home = tmp_path_factory.mktemp("home")
    options = f"--no-browser --ServerApp.port={port} --IdentityProvider.token={token}"
    environment = {
        "HOME": str(home), "PYTHONPATH": str(project), "JUPYTER_PLATFORM_DIRS": "0",
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
    }  # fmt: skip
    with open(home / "log", "w") as log:
        server = subprocess.Popen(
            ["make", "-o", ".venv/ready", "lab", f"LAB={options}"], cwd=project,
            env=os.environ | environment, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        wait_for(f"http://127.0.0.1:{port}/api/status?token={token}", server, home / "log")
        yield lambda page: f"http://127.0.0.1:{port}/lab/tree/{page}?token={token}"
    finally:
        # With notebooks open, JupyterLab may ignore SIGTERM (issue 10442 of jupyterlab/jupyterlab);
        # its kernels end when it does.
        os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(END)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def wait_for(address, server, log):
    for _ in range(10 * START):
        with contextlib.suppress(OSError), urllib.request.urlopen(address):
            return
        assert server.poll() is None, log.read_text()
        time.sleep(0.1)
    raise AssertionError(log.read_text())


@pytest.fixture(scope="module")
def page(browser, lab):
    page = browser.new_page(viewport={"width": 1200, "height": 1000})
    page.set_default_timeout(PAGE)
    return page


def kernel(page, status):
    name = re.compile(rf"Python 3 \(ipykernel\) \| ({status})")
    return page.get_by_role("button", name=name)


def test_git_sees_the_changed_value_alone(project, lab, page):
    page.goto(lab("book/q1a.ipynb"))
    # Before that, JupyterLab runs nothing. Where its first message overtakes the subscription to
    # the kernel's status it says Unknown until a cell runs.
    expect(kernel(page, "Idle|Unknown")).to_be_visible(timeout=PAGE)
    page.get_by_text('"mnist"').dblclick()  # selects the word
    page.keyboard.type("digits")
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    expect(page.get_by_text("[1]:")).to_be_visible(timeout=PAGE)
    expect(page.get_by_text(re.compile(r"test accuracy \d"))).to_be_visible(timeout=RUN)
    expect(kernel(page, "Idle")).to_be_visible(timeout=PAGE)
    page.keyboard.press("Control+s")
    notebook = project / "book" / "q1a.ipynb"
    end = time.monotonic() + START
    while not re.search(r"test accuracy \d", notebook.read_text()):
        assert time.monotonic() < end, "not saved"
        time.sleep(0.1)
    diff = git(project, "diff", "--unified=0").splitlines()
    assert [line for line in diff if re.match(r"[-+](?![-+])", line)] == [
        r'-    "dataset: str = \"mnist\"  # or fashion_mnist, kmnist, digits (8x8)\n",',
        r'+    "dataset: str = \"digits\"  # or fashion_mnist, kmnist, digits (8x8)\n",',
    ]


def test_a_page_of_the_book_opens_as_a_notebook(lab, page):
    page.goto(lab("book"))
    page.locator(".jp-DirListing-item", has_text="claims.md").dblclick()
    cells = page.locator(".jp-NotebookPanel:visible .jp-CodeCell")
    expect(cells.first).to_contain_text("verdict_file.of_records(", timeout=PAGE)

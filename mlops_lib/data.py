"""Datasets: load images and labels, split them, take some, turn them into features."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from mlops_lib import downloads, paths
from mlops_lib.downloads import DataError, local
from mlops_lib.messages import MAX_REASONS
from mlops_lib.params import MIN_TRAIN_SIZE, ParameterError, Q1a, Q1b

# In the training part of `split`, where it is known before loading.
TRAINING_IMAGES = dict.fromkeys(downloads.TORCHVISION_CLASS, 49_000) | {"digits": 1257}
VALIDATED = 6  # the last of so many parts of a published training part is for validation

MAX_CLASSES = 10  # the networks' outputs
ADDED_BY_SYSTEMS = ("__macosx", "thumbs.db", "desktop.ini")  # besides names that begin with a dot

CLASS_NAMES = {
    "fashion_mnist": (
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
        "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    ),
    "kmnist": ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
}  # fmt: skip


def class_names(name: str) -> tuple[str, ...]:
    """Return the ten class names of a dataset; a digit is its own name.

    Classes of pictures are named after their folders; if there are fewer than ten, the other
    classes hold no image.
    """
    found = tuple(path.name for path in picture_folders(name))
    return CLASS_NAMES.get(name, found + tuple("0123456789")[len(found) :])


def load(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Load a dataset with its published training and test images pooled; fetch it if absent.

    A user's own dataset is a folder of its name: with four IDX files, or with pictures in a
    subfolder for each class.
    Returns images, uint8 (N, 28, 28), and labels, int64 (N,).
    Raises DataError if the dataset can't be fetched, a file fails verification, or the images
    can't be told apart: they are of one class, or all of one shade.
    """
    if name == "digits":
        return _digits()
    if picture_folders(name):
        return _learnable(name, *_read_pictures(name))
    files = downloads.fetch(name)
    images, labels = zip(_read_part(*files[:2]), _read_part(*files[2:]), strict=True)
    return _learnable(name, np.concatenate(images), np.concatenate(labels).astype(np.int64))


def rows(p: Q1a | Q1b, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return which images a run trains on, validates on and tests, as its parameters ask.

    `labels`, int (N,), are those of `load(p.dataset)`. Returns three sorted index arrays.
    Raises ParameterError for a published split of a dataset that has none, and as `subset` does.
    """
    seed = p.seed
    if isinstance(p, Q1a) and p.split_seed is not None:
        seed = p.split_seed
    parts = published_split(p.dataset) if p.split == "published" else split(labels, seed)
    train, val, test = parts
    if isinstance(p, Q1a):
        return subset(train, labels, p.train_size, seed), val, test
    if p.train_on_validation:
        train = np.sort(np.concatenate([train, val]))
    sizes = {"train_size": p.train_size, "test_size": p.test_size}
    train, test = (
        _first(part, size, name) if p.subset == "first" else subset(part, labels, size, seed, name)
        for part, (name, size) in zip((train, test), sizes.items(), strict=True)
    )
    return train, val, test


def _first(part: np.ndarray, size: int | None, name: str) -> np.ndarray:
    if size and size > len(part):
        raise ParameterError(
            f"{name}={size} is not allowed: that part of the split holds {len(part)} images"
        )
    return part[:size]


def published_split(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Split a dataset as it was published: its own test part, its training part's last sixth.

    Returns three ascending index arrays: 50,000, 10,000 and 10,000 images of MNIST.
    Raises ParameterError if the dataset has no test part of its own.
    """
    if name == "digits" or picture_folders(name):
        raise ParameterError(
            f"split='published' is not allowed: dataset={name!r} has no test part of its own; "
            "use 'pooled'"
        )
    training, test = (len(_read_idx(path)) for path in downloads.fetch(name)[1::2])
    train, val = np.split(np.arange(training), [training - training // VALIDATED])
    return train, val, np.arange(training, training + test)


def split(labels: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Split into 70 % training, 10 % validation and 20 % test, the same share of every class.

    `labels` is int (N,). Returns three sorted index arrays, together a permutation of N.
    Raises DataError if a class has too few images, ParameterError for a negative seed.
    """
    from sklearn.model_selection import train_test_split

    if not 0 <= seed < 2**32:
        raise ParameterError(f"seed={seed} is not allowed: use 0 to {2**32 - 1}")
    try:
        rest, test = train_test_split(
            np.arange(len(labels)), test_size=0.2, stratify=labels, random_state=seed
        )
        train, val = train_test_split(
            rest, test_size=0.125, stratify=labels[rest], random_state=seed
        )
    except ValueError as error:
        raise DataError(f"the images can't be split by class, there are too few: {error}") from None
    return np.sort(train), np.sort(val), np.sort(test)


def subset(
    part: np.ndarray, labels: np.ndarray, size: int | None, seed: int, name: str = "train_size"
) -> np.ndarray:
    """Return `size` of a part's indices, the same share of every class; None: all.

    `part` is int (n,), rows of `labels`, int (N,); the result, int (size,), is sorted; `name` is
    the parameter that asks for it.
    Raises ParameterError if the part holds fewer images, or if fewer than one a class would be
    left out, and DataError if a class has a single image.
    """
    from sklearn.model_selection import train_test_split

    if size is None or size == len(part):
        return part
    _require_fair_size(name, size, len(part), len(np.unique(labels)))
    try:
        chosen, _ = train_test_split(
            part, train_size=size, stratify=labels[part], random_state=seed
        )
    except ValueError as error:
        raise DataError(
            f"{name}={size} images can't be chosen by class, there are too few: {error}"
        ) from None
    return np.sort(chosen)


def require_size(name: str, train_size: int | None) -> None:
    """Raise ParameterError if a dataset's pooled split is known to hold too few training images."""
    held = TRAINING_IMAGES.get(name)
    if train_size and held:
        _require_fair_size("train_size", train_size, held, len(class_names(name)))


def require_classes(name: str) -> None:
    """Raise DataError if a user's dataset of pictures has too few classes or too many."""
    if (count := len(picture_folders(name))) not in (0, *range(2, MAX_CLASSES + 1)):
        raise DataError(
            f"{paths.data() / name} should hold 2 to {MAX_CLASSES} classes, a folder of pictures "
            f"for each, not {count}"
        )


def _require_fair_size(name: str, size: int, held: int, classes: int) -> None:
    most = held - classes
    if size > held or most < size < held:
        some = f" or at most {most}" if most >= MIN_TRAIN_SIZE else ""
        part = "training" if name == "train_size" else "test"
        raise ParameterError(
            f"{name}={size} is not allowed: the {part} split holds {held} images, of which "
            f"all (None){some} can be taken, to be fair to {classes} classes"
        )


def features(images: np.ndarray) -> np.ndarray:
    """Return images, uint8 (N, H, W), as the rows of a matrix, float32 (N, H * W) in 0..1."""
    return images.reshape(len(images), -1).astype(np.float32) / 255


def picture_folders(name: str) -> list[Path]:
    """Return the folder of each class of a user's dataset of pictures; none for other datasets."""
    if name not in downloads.OWN_DATASETS or local(name):
        return []
    found = (path for path in (paths.data() / name).glob("*") if path.is_dir())
    return sorted(path for path in found if not _is_hidden(path.name))


def _is_hidden(name: str) -> bool:
    """Return whether a file or folder is one that systems and editors add to a user's own."""
    return name.startswith(".") or name.lower() in ADDED_BY_SYSTEMS


def _learnable(name: str, images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a dataset; raise DataError where there is nothing to tell apart, or nothing to see."""
    if labels.min() == labels.max():
        raise DataError(f"dataset={name!r} should have images of two classes at least, not of one")
    if images.min() == images.max():
        raise DataError(
            f"dataset={name!r} should have images that differ: each pixel of all is {images.min()}"
        )
    return images, labels


def _read_idx(path: Path) -> np.ndarray:
    """Read an IDX file of unsigned bytes: two zero bytes, type 8, rank, big-endian sizes."""
    content = downloads.content(path)
    rank = content[3] if content[:3] == b"\0\0\x08" and len(content) > 3 else 0
    header = 4 + 4 * rank
    shape = np.frombuffer(content[4:header], ">u4").tolist() if len(content) >= header else []
    size = header + math.prod(shape)
    if not 1 <= rank <= 3 or len(shape) != rank or not header < len(content) == size:
        raise DataError(f"{path} is not an IDX file of unsigned bytes")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def _read_part(images_path: Path, labels_path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read images, uint8 (N, 28, 28), and their labels, uint8 (N,)."""
    images, labels = _read_idx(images_path), _read_idx(labels_path)
    if images.shape != (len(labels), 28, 28) or labels.ndim != 1 or labels.max(initial=0) > 9:
        raise DataError(
            f"{images_path} and {labels_path.name} should hold 28x28 images, and for each a label "
            "from 0 to 9"
        )
    return images, labels


def _digits() -> tuple[np.ndarray, np.ndarray]:
    """Return scikit-learn's 1,797 8x8 digits: every pixel 3x3, a border of 2, 0..255."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    large = np.kron(bunch.images * 255 / 16, np.ones((1, 3, 3)))
    images = np.pad(large, ((0, 0), (2, 2), (2, 2))).round().astype(np.uint8)
    return images, bunch.target.astype(np.int64)


def _read_pictures(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Read pictures from a folder for each class: as grey on white, scaled to 28x28.

    What systems and editors add is left out.
    """
    from torchvision.datasets.folder import make_dataset

    require_classes(name)
    directory = paths.data() / name

    def is_shown(path: str) -> bool:
        return not any(map(_is_hidden, Path(path).relative_to(directory).parts))

    classes = {folder.name: label for label, folder in enumerate(picture_folders(name))}
    try:
        found = make_dataset(str(directory), classes, is_valid_file=is_shown)
        images = _read_all([path for path, _ in found])
    except (OSError, ValueError) as error:
        raise DataError(f"{directory} should hold pictures by class: {error}") from None
    return images, np.array([label for _, label in found], dtype=np.int64)


def _read_all(files: list[str]) -> np.ndarray:
    """Read pictures, uint8 (N, 28, 28); raise ValueError, which names the first bad ones."""
    images, problems = [], []
    for path in files:
        try:
            images.append(_grey(path))
        except Exception as error:  # Pillow's decoders raise many kinds
            problems.append(f"{path}: {error}")
    if problems:
        more = len(problems) - MAX_REASONS
        raise ValueError("; ".join(problems[:MAX_REASONS]) + (f"; and {more} more" * (more > 0)))
    return np.stack(images)


def _grey(path: str) -> np.ndarray:
    """Read a picture, of an animation the first, upright: uint8 (28, 28), grey on white."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path) as file:
            picture: Image.Image = ImageOps.exif_transpose(file)
    except UnidentifiedImageError:
        raise ValueError("not a picture of a kind that can be read: convert or remove it") from None
    if picture.mode.startswith(("I", "F")):
        raise ValueError("more than 8 bits a pixel: convert it to 8")
    if picture.has_transparency_data:
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture.convert("RGBA"))
    return np.asarray(picture.convert("L").resize((28, 28)))

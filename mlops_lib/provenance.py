"""Of which software a run is: the project's commit, its library, the installed packages.

What a record says of this, and what is so today, may differ: `drift` says in what.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

from mlops_lib import paths

PACKAGES = ("torch", "torchvision", "scikit-learn")  # that results may depend on
WRITTEN = (":!book/runs", ":!book/benchmarks.json")  # by runs and benchmarks: no code
DRIVER = Path("/proc/driver/nvidia/version")


def software(device: str = "cpu") -> dict[str, Any]:
    """Return the versions and hashes that a record's environment holds."""
    return {
        **{package: metadata.version(package) for package in PACKAGES},
        "commit": commit(),
        "library_sha256": library_sha256(),
        "packages_sha256": packages_sha256(),
        **(_cuda() if device == "cuda" else {}),
    }


def _cuda() -> dict[str, Any]:
    import torch

    said = DRIVER.read_text() if DRIVER.exists() else ""
    driver = re.search(r"\b\d+\.\d+(\.\d+)?\b", said)
    cudnn = torch.backends.cudnn.version()
    return {
        "cuda": torch.version.cuda,
        "cudnn": str(cudnn) if cudnn else None,
        "driver": driver[0] if driver else None,
    }


@lru_cache
def library_sha256() -> str:
    """Hash the modules that templates import, and what those need: the library and `fast/`."""
    folder = paths.PROJECT / "mlops_lib"
    files = sorted([*folder.glob("*.py"), *folder.glob("fast/*.py")])
    found = hashlib.sha256()
    for file in files:
        found.update(f"{file.relative_to(folder)}\0".encode() + file.read_bytes())
    return found.hexdigest()


@lru_cache
def packages_sha256() -> str:
    """Hash the names and versions of all installed packages, as their folders have them."""
    folders = (Path(folder) for folder in dict.fromkeys(sys.path) if folder)
    names = {found.name.lower() for folder in folders for found in folder.glob("*.dist-info")}
    return hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()


@lru_cache
def locked() -> dict[str, str]:
    """Return the locked versions of `PACKAGES`; of those that the lock file lacks, none."""
    lock = paths.PROJECT / "requirements.txt"
    text = lock.read_text("utf-8") if lock.exists() else ""
    pinned = dict(re.findall(r"^([\w.-]+)==([^\s;\\]+)", text, re.MULTILINE))
    return {package: pinned[package] for package in PACKAGES if package in pinned}


def other_versions(environment: dict[str, Any]) -> dict[str, str]:
    """Return the versions in a record's environment that are not the locked ones, by package.

    A build's label (2.15.0+cpu) makes no other version.
    """
    stated = {name: environment[name] for name in PACKAGES if environment.get(name)}
    return {
        name: version
        for name, version in stated.items()
        if version.partition("+")[0] != locked().get(name, version).partition("+")[0]
    }


def library_has_changed(environment: dict[str, Any]) -> bool:
    """Return whether a record says of which library it is, and that is not today's."""
    then = environment.get("library_sha256")
    return then is not None and then != library_sha256()


@lru_cache
def commit() -> str | None:
    """Return the commit of the project when this was first asked; None outside git.

    A `+` follows it where files differ, other than those that runs and benchmarks write. It is
    read when the code is imported: a run of hours is of that code, whatever is committed later.
    Where git can't read the checkout, as that of another user, its reason is printed once.
    """
    folders = (paths.PROJECT, *paths.PROJECT.parents)
    if not any(os.path.exists(folder / ".git") for folder in folders):
        return None
    try:
        tracked = _git("ls-files", "--", ".")
        head = _git("rev-parse", "--verify", "--quiet", "--short=12", "HEAD")
        changes = _git("status", "--porcelain", "--untracked-files=no", "--", ".", *WRITTEN)
    except OSError:  # there is no git
        return None
    except subprocess.SubprocessError as error:
        said = getattr(error, "stderr", None) or str(error)
        print(f"records will name no commit: {' '.join(said.split())}", file=sys.stderr)
        return None
    if not head or not tracked:  # this folder lies in the repository of something else
        return None
    return head + ("+" if changes else "")


def _git(*words: str) -> str:
    """Return what git prints in the project's folder; raise SubprocessError where it complains."""
    command = ["git", "--no-optional-locks", *words]
    done = subprocess.run(
        command, cwd=paths.PROJECT, capture_output=True, encoding="utf-8", errors="replace",
        timeout=10,
    )  # fmt: skip
    if done.stderr:
        done.check_returncode()
    return done.stdout.strip()

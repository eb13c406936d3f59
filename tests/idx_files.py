"""IDX files for tests: a tiny dataset, and damaged files."""

import gzip
import hashlib
import itertools
import struct

import numpy as np
from hypothesis import strategies as st

from mlops_lib import downloads


def idx(array):
    """Return an array of unsigned bytes as the content of an IDX file."""
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


ARRAYS = [
    np.arange(n * 784, dtype=np.uint32).astype(np.uint8).reshape(n, 28, 28)
    if kind == "images" else np.arange(n, dtype=np.uint8)
    for n, kind in itertools.product((3, 2), ("images", "labels"))
]  # fmt: skip
CONTENTS = [idx(array) for array in ARRAYS]


@st.composite
def damaged(draw, content):
    """Draw bytes cut, lengthened, with flipped bits or with other sizes in their header."""
    how = draw(st.sampled_from(["cut", "lengthen", "flip", "header", "sizes", "replace"]))
    if how == "cut":
        return content[: draw(st.integers(0, len(content)))]
    if how == "lengthen":
        return content + draw(st.binary(max_size=9))
    if how == "sizes":
        return struct.pack(
            ">HBB4I",
            0,
            8,
            4,
            *draw(st.lists(st.sampled_from([0, 1, 2**16, 2**31]), min_size=4, max_size=4)),
        )
    if how == "replace":
        return draw(st.binary(max_size=40) | st.just(gzip.compress(content)))
    raw = bytearray(content)
    for _ in range(draw(st.integers(1, 3))):
        bit = draw(st.integers(0, 8 * (16 if how == "header" else len(raw)) - 1))
        raw[bit // 8 % len(raw)] ^= 1 << bit % 8
    return bytes(raw)


def tiny_mnist(folder, monkeypatch):
    """Put a tiny `mnist` (3 + 2 images) into a data folder, and expect its sums."""
    monkeypatch.setenv("MLOPS_DATA", str(folder))
    arrays = [np.full((n, 28, 28), n, np.uint8) for n in (3, 2)]
    labels = [np.array([1, 2, 3], np.uint8), np.array([4, 5], np.uint8)]
    contents = [idx(a) for a in (arrays[0], labels[0], arrays[1], labels[1])]
    (folder / "mnist").mkdir()
    for file, content in zip(downloads.FILES, contents, strict=True):
        (folder / "mnist" / file).write_bytes(content)
    sums = tuple(hashlib.sha256(content).hexdigest() for content in contents)
    monkeypatch.setitem(downloads.SHA256, "mnist", sums)
    return folder / "mnist"

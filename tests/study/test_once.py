"""What is needed more than once: computed once for the same arguments, and kept in a folder."""

import time
from concurrent.futures import ThreadPoolExecutor

import pandas as pd
import pytest

from mlops_lib.study import once


@pytest.fixture
def counted():
    """Return a function that is computed once, and the list of its computations."""
    computed = []

    @once.once
    def total(table):
        computed.append(1)
        return table.sum()

    return total, computed


def test_a_result_is_kept_for_equal_arguments_and_is_the_callers_own(counted, monkeypatch):
    monkeypatch.delenv(once.FOLDER)
    total, computed = counted
    table = pd.DataFrame({"a": [1, 2]})
    mine = total(table)
    mine["a"] = 7
    assert total(table.copy())["a"] == 3
    assert len(computed) == 1
    assert total(table + 1)["a"] == 5
    assert len(computed) == 2


def test_a_folder_keeps_it_for_other_processes(counted, tmp_path, monkeypatch):
    total, computed = counted
    table = pd.DataFrame({"a": [1, 2]})
    monkeypatch.setenv(once.FOLDER, str(tmp_path / "new"))
    total(table)
    in_memory(total).cache_clear()  # as in another process
    assert total(table)["a"] == 3 and len(computed) == 1
    monkeypatch.setenv(once.FOLDER, str(tmp_path / "other"))
    assert total(table)["a"] == 3 and len(computed) == 2


def test_what_another_is_computing_is_waited_for(tmp_path, monkeypatch):
    monkeypatch.setenv(once.FOLDER, str(tmp_path))
    computed = []

    @once.once
    def slow(value):
        computed.append(value)
        time.sleep(0.2)
        return value

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(slow, [7, 7])) == [7, 7]
    assert computed == [7]


def in_memory(function):
    """Return the cache in memory of a function."""
    (cache,) = [
        cell.cell_contents
        for cell in function.__closure__
        if hasattr(cell.cell_contents, "cache_clear")
    ]
    return cache

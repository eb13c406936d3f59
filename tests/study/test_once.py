"""What several pages need: computed once for the same arguments, where a folder is named."""

import pandas as pd

from mlops_lib.study import once


def test_a_result_is_kept_for_its_arguments_where_a_folder_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv(once.FOLDER)
    computed = []

    @once.once
    def total(table):
        computed.append(1)
        return table.sum()

    table = pd.DataFrame({"a": [1, 2]})
    assert total(table)["a"] == total(table)["a"] == 3
    assert len(computed) == 2
    monkeypatch.setenv(once.FOLDER, str(tmp_path / "new"))
    assert total(table)["a"] == total(table.copy())["a"] == 3
    assert len(computed) == 3
    assert total(table + 1)["a"] == 5
    assert len(computed) == 4

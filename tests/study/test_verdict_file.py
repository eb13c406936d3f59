import json

import pytest
from pydantic import TypeAdapter

from mlops_lib.params import UserError
from mlops_lib.study import verdict_file


@pytest.fixture(scope="module")
def written(complete):
    return verdict_file.of_runs(complete)


def changed(complete, by):
    """Return the runs with one training's accuracy changed."""
    one = complete.index[(complete["template"] == "q1a") & (complete["optimizer"] == "adam")][0]
    runs = complete.copy()
    runs.loc[one, "test_accuracy"] += by
    return runs


def test_a_file_is_read_as_it_was_written(written, tmp_path):
    path = tmp_path / "verdicts.json"
    path.write_text(written.model_dump_json())
    again = verdict_file.read(path)
    assert again == written and verdict_file.changes(again, written) == []
    content = json.loads(path.read_text())
    assert TypeAdapter(verdict_file.VerdictFile).json_schema()["required"] == ["claims"]
    first = content["claims"][0]["sources"]["Our runs"]
    assert first["verdict"] == "holds" and first["pairs"] == 16
    assert first["low"] < first["effect"] < first["high"]
    assert set(first["rows"]) <= set(content["records"])


def test_one_changed_record_is_named_by_its_claims(written, complete):
    lines = verdict_file.changes(written, verdict_file.of_runs(changed(complete, 0.002)))
    assert any(line.startswith("A1, Our runs: still holds, now Adam over SGD") for line in lines)
    assert all("Our runs" in line for line in lines if "still" in line)
    assert not any(line.startswith(("A9", "A5")) for line in lines)
    lines = verdict_file.changes(written, verdict_file.of_runs(changed(complete, -0.2)))
    assert any(line.startswith("A1, Our runs: holds → ") for line in lines)


def test_claims_that_come_and_go_are_named(written):
    fewer = written.model_copy(update={"claims": written.claims[1:]})
    assert verdict_file.changes(fewer, written) == ["A1: new"]
    assert verdict_file.changes(written, fewer) == ["A1: no longer there"]


@pytest.mark.parametrize(
    "text", ["", "[]", '{"claims": 1}', '{"claims": [], "extra": 1}', "\ud800"]
)
def test_a_file_of_something_else_is_refused(tmp_path, text):
    path = tmp_path / "other.json"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(UserError, match=r"other\.json holds no verdicts"):
        verdict_file.read(path)

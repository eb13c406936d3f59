import pytest

from mlops_lib import lineage, paths, record
from mlops_lib.lineage import Earlier, Lineage
from mlops_lib.params import Q1b


def proven(present, *earlier):
    codes = tuple(Earlier(code=code, repeated=()) for code in earlier)
    return Lineage(
        code_sha256=lineage.sha256(present), device_name="a CPU", torch="2", earlier=codes
    )


@pytest.fixture(autouse=True)
def book(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "BOOK", tmp_path)
    (tmp_path / "q1b.ipynb").write_text(
        '{"cells": [{"cell_type": "code", "source": ["x = 2"], "metadata": {}}]}'
    )
    return tmp_path


def test_earlier_code_counts_for_the_code_that_it_was_proven_for_alone():
    assert lineage.accepted("q1b", ("x = 2",)) == (("x = 2",),)
    lineage.write("q1b", proven(("x = 2",), ("x = 1",), ("x = 0",)))
    lineage.write("q1a", proven(("y = 2",)))
    assert lineage.accepted("q1b", ("x = 2",)) == (("x = 2",), ("x = 1",), ("x = 0",))
    assert lineage.accepted("q1b", ("x = 3",)) == (("x = 3",),)


def test_a_record_of_earlier_code_is_done_at_the_added_parameters_defaults():
    """Its key is that of a template that had no parameter `split`."""
    known = Q1b().model_dump(mode="json", exclude=Q1b.added)
    former = lineage.sha256({"template": "q1b", "parameters": known, "code": ("x = 1",)})
    assert former not in record.keys(Q1b(), "q1b")
    lineage.write("q1b", proven(("x = 2",), ("x = 1",)))
    assert record.keys(Q1b(), "q1b") == {former, record.key(Q1b(), "q1b")}
    assert former not in record.keys(Q1b(split="published"), "q1b")


def test_a_damaged_file_is_named(book):
    (book / "lineage.json").write_text('{"q1b": {"earlier": 1}}')
    with pytest.raises(lineage.LineageError, match=r"lineage\.json can't be read: "):
        lineage.accepted("q1b", ())

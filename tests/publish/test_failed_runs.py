from mlops_lib.publish import failed_runs


def test_copies_are_no_failed_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("MLOPS_RUNS", str(tmp_path))
    for suite in ("<b>", "mine"):
        (tmp_path / suite / "q1a").mkdir(parents=True)
        (tmp_path / suite / "q1a" / "x-Copy1.ipynb").write_text("{}")
    text = failed_runs.page().data
    assert text.startswith("<p>None: ")
    assert "<code>mine/q1a/x-Copy1.ipynb</code>" in text and "<b>" not in text
    (tmp_path / "mine" / "q1a" / "x-01234567.ipynb").write_text("{}")
    assert "mlops run path/to/mine.yaml --only q1a/x-01234567" in failed_runs.page().data

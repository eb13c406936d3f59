import sys

from mlops_lib.progress import bar


def test_a_bar_goes_through_its_steps_on_standard_output(capsys):
    assert list(bar([1, 2], desc="fits")) == [1, 2]
    printed = capsys.readouterr()
    assert "fits: 100%" in printed.out
    assert printed.err == ""


def test_a_log_has_no_bar(capsys, monkeypatch):
    monkeypatch.setattr(sys, "__stdout__", sys.stdout)  # as in a script
    assert list(bar([1, 2])) == [1, 2]
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert list(bar([1, 2])) == [1, 2]
    assert "100%" in capsys.readouterr().out

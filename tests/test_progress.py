from mlops_lib.progress import bar


def test_a_bar_goes_through_its_steps_on_standard_output(capsys):
    assert list(bar([1, 2], desc="fits")) == [1, 2]
    printed = capsys.readouterr()
    assert "fits: 100%" in printed.out
    assert printed.err == ""

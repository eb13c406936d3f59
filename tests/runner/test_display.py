import io
import sys

import pytest
from rich.console import Console

from mlops_lib.runner import display
from mlops_lib.runner.display import RunDisplay, result_line
from mlops_lib.runner.grid import Outcome
from mlops_lib.runner.slot import Slot


@pytest.fixture
def printed(executed):
    """Return a function that shows a run, and what it printed."""

    def show(terminal, finish=lambda slot, made: Outcome(slot, record=made)):
        text = io.StringIO()
        with RunDisplay(1, Console(file=text, force_terminal=terminal, width=200)) as display:
            slot, made = executed["q1a"]
            display.start(slot)
            display.output(slot, "epoch 1/1: 50%")
            display.finish(finish(slot, made))
        return text.getvalue()

    return show


def test_a_log_gets_plain_lines(printed, monkeypatch):
    monkeypatch.setattr(display, "LOG_EVERY_SECONDS", -1)
    lines = printed(terminal=False).splitlines()
    assert lines[0] == "q1a  digits, ResNet-18, Adam 3e-4, batch 16 …"
    assert lines[1].strip() == "epoch 1/1: 50%"
    assert lines[2].startswith("[1/1] q1a  digits, ResNet-18, Adam 3e-4, batch 16: test acc")
    assert "\x1b" not in "".join(lines)


def test_a_log_is_no_terminal_whatever_the_environment_says(monkeypatch):
    for variable in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.setenv(variable, "1")
    console = display.terminal_or_log()
    assert not console.is_terminal and not console.is_interactive
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert display.terminal_or_log().is_terminal
    monkeypatch.setenv("TTY_COMPATIBLE", "0")
    assert not display.terminal_or_log().is_terminal


def test_a_log_is_not_flooded(printed):
    assert "50%" not in printed(terminal=False)


def test_a_terminal_gets_a_bar(printed):
    assert "\x1b" in printed(terminal=True)


def test_a_failure_says_which_notebook_is_kept(printed, monkeypatch):
    def failed(slot, made):
        return Outcome(slot, error="ValueError: no [bold]")

    assert "FAILED: ValueError: no [bold]; the earlier result is kept: " in printed(False, failed)
    monkeypatch.setattr(Slot, "read", lambda slot: None)
    assert "FAILED: ValueError: no [bold]; the notebook is kept: " in printed(False, failed)


def test_a_run_that_waits_says_what_for(executed):
    text = io.StringIO()
    slot, _ = executed["q1a"]
    RunDisplay(1, Console(file=text, width=200)).wait(slot)
    line = "q1a  digits, ResNet-18, Adam 3e-4, batch 16 waits: another runner is executing it"
    assert text.getvalue().strip() == line


def test_a_diverged_training_is_marked(printed):
    def diverged(slot, made):
        results = made.results | {"diverged": True}
        return Outcome(slot, record=made.model_copy(update={"results": results}))

    assert printed(False, diverged).strip().endswith("s in all, DIVERGED")


def test_a_result_is_one_line(executed):
    for template, verb in (("q1a", "trained in"), ("q1b", "fitted in")):
        line = result_line(*executed[template])
        assert verb in line
        assert line.endswith(".ipynb")
        assert "\n" not in line

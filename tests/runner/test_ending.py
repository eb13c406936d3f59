"""Signals that ask a program to end."""

import os
import signal

import pytest

from mlops_lib.runner.ending import at_signals


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"])
def test_a_signal_calls_what_was_asked_as_often_as_it_comes(name):
    number, heard = getattr(signal, name), []
    before = signal.getsignal(number)
    with at_signals(lambda: heard.append(name)):
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)
    assert heard == [name, name]
    assert signal.getsignal(number) == before


def test_what_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as `nohup` does
    try:
        with at_signals(lambda: pytest.fail("heard")):
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)

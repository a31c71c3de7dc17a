"""Signals ask for a stop; who is asked twice by Ctrl-C goes at once."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from pipelines.bootstrap import stopping_on_signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_sets_the_event_and_says_which_it_was(number: signal.Signals) -> None:
    stop, told, names = threading.Event(), threading.Event(), list[str]()

    def on_signal(name: str) -> None:
        names.append(name)
        told.set()

    with stopping_on_signals(stop, on_signal):
        os.kill(os.getpid(), number)
        assert stop.wait(30)
        assert told.wait(30)
    assert names == [number.name]


def test_a_second_ctrl_c_does_not_wait_and_a_second_sigterm_does() -> None:
    stop = threading.Event()
    with stopping_on_signals(stop):
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)
            assert stop.wait(30)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_a_signal_means_what_it_meant_before_once_the_block_is_left() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with stopping_on_signals(threading.Event()):
        assert signal.getsignal(signal.SIGINT) != before[1]
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before

"""Signals: the first one stops, the next ones do not stop the stopping."""

from __future__ import annotations

import os
import signal

import pytest

from controller.stack.single import interruptible, postponed, undisturbed


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_interrupts_and_the_second_does_nothing(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    tidied = []

    def tidy_up() -> None:
        try:
            signal.raise_signal(number)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            signal.raise_signal(signal.SIGINT)
            tidied.append(True)

    with pytest.raises(KeyboardInterrupt), interruptible():
        tidy_up()

    assert tidied == [True]
    assert signal.getsignal(number) is before


def test_undisturbed_means_it() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with undisturbed():
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)

    assert signal.getsignal(signal.SIGTERM) is before


def test_what_is_postponed_comes_afterwards() -> None:
    done = []

    def work() -> None:
        with postponed():
            signal.raise_signal(signal.SIGTERM)
            done.append("whole")
        done.append("never")

    with pytest.raises(KeyboardInterrupt), interruptible():
        work()

    assert done == ["whole"]


def test_nothing_comes_after_the_first() -> None:
    with interruptible():
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGHUP)
        with postponed():
            signal.raise_signal(signal.SIGINT)

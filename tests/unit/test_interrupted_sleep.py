"""Signals that interrupt the loop's sleep: it is over when it should be, however often."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from saga_es.runtime.inbox import Inbox, StopRequest
from saga_es.runtime.waiting.clock import SystemClock

SLEEPS = 1500
SHORT_S = 0.002
TIMEOUT_S = 60.0


@pytest.fixture
def interrupted() -> Iterator[threading.Thread]:
    """A thread that sleeps on an inbox and a clock, many times, and is interrupted all the while."""
    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    inbox, clock = Inbox(), SystemClock()

    def sleep() -> None:
        for _ in range(SLEEPS):
            inbox.take(SHORT_S)
            clock.sleep(SHORT_S / 10)

    sleeper = threading.Thread(target=sleep, daemon=True)
    sleeper.start()
    yield sleeper
    inbox.put(StopRequest())
    signal.signal(signal.SIGUSR1, before)


def test_a_sleep_that_is_interrupted_again_and_again_ends_in_time(interrupted: threading.Thread) -> None:
    """Also when the signal comes just as the time is over: what is left is nothing then, and not for ever."""
    pause = threading.Event()
    for _ in range(round(TIMEOUT_S / 0.0005)):
        if not interrupted.is_alive():
            return
        with suppress(ProcessLookupError):  # it has just ended
            assert interrupted.ident is not None
            signal.pthread_kill(interrupted.ident, signal.SIGUSR1)
        pause.wait(0.0005)
    raise AssertionError("it sleeps still")

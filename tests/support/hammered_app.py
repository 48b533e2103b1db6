"""An application whose process is interrupted all the time: by a timer, and by signals to each of its threads.

The handlers return, so every call of the system that a signal interrupts is to go on as if nothing had been.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import random
import signal
import threading
import time
from contextlib import suppress

from saga_es import App, Participant, RetryPolicy, Saga

HAMMERED = "TEST_HAMMERED"
"""The variable that is set in the process that is to be interrupted."""

EVERY_S = 0.003

ONCE = RetryPolicy(attempts=1)

heard: dict[int, int] = {signal.SIGALRM: 0, signal.SIGUSR1: 0}


def _hear(number: int, _frame: object) -> None:
    heard[number] += 1


def _hammer() -> None:
    while True:
        for thread in threading.enumerate():
            if thread.ident is not None:
                with suppress(ProcessLookupError):  # it has ended
                    signal.pthread_kill(thread.ident, signal.SIGUSR1)
        time.sleep(random.uniform(0.0, 2 * EVERY_S))


order = Saga("order")
venue = Participant("venue")


@order.step(retry=ONCE)
def rest() -> str:
    """Sleep on a thread."""
    time.sleep(0.1)
    return "rested"


@order.compensates(rest, retry=ONCE)
def unrest() -> None:
    """Nothing is to be compensated."""


order.request("book", venue.post("/book"), compensation=None, retry=ONCE)


@order.step(retry=ONCE, compensation=None)
async def doze() -> str:
    """Sleep on the event loop."""
    await asyncio.sleep(0.1)
    return "dozed"


order.delay("wait", 0.2)


@order.step(retry=ONCE, compensation=None)
def count() -> dict[str, int]:
    """How many signals of each kind came so far."""
    return {signal.Signals(number).name: times for number, times in heard.items()}


def _begin() -> None:
    for number in heard:
        signal.signal(number, _hear)
        signal.siginterrupt(number, True)  # noqa: FBT003 (positional only): the system restarts no call
    signal.setitimer(signal.ITIMER_REAL, EVERY_S, EVERY_S)
    threading.Thread(target=_hammer, daemon=True).start()


def _end() -> None:
    """Ignore what still comes: an interpreter that ends takes its handlers away, and the signals would kill it."""
    signal.setitimer(signal.ITIMER_REAL, 0.0)
    for number in heard:
        signal.signal(number, signal.SIG_IGN)


if HAMMERED in os.environ:
    atexit.register(_end)
    _begin()

app = App(sagas=[order])

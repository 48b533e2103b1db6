"""Patience with a database that is away: what is safe to ask again is asked again, for so long."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

import structlog

from saga_es.errors import StoreUnavailable
from saga_es.runtime.waiting.backoff import Backoff
from saga_es.runtime.waiting.clock import Clock
from saga_es.runtime.waiting.promise import Promise

logger = structlog.get_logger("saga_es")

T = TypeVar("T")

COMMIT_TIMEOUT_S = 10.0
"""How long a caller waits for its commit before it is told that the database is away."""

FIRST_WAIT_S = 0.05
LONGEST_WAIT_S = 2.0

SAY_EVERY_S = 10.0
"""How often it is said again that the same is put off: an outage may be long, and the looks are many."""


class Retry(Protocol):
    """Asks the database until it answers; what is asked must be safe to repeat."""

    def __call__(self, ask: Callable[[], T]) -> T:
        """The answer."""
        ...


def retry_for(ask: Callable[[], T], timeout_s: float) -> T:
    """Ask the database until it answers, or `timeout_s` seconds are over; what is asked must be safe to repeat.

    Raises:
        StoreUnavailable: It did not answer in time.
    """
    deadline = time.monotonic() + timeout_s
    return _retry(ask, lambda wait_s: time.monotonic() + wait_s <= deadline, time.sleep)


def retry_until(ask: Callable[[], T], clock: Clock, is_stopped: Callable[[], bool]) -> T:
    """Ask the database until it answers, or whoever asks is stopped; what is asked must be safe to repeat.

    Raises:
        StoreUnavailable: It did not answer, and we are stopped.
    """
    return _retry(ask, lambda _wait_s: not is_stopped(), clock.sleep)


def _retry(ask: Callable[[], T], may_wait: Callable[[float], bool], sleep: Callable[[float], None]) -> T:
    backoff = Backoff(FIRST_WAIT_S, LONGEST_WAIT_S)
    while True:
        try:
            return ask()
        except StoreUnavailable as error:
            wait_s = backoff.next_s()
            if not may_wait(wait_s):
                raise
            logger.warning("the database is away, trying again", reason=str(error), wait_s=wait_s)
        sleep(wait_s)


def with_timeout(timeout_s: float, act: Callable[[], None]) -> None:
    """Do what would never come to its end if the database accepted connections and did not answer any more.

    Raises:
        StoreUnavailable: It is not done yet; it is left to itself, on a thread that keeps no process from ending.
    """
    done: Promise[None] = Promise()

    def run() -> None:
        try:
            act()
        except Exception as error:  # noqa: BLE001 (it is raised where it is waited for)
            done.resolve(None, error)
        else:
            done.resolve(None)

    threading.Thread(target=run, name="saga-es-within", daemon=True).start()
    try:
        done.wait(timeout_s)
    except TimeoutError as error:
        raise StoreUnavailable(f"the database did not answer within {timeout_s:.1f} s") from error


class OutageWarning:
    """Says what is put off because the database is away: at once, and again every `SAY_EVERY_S` while it goes on."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._next: dict[str, datetime] = {}

    def __call__(self, what: str, error: StoreUnavailable) -> None:
        """Say it, unless it was said a moment ago."""
        now = self._clock.now()
        if now >= self._next.get(what, now):
            self._next[what] = now + timedelta(seconds=SAY_EVERY_S)
            logger.warning("put off, the database is away", what=what, reason=str(error))

"""Outages of the database: operations that are safe to repeat are repeated, up to a time-out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

from saga_es.errors import StoreUnavailable
from saga_es.logs import logger
from saga_es.runtime.waiting.backoff import Backoff
from saga_es.runtime.waiting.clock import Clock
from saga_es.runtime.waiting.promise import Promise
from saga_es.store.host_time import monotonic_s

T = TypeVar("T")

COMMIT_TIMEOUT_S = 10.0
"""How long a caller waits for its commit before it gets `StoreUnavailable`."""

FIRST_WAIT_S = 0.05
LONGEST_WAIT_S = 2.0

WARN_EVERY_S = 10.0
"""How often the warning about the same operation is repeated: an outage may be long, and the attempts many."""


class Retry(Protocol):
    """Repeats an operation until the database answers. The operation must be safe to repeat."""

    def __call__(self, operation: Callable[[], T]) -> T:
        """Returns the result of the operation."""
        ...


def retry_for(operation: Callable[[], T], timeout_s: float) -> T:
    """Repeat an operation until the database answers, for at most `timeout_s` seconds. It must be safe to repeat.

    Raises:
        StoreUnavailable: The database did not answer in time.
    """
    deadline = monotonic_s() + timeout_s
    return _retry(operation, lambda wait_s: monotonic_s() + wait_s <= deadline, time.sleep)


def retry_until(operation: Callable[[], T], clock: Clock, is_stopped: Callable[[], bool]) -> T:
    """Repeat an operation until the database answers, or the caller is stopped. It must be safe to repeat.

    Raises:
        StoreUnavailable: The database did not answer, and the caller is stopped.
    """
    return _retry(operation, lambda _wait_s: not is_stopped(), clock.sleep)


def _retry(operation: Callable[[], T], may_wait: Callable[[float], bool], sleep: Callable[[float], None]) -> T:
    backoff: Backoff | None = None
    while True:
        try:
            return operation()
        except StoreUnavailable as error:
            backoff = backoff or Backoff(FIRST_WAIT_S, LONGEST_WAIT_S)
            wait_s = backoff.next_s()
            if not may_wait(wait_s):
                raise
            logger.warning("the database is away, trying again", reason=str(error), wait_s=wait_s)
        sleep(wait_s)


def with_timeout(timeout_s: float, act: Callable[[], None]) -> None:
    """Act on a daemon thread, and wait at most `timeout_s` seconds: a silent database may block it for ever.

    Where no thread can be started, as when the interpreter ends, it acts on this one.

    Raises:
        StoreUnavailable: The time is over. The thread is left to itself; it does not keep the process from ending.
    """
    done: Promise[None] = Promise()

    def run() -> None:
        try:
            act()
        except Exception as error:  # noqa: BLE001 (the waiting thread raises it)
            done.resolve(None, error)
        else:
            done.resolve(None)

    try:
        threading.Thread(target=run, name="saga-es-within", daemon=True).start()
    except RuntimeError:  # the interpreter ends, or the system allows no more threads
        run()
    try:
        done.wait(timeout_s)
    except TimeoutError as error:
        raise StoreUnavailable(f"the database did not answer within {timeout_s:.1f} s") from error


class OutageWarning:
    """Warns that an operation is put off because the database is away: at once, then every `WARN_EVERY_S`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._next: dict[str, datetime] = {}

    def __call__(self, what: str, error: StoreUnavailable) -> None:
        """Log the warning, unless it was logged less than `WARN_EVERY_S` ago."""
        now = self._clock.now()
        if now >= self._next.get(what, now):
            self._next[what] = now + timedelta(seconds=WARN_EVERY_S)
            logger.warning("put off, the database is away", what=what, reason=str(error))

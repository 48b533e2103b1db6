"""What was appended to the log, told to every viewer of this process by one reader.

Owns: the reader, which runs while somebody asks and reads the tail of the log as a checkpoint would, so that no event
that commits late is missed. Refuses: to say what an event holds. A viewer learns that something changed, and asks for
its page again; whether it may see that page is decided there.
"""

from __future__ import annotations

import threading
from collections import deque

import msgspec

from saga_es.errors import StoreUnavailable
from saga_es.logs import logger
from saga_es.store.database import Database
from saga_es.store.host_time import monotonic_s
from saga_es.store.log.log import Log
from saga_es.store.log.tail import Tail

READ_EVERY_S = 0.25
CHUNK = 1000
KEPT = 5000
"""Events that a viewer may lag behind; one that lags more is told that it missed some."""

BEGINS_BEFORE = 200
"""Positions before the end where reading begins, so that an event that commits late is among those read."""

END_TIMEOUT_S = 3.0
"""How long `end` waits for the present read: its database may never answer."""

LINGERS_S = 60.0
"""How long the reader goes on after the last question."""


class Change(msgspec.Struct, frozen=True):
    """What a viewer is told.

    Attributes:
        position: Up to where the log was read; the next question begins there.
        changed: Whether there is something new for this viewer.
    """

    position: int
    changed: bool


class Feed:
    """The tail of the log for all viewers of this process.

    Args:
        database: Where the log is.
        log: The log.
        closing: Set when the process is to end; nobody waits here any longer then.
    """

    def __init__(self, database: Database, log: Log, closing: threading.Event) -> None:
        self._database = database
        self._log = log
        self._closing = closing
        self._read = threading.Condition()
        self._notes: deque[tuple[int, str]] = deque(maxlen=KEPT)
        self._begins = self._position = 0
        self._tail = Tail(database, log)
        self._thread: threading.Thread | None = None
        self._asked_at = monotonic_s()

    def position(self) -> int:
        """Up to where the log was read; an event behind it is told to who asks from here.

        Raises:
            StoreUnavailable: The reader is to start, and the database did not answer.
        """
        self._keep_reading()
        return self._position

    def since(self, after: int, stream_id: str | None = None) -> Change:
        """What was appended after a position, at once.

        Args:
            after: Exclusive.
            stream_id: Only events of this stream count; None: those of all.

        Raises:
            StoreUnavailable: The reader is to start, and the database did not answer.
        """
        self._keep_reading()
        with self._read:
            return self._since(after, stream_id)

    def wait(self, after: int, stream_id: str | None, timeout_s: float) -> Change:
        """What was appended after a position, as soon as there is something, or after the time-out.

        Raises:
            StoreUnavailable: The reader is to start, and the database did not answer.
        """
        self._keep_reading()
        with self._read:
            self._read.wait_for(lambda: self._closing.is_set() or self._since(after, stream_id).changed, timeout_s)
            return self._since(after, stream_id)

    def _since(self, after: int, stream_id: str | None) -> Change:
        oldest = self._notes[0][0] if len(self._notes) == KEPT else self._begins + 1
        if after + 1 < oldest:
            return Change(self._position, changed=True)
        for position, its_stream in reversed(self._notes):
            if position <= after:
                break
            if stream_id is None or its_stream == stream_id:
                return Change(self._position, changed=True)
        return Change(max(after, self._position), changed=False)

    def end(self) -> None:
        """Wait for the reader to end; `closing` was set."""
        thread = self._thread
        if thread is not None:
            thread.join(END_TIMEOUT_S)

    # ── The reader ───────────────────────────────────────────────────────────────────────────────────────

    def _keep_reading(self) -> None:
        self._asked_at = monotonic_s()
        with self._read:
            if self._thread is not None and self._thread.is_alive():  # in a forked process it is not
                return
            if self._closing.is_set():
                return
            self._begins = self._position = max(0, self._log.last_position() - BEGINS_BEFORE)
            self._notes.clear()
            self._tail = Tail(self._database, self._log)
            self._thread = threading.Thread(target=self._run, name="saga-es-console-feed", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while not self._closing.is_set() and monotonic_s() - self._asked_at < LINGERS_S:
            try:
                pause_s = 0.0 if self.read_on() else READ_EVERY_S
            except StoreUnavailable as error:
                logger.warning("the console does not see the log", reason=str(error), next_try_in_s=1.0)
                pause_s = 1.0
            self._closing.wait(pause_s)
        with self._read:
            self._thread = None
            self._read.notify_all()

    def read_on(self) -> bool:
        """Read what was appended, and wake who waits; whether there may be more at once.

        Raises:
            StoreUnavailable: The database did not answer.
        """
        stretch = self._tail.read(self._position, CHUNK)
        if stretch.entries:
            with self._read:
                self._notes.extend((entry.position, entry.stream_id) for entry in stretch.entries)
                self._position = stretch.reached
                self._read.notify_all()
        return bool(stretch.entries) and not stretch.is_last

"""What was appended to the log, told to every viewer of this process by one reader.

Owns: the reader, which runs while somebody asks and reads the tail of the log as a checkpoint would, so that no event
that commits late is missed. Refuses: to say what an event holds. A viewer learns that something changed of what it may
see, and asks for its page again; whether it may see that page is decided there.
"""

from __future__ import annotations

import threading
from collections import deque

import msgspec

from saga_es.core.access import Scope, Starter
from saga_es.core.events import SagaStarted
from saga_es.errors import StoreUnavailable, UnreadableEvent
from saga_es.logs import logger
from saga_es.store.database import Database
from saga_es.store.host_time import monotonic_s
from saga_es.store.log.codec import SAGA
from saga_es.store.log.entries import Entry
from saga_es.store.log.log import Log
from saga_es.store.log.tail import Tail

READ_EVERY_S = 0.25
CHUNK = 1000
KEPT = 5000
"""Events that a viewer may lag behind; one that lags more is told that it missed some."""

BEGINS_BEFORE = 200
"""Positions before the end where reading begins, so that an event that commits late is among those read."""

MOST_STARTS = 5000
"""Sagas of which it is kept who started them."""

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


class Start(msgspec.Struct, frozen=True):
    """The definition of a saga, and who started it."""

    saga: str
    by: Starter | None


class Note(msgspec.Struct, frozen=True):
    """An event that was appended.

    Attributes:
        start: How its saga began; None: it belongs to no saga, or nobody can tell.
    """

    position: int
    stream_id: str
    is_of_saga: bool
    start: Start | None

    def is_for(self, stream_id: str | None, scope: Scope | None) -> bool:
        """Whether a viewer is told of it."""
        if stream_id is not None:
            return self.stream_id == stream_id
        if scope is None or (scope == Scope() and not self.is_of_saga):
            return True
        return self.start is not None and scope.has(self.start.saga, self.start.by)


class Feed:
    """The tail of the log for all viewers of this process.

    Args:
        database: Where the log is.
        log: The log.
        closing: Set when the process is to end; nobody waits here any longer then.
        has_scopes: Whether some viewers see some sagas alone, so that it has to be known who started which.
    """

    def __init__(self, database: Database, log: Log, closing: threading.Event, *, has_scopes: bool = False) -> None:
        self._database = database
        self._log = log
        self._closing = closing
        self._read = threading.Condition()
        self._has_scopes = has_scopes
        self._starts: dict[str, Start] = {}
        self._notes: deque[Note] = deque(maxlen=KEPT)
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

    def since(self, after: int, stream_id: str | None = None, scope: Scope | None = None) -> Change:
        """What was appended after a position, at once.

        Args:
            after: Exclusive.
            stream_id: Only events of this stream count, whose viewer may see it; None: those of all.
            scope: Of all, only events of these sagas count; None: each event.

        Raises:
            StoreUnavailable: The reader is to start, and the database did not answer.
        """
        self._keep_reading()
        with self._read:
            return self._since(after, stream_id, scope)

    def wait(self, after: int, stream_id: str | None, timeout_s: float, scope: Scope | None = None) -> Change:
        """What was appended after a position, as soon as there is something, or after the time-out.

        Raises:
            StoreUnavailable: The reader is to start, and the database did not answer.
        """
        self._keep_reading()
        with self._read:
            self._read.wait_for(
                lambda: self._closing.is_set() or self._since(after, stream_id, scope).changed, timeout_s
            )
            return self._since(after, stream_id, scope)

    def _since(self, after: int, stream_id: str | None, scope: Scope | None) -> Change:
        oldest = self._notes[0].position if len(self._notes) == KEPT else self._begins + 1
        if after + 1 < oldest:
            return Change(self._position, changed=True)
        for note in reversed(self._notes):
            if note.position <= after:
                break
            if note.is_for(stream_id, scope):
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
            notes = [self._note(entry) for entry in stretch.entries]
            with self._read:
                self._notes.extend(notes)
                self._position = stretch.reached
                self._read.notify_all()
        return bool(stretch.entries) and not stretch.is_last

    def _note(self, entry: Entry) -> Note:
        is_of_saga = entry.category == SAGA
        start = self._start(entry) if self._has_scopes and is_of_saga else None
        return Note(entry.position, entry.stream_id, is_of_saga, start)

    def _start(self, entry: Entry) -> Start | None:
        """How the saga of an event began; of a saga that began long ago its first event is read."""
        if entry.stream_id not in self._starts:
            first = [entry] if entry.version == 1 else self._log.part(entry.stream_id, 0, 1, 1)
            try:
                event = self._log.decode(first[0]).event if first else None
            except UnreadableEvent:
                return None
            if not isinstance(event, SagaStarted):
                return None
            if len(self._starts) >= MOST_STARTS:
                self._starts.clear()
            self._starts[entry.stream_id] = Start(event.saga, event.by)
        return self._starts[entry.stream_id]

"""A publisher: a thread that tells a target what is new in the log, beside the other processes that could.

Owns: that no event is left out, and that events are told in the order of the log. It cannot promise that an event is
told once: when the process dies between a delivery and its record, the next one tells it again, with the same id.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from typing import Protocol

from saga_es.errors import StoreUnavailable
from saga_es.logs import logger
from saga_es.logs.secrets import masked
from saga_es.publish.messages import Message
from saga_es.publish.origins import UNKNOWN, Origin, Origins
from saga_es.runtime.ids import new_id
from saga_es.runtime.waiting.backoff import Backoff
from saga_es.store.database import Database
from saga_es.store.host_time import monotonic_s
from saga_es.store.log.entries import Entry
from saga_es.store.log.log import Log
from saga_es.store.log.tail import CHUNK, Tail
from saga_es.store.publishers import Publishers

LOOK_EVERY_S = 0.25
"""How often a publisher that has told everything looks for new events."""

STAND_BACK_S = 2.0
"""How long to leave a target alone that another process tells."""

RETRY_S = 1.0
LONGEST_RETRY_S = 60.0
"""A delivery that failed is tried again after `RETRY_S`, then after twice as long each time, up to this."""

RECORD_EVERY_S = 1.0
"""How often a position is recorded up to which there was nothing to tell."""

CLOSE_TIMEOUT_S = 3.0

LONGEST_ERROR = 500


class Target(Protocol):
    """Whom a publisher tells.

    Attributes:
        name: Names the target in tables and metrics, without what nobody should read; at most 54 characters.
        at_once: How many messages it is given at most; each delivery must take less than the lease.
        begins_at_end: Whether a new publisher tells only what happens from then on, not all that the log holds.
    """

    name: str
    at_once: int
    begins_at_end: bool

    def wants(self, entry: Entry) -> bool:
        """Whether it is to be told of an event."""
        ...

    def deliver(self, messages: Sequence[Message]) -> None:
        """Deliver them, in this order. If it raises, all of them are delivered again, later.

        Raises:
            Exception: Of any class, if not all of them have arrived for certain.
        """
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


class Publisher:
    """Tells one target, in a thread of its own; a target that is away delays only itself.

    Args:
        database: Where the log is.
        log: The log.
        target: Whom to tell.
        holder: A name that no other process has; one is made when it is opened, if none is given.
        publishers: The table of publishers.
    """

    def __init__(
        self, database: Database, log: Log, target: Target, publishers: Publishers, holder: str | None = None
    ) -> None:
        self.target = target
        self._given = holder
        self._publishers = publishers
        self._tail = Tail(database, log)
        self._origins = Origins(database)
        self._backoff = Backoff(RETRY_S, LONGEST_RETRY_S)
        self._position: int | None = None
        self._recorded_at = 0.0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"saga-es-publisher-{target.name}", daemon=True)

    @cached_property
    def _holder(self) -> str:
        # Made at the first step, by the thread of `open`: the publisher may be older than a fork of the process.
        return self._given or f"process-{new_id()}"

    def register(self) -> None:
        """Give a publisher that is new its place in the log, so that it is told of all that follows.

        Raises:
            StoreUnavailable: The database did not answer.
        """
        self._publishers.register(self.target.name, at_end=self.target.begins_at_end)

    def open(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """Stop after the present delivery, and let another process go on at once."""
        self._stopped.set()
        if self._thread.ident is not None:
            self._thread.join(CLOSE_TIMEOUT_S)

    def step(self) -> float:
        """Tell the next events.

        Returns:
            The seconds until there may be something to do.

        Raises:
            StoreUnavailable: The database did not answer.
        """
        if self._position is None or monotonic_s() - self._recorded_at > self._publishers.lease_s / 3:
            self._position = self._publishers.hold(self.target.name, self._holder, at_end=self.target.begins_at_end)
            self._recorded_at = monotonic_s()
        if self._position is None:
            return STAND_BACK_S
        stretch = self._tail.read(self._position, CHUNK)
        if not stretch.entries:
            return LOOK_EVERY_S
        wanted = [entry for entry in stretch.entries if self.target.wants(entry)]
        wait_s = self._tell(wanted) if wanted else 0.0
        if wait_s == 0.0 and not self._stopped.is_set():  # otherwise not all of it was told
            if wanted or monotonic_s() - self._recorded_at > RECORD_EVERY_S:
                self._record(stretch.reached)
            else:
                self._position = stretch.reached
        return wait_s

    def _tell(self, wanted: Sequence[Entry]) -> float:
        """Tell these events, as many at once as the target takes; the seconds until there may be something to do."""
        origins = self._origins.of(wanted)
        messages = [_message(entry, origins.get(entry.stream_id, UNKNOWN)) for entry in wanted]
        for first in range(0, len(messages), self.target.at_once):
            part = messages[first : first + self.target.at_once]
            if self._stopped.is_set():
                break
            try:
                self.target.deliver(part)
            except Exception as error:  # noqa: BLE001 (whatever is wrong with a target, it is told again)
                return self._failed(part[0], error)
            self._backoff.reset()
            if not self._record(part[-1].entry.position):
                return STAND_BACK_S
        return 0.0

    def _record(self, position: int) -> bool:
        """Record a position; False when another process has become the publisher."""
        is_held = self._publishers.advance(self.target.name, self._holder, position)
        self._position = position if is_held else None
        self._recorded_at = monotonic_s()
        return is_held

    def _failed(self, message: Message, error: Exception) -> float:
        wait_s = self._backoff.next_s()
        why = masked(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)
        logger.warning(
            "a delivery failed, it is tried again",
            **_about(message),
            target=self.target.name,
            event_id=message.id,
            reason=why[:LONGEST_ERROR],
            next_try_in_s=wait_s,
        )
        self._publishers.fail(self.target.name, self._holder, why[:LONGEST_ERROR])
        return wait_s

    def _run(self) -> None:
        wait_s = 0.0
        while not self._stopped.wait(wait_s):
            wait_s = LONGEST_RETRY_S
            with suppress(Exception):  # the step failed, and so did logging it
                wait_s = self._take()
        with suppress(Exception):
            self.target.close()
        with suppress(StoreUnavailable):
            self._publishers.release(self.target.name, self._holder)

    def _take(self) -> float:
        try:
            return self.step()
        except StoreUnavailable as error:
            wait_s = self._backoff.next_s()
            logger.warning("the database is away, nothing is told", target=self.target.name, reason=str(error))
            return wait_s
        except Exception:
            logger.exception("a publisher failed", target=self.target.name)
            return LONGEST_RETRY_S


def _message(entry: Entry, origin: Origin) -> Message:
    return Message(entry, origin.saga, origin.trace, origin.tenant)


def _about(message: Message) -> dict[str, str]:
    """The fields of a line about a saga; none for an event of another category."""
    if message.saga is None:
        return {}
    about = {"saga_id": message.entry.stream_id, "saga": message.saga}
    return about if message.trace is None else {**about, "trace_id": message.trace.trace_id}

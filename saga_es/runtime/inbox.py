"""The inbox of the loop: one queue for everything that other threads send to it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from datetime import datetime
from itertools import islice
from typing import Any, assert_never

import msgspec

from saga_es.core.access import Starter
from saga_es.core.commands import Command
from saga_es.core.facts import Fact, RetryDue
from saga_es.core.outcomes import Direction
from saga_es.core.trace import Trace
from saga_es.definition.saga import Saga
from saga_es.errors import PayloadUnencodable, VersionConflict
from saga_es.runtime.calls.port import Call, Lane
from saga_es.runtime.handle import Handle
from saga_es.runtime.waiting.promise import Promise
from saga_es.store.log.entries import Prepared
from saga_es.store.ports import Conflict, Receipt, Refused, Written


class StartRequest(msgspec.Struct, frozen=True):
    """Start this saga. The input has the form in which it is read back from the log."""

    saga_id: str
    definition: Saga
    input: dict[str, Any]
    handle: Handle
    tags: dict[str, str] = {}
    starts_at: datetime | None = None
    parent: str | None = None
    trace: Trace | None = None
    by: Starter | None = None
    key: str | None = None


class CommandRequest(msgspec.Struct, frozen=True):
    """Give a command to a saga on any worker. `done` is set once the command is in the log."""

    saga_id: str
    command: Command
    done: Future[None]

    def settle(self, error: Exception | None = None) -> None:
        """Resolve the caller's future: the command is in the log, or the error says why it is not."""
        _settle(self.done, error)


class FactArrived(msgspec.Struct, frozen=True):
    """A fact for a saga that this worker owns."""

    saga_id: str
    fact: Fact


class CallTimedOut(FactArrived, frozen=True):
    """The fact that a call has not answered in time."""

    call: Call


class RetryTimer(FactArrived, frozen=True):
    """The fact that a failed call is due again.

    Attributes:
        definition: The name of the saga's definition.
        lane: The lane of the call.
        is_last: Whether no attempt follows this one.
    """

    definition: str
    lane: Lane
    is_last: bool

    @property
    def step(self) -> str:
        """The step of the call."""
        return self._due.step

    @property
    def direction(self) -> Direction:
        """The direction of the call."""
        return self._due.direction

    @property
    def _due(self) -> RetryDue:
        assert isinstance(self.fact, RetryDue), "that is what it is made of"
        return self.fact


class ProgressMade(msgspec.Struct, frozen=True):
    """A call under way said that it goes on."""

    saga_id: str
    call: Call


class AppendRequest(msgspec.Struct, frozen=True):
    """Append events that are not a saga's, for a participant in this process."""

    prepared: Prepared
    done: Promise[None]

    @property
    def stream_id(self) -> str:
        """The stream that the events are appended to."""
        return self.prepared.draft.stream_id

    def settle(self, receipt: Receipt) -> None:
        """Resolve the caller's promise by the receipt."""
        match receipt:
            case Written():
                self.done.resolve(None)
            case Conflict():
                self.done.resolve(None, VersionConflict(self.stream_id, self.prepared.draft.expected_version))
            case Refused(reason):
                self.done.resolve(None, PayloadUnencodable(f"the database does not accept this: {reason}"))
            case _:
                assert_never(receipt)


class FollowRequest(msgspec.Struct, frozen=True):
    """Resolve the handle when its saga ends, on any worker."""

    handle: Handle


class StopRequest(msgspec.Struct, frozen=True):
    """Make no more calls: the process is to end."""


Item = StartRequest | FactArrived | ProgressMade | CommandRequest | AppendRequest | FollowRequest | StopRequest
Put = Callable[[Item], None]


def refuse(item: Item, error: Exception) -> None:
    """Resolve the caller of an item with an error: the item will not be processed."""
    match item:
        case StartRequest(handle=handle) | FollowRequest(handle):
            handle.mark_failed(error)
        case AppendRequest(done=done):
            done.resolve(None, error)
        case CommandRequest(done=done):
            _settle(done, error)
        case FactArrived() | ProgressMade() | StopRequest():
            pass
        case _:
            assert_never(item)


def _settle(done: Future[None], error: Exception | None = None) -> None:
    if done.done():  # it failed when the engine started over, and its item was processed all the same
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)


MOST_AT_ONCE = 1000
"""The most items of one batch. A larger batch is no cheaper for each item, and it would delay the chores."""


class Inbox:
    """A queue that one thread empties, a batch at a time. That thread is woken only if it sleeps.

    Attributes:
        items: The items; others may look how many there are.
    """

    def __init__(self) -> None:
        self.items: deque[Item] = deque()
        self._is_asleep = False
        self._enough = 1
        self._awake = threading.Lock()  # not held: the thread is to wake up
        self._awake.acquire()

    def put(self, item: Item) -> None:
        """Add an item, from any thread."""
        self.items.append(item)
        if self._is_asleep and len(self.items) >= self._enough:
            self._is_asleep = False
            with suppress(RuntimeError):  # another thread has just woken it
                self._awake.release()

    def __len__(self) -> int:
        return len(self.items)

    def take(self, timeout_s: float | None = 0.0) -> list[Item]:
        """Take the items that are there, at most `MOST_AT_ONCE`.

        Args:
            timeout_s: Seconds to wait for the first item if there is none; None: for ever.
        """
        if not self.items and timeout_s != 0:
            self._sleep(timeout_s, 1)
        return list(islice(iter(self.items.popleft, None), min(len(self.items), MOST_AT_ONCE)))

    def wait_for(self, enough: int, timeout_s: float) -> bool:
        """Wait until `enough` items are there; False if there are fewer after `timeout_s` seconds."""
        self._sleep(timeout_s, enough)
        return len(self.items) >= enough

    @property
    def is_waited_for(self) -> bool:
        """Whether a thread sleeps until items arrive."""
        return self._is_asleep

    def _sleep(self, timeout_s: float | None, enough: int) -> None:
        self._enough = enough
        self._is_asleep = True
        if len(self.items) < enough:  # an item may have arrived before `_is_asleep` was set
            # No SimpleQueue: if a signal interrupts its `get` just as the time is over, it waits for ever.
            self._awake.acquire(timeout=-1 if timeout_s is None else timeout_s)
        self._is_asleep = False

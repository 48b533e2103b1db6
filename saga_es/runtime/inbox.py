"""What the loop is told: everything that reaches it from other threads, in one queue."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from datetime import datetime
from queue import Empty, SimpleQueue
from typing import Any, assert_never

import msgspec

from saga_es.core.commands import Command
from saga_es.core.facts import Fact
from saga_es.definition.saga import Saga
from saga_es.errors import PayloadUnencodable, VersionConflict
from saga_es.runtime.calls.port import Call
from saga_es.runtime.handle import Handle
from saga_es.runtime.waiting.promise import Promise
from saga_es.store.ports import Conflict, Prepared, Receipt, Refused, Written


class StartRequest(msgspec.Struct, frozen=True):
    """Start this saga; the input is as it will be read back from the log."""

    saga_id: str
    definition: Saga
    input: dict[str, Any]
    handle: Handle
    tags: dict[str, str] = {}
    starts_at: datetime | None = None
    parent: str | None = None


class CommandRequest(msgspec.Struct, frozen=True):
    """Give an order to a saga, wherever it runs; done when it is in the log."""

    saga_id: str
    command: Command
    done: Future[None]

    def settle(self, error: Exception | None = None) -> None:
        """Let the one who gave it know that it is in the log, or why it is not."""
        _settle(self.done, error)


class FactArrived(msgspec.Struct, frozen=True):
    """Tell a running saga a fact."""

    saga_id: str
    fact: Fact


class CallTimedOut(FactArrived, frozen=True):
    """Tell it that a call has not answered in time."""

    call: Call


class AppendRequest(msgspec.Struct, frozen=True):
    """Append events that are not a saga's: a participant in this process asks."""

    prepared: Prepared
    done: Promise[None]

    @property
    def stream_id(self) -> str:
        """Where they go."""
        return self.prepared[0].stream_id

    def settle(self, receipt: Receipt) -> None:
        """Let the one who asked know."""
        match receipt:
            case Written():
                self.done.resolve(None)
            case Conflict():
                self.done.resolve(None, VersionConflict(self.stream_id, self.prepared[0].expected_version))
            case Refused(reason):
                self.done.resolve(None, PayloadUnencodable(f"the database does not take this: {reason}"))
            case _:
                assert_never(receipt)


class FollowRequest(msgspec.Struct, frozen=True):
    """Resolve the handle when its saga ends, wherever it runs."""

    handle: Handle


class StopRequest(msgspec.Struct, frozen=True):
    """Make no more calls: the process is to end."""


Item = StartRequest | FactArrived | CommandRequest | AppendRequest | FollowRequest | StopRequest
Put = Callable[[Item], None]


def refuse(item: Item, error: Exception) -> None:
    """Tell whoever waits for an item that it will not be looked at."""
    match item:
        case StartRequest(handle=handle) | FollowRequest(handle):
            handle.mark_failed(error)
        case AppendRequest(done=done):
            done.resolve(None, error)
        case CommandRequest(done=done):
            _settle(done, error)
        case FactArrived() | StopRequest():
            pass
        case _:
            assert_never(item)


def _settle(done: Future[None], error: Exception | None = None) -> None:
    if done.done():  # it was told that the engine starts over, and its item came to its turn all the same
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)


MOST_AT_ONCE = 1000
"""Items of one batch: more do not make it any cheaper for each, and what else is to be done must not wait for them."""


class Inbox:
    """A queue that one thread empties, a batch at a time; it is woken only if it sleeps."""

    def __init__(self) -> None:
        self._items: deque[Item] = deque()
        self._is_asleep = False
        self._enough = 1
        self._wakes: SimpleQueue[None] = SimpleQueue()

    def put(self, item: Item) -> None:
        """Add an item, from any thread."""
        self._items.append(item)
        if self._is_asleep and len(self._items) >= self._enough:
            self._is_asleep = False
            self._wakes.put(None)

    def __len__(self) -> int:
        return len(self._items)

    def take(self, timeout_s: float | None = 0.0) -> list[Item]:
        """The items there are, `MOST_AT_ONCE` at the most.

        Args:
            timeout_s: If there are none, how long to wait for the first (None: for ever).
        """
        if not self._items and timeout_s != 0:
            self._sleep(timeout_s, 1)
        return [self._items.popleft() for _ in range(min(len(self._items), MOST_AT_ONCE))]

    def wait_for(self, enough: int, timeout_s: float) -> bool:
        """Wait until so many items are there; False when they are not after so many seconds."""
        self._sleep(timeout_s, enough)
        return len(self._items) >= enough

    @property
    def is_waited_for(self) -> bool:
        """Whether somebody sleeps until items come."""
        return self._is_asleep

    def _sleep(self, timeout_s: float | None, enough: int) -> None:
        self._enough = enough
        self._is_asleep = True
        if len(self._items) < enough:  # the last did not come before it was known that we sleep
            with suppress(Empty):
                self._wakes.get(timeout=timeout_s)
        self._is_asleep = False

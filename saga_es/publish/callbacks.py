"""Functions of the application that are told of each event of a saga: `App(on_event=...)`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any

from saga_es.errors import DefinitionError
from saga_es.publish.messages import Message
from saga_es.store.log.codec import SAGA
from saga_es.store.log.entries import Entry, Recorded
from saga_es.store.log.log import Log

OnEvent = Callable[[Recorded], Any]
"""Is told of an event, with its stream, its version and its time."""

LONGEST_NAME = 54


class Callback:
    """A function as a target: it is called once for each event of a saga, on the publisher's thread.

    Args:
        function: A `def` that takes a `Recorded`. If it raises, it is called again with the same event, later.
        log: Decodes the events.

    Raises:
        DefinitionError: It cannot be called that way.
    """

    at_once = 1
    begins_at_end = True

    def __init__(self, function: OnEvent, log: Log) -> None:
        called = (
            f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', type(function).__qualname__)}"
        )
        if inspect.iscoroutinefunction(function):
            raise DefinitionError(f"on_event: {called} is an `async def`; write a `def`, it has a thread of its own")
        if not callable(function):
            raise DefinitionError(f"on_event: {function!r} is no function")
        self.name = _short(f"on_event {called}")
        self._function = function
        self._log = log

    def wants(self, entry: Entry) -> bool:
        """Events of sagas."""
        return entry.category == SAGA

    def deliver(self, messages: Sequence[Message]) -> None:
        """Call the function."""
        for message in messages:
            self._function(self._log.decode(message.entry))

    def close(self) -> None:
        """Nothing is kept."""


def _short(name: str) -> str:
    if len(name) <= LONGEST_NAME:
        return name
    return f"{name[: LONGEST_NAME - 9]}-{sha256(name.encode()).hexdigest()[:8]}"

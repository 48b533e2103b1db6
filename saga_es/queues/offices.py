"""What is the same for every broker: where commands are handed in and replies arrive, and where commands are taken."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Protocol

import msgspec

from saga_es.store.host_time import monotonic_s

TIMEOUT_S = 10.0
"""How long a broker has to connect, and to take or give one message that has begun."""

RETRY_S = 1.0
"""How soon after a failure the broker is tried again; at once, if there is something new to send."""

PATIENCE = 0.8
"""The part of its time-out for which a call waits for a broker that is away: one that is started anew costs no attempt.
"""

CLOSE_TIMEOUT_S = 5.0

Heard = Callable[[bytes], None]
"""Is told a reply, on the thread of the connection."""

Handle = Callable[[bytes], "Replied | None"]
"""Does what a command says, on a thread of its own; None: it is no command, and nobody is answered."""


class Replied(msgspec.Struct, frozen=True):
    """A reply on its way.

    Attributes:
        to: Where it goes, as the command says.
        id: The command's.
    """

    to: str
    id: str
    content: bytes


class Letter(msgspec.Struct, frozen=True, eq=False):
    """A command on its way.

    Attributes:
        content: Makes the message, for the address to which its reply goes.
        ttl_s: Seconds after which nobody waits for the reply.
        refused_at: Until when it waits for a broker that is away.
        is_over: Whether nobody waits for it any more.
        refused: Is told why it was not sent, and never will be.
    """

    id: str
    content: Callable[[str], bytes]
    ttl_s: float
    refused_at: float
    is_over: Callable[[], bool]
    refused: Callable[[BaseException], object]


class Letters:
    """The commands that an office has to send: new ones, and those that may have been sent before, which come first.

    `add` is called by any thread, the rest by the thread of the connection.

    Attributes:
        again: Those that may have been sent.
    """

    def __init__(self) -> None:
        self.again: deque[Letter] = deque()
        self._new: deque[Letter] = deque()
        self._lock = threading.Lock()

    def add(self, letter: Letter) -> None:
        """Have a new command sent."""
        with self._lock:
            self._new.append(letter)

    def next(self) -> Letter | None:
        """Take what is sent next; None if there is nothing."""
        if self.again:
            return self.again.popleft()
        with self._lock:
            return self._new.popleft() if self._new else None

    def away(self, error: BaseException) -> None:
        """What was never sent waits for a while; what may have been sent is sent again when the broker is back."""
        now = monotonic_s()
        with self._lock:
            refused = [letter for letter in self._new if letter.refused_at <= now]
            self._new = deque(letter for letter in self._new if letter.refused_at > now)
        for letter in refused:
            letter.refused(error)
        self.again = deque(letter for letter in self.again if not letter.is_over())


class Office(Protocol):
    """A connection to the broker of a participant: it sends commands, and hears the replies."""

    def post(self, letter: Letter) -> None:
        """Have a command sent, from any thread; it does not wait. It connects when it is first needed."""
        ...

    def close(self) -> None:
        """Send nothing more, and hear nothing more."""
        ...


class Desk(Protocol):
    """A connection to the broker of a service: it takes commands, and sends the replies."""

    def open(self) -> None:
        """Begin to take commands; also while the broker is away, until it is there."""
        ...

    def close(self, grace_s: float) -> None:
        """Take no more commands, and wait for those under way; what is not done then is given to another process."""
        ...

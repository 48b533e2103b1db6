"""What is the same for every broker: the message that leaves, and what takes it there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

TIMEOUT_S = 10.0
"""How long a broker has to connect, and to acknowledge a batch: well below the lease of a publisher."""


class Outgoing(msgspec.Struct, frozen=True):
    """A message, as a broker gets it.

    Attributes:
        id: The same whenever the event is told: `{stream_id}/{version}`.
        stream_id: What a broker that has partitions keeps together.
        topic: `{category}.{definition}.{type}`, for a broker that routes; without the definition where there is none.
        content_type: That of the body.
    """

    id: str
    stream_id: str
    topic: str
    body: bytes
    content_type: str


class NotTaken(Exception):
    """The broker did not acknowledge all of a batch."""


class Sender(Protocol):
    """A connection to a broker, used by one thread. It is closed after an error, and another one is made."""

    def send(self, messages: Sequence[Outgoing]) -> None:
        """Send them in this order, and block until the broker has acknowledged each.

        Raises:
            Exception: Of any class of the client's, or `NotTaken`; some of the messages may have arrived.
        """
        ...

    def close(self) -> None:
        """Close the connection, and send nothing more."""
        ...

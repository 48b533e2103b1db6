"""What comes of sending a request: an answer, or one of two errors that say whether something may have been done."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec


class NotSent(Exception):
    """The request was not sent, or was refused before it was read: nothing can have been done."""


class AnswerLost(Exception):
    """The request was sent and no readable answer came: what was done is not known."""


class Answer(msgspec.Struct, frozen=True):
    """An HTTP answer; header names in lower case.

    Attributes:
        ends_with_connection: The body had no length: it ended where the connection did, and may have been cut.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    ends_with_connection: bool = False

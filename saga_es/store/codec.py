"""Events to text and back. The class name is the stored type; which classes a category has is a closed table."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, get_args

import msgspec

from saga_es.core.events import PlanRecorded, SagaEvent
from saga_es.errors import PayloadTooLarge, PayloadUnencodable, UnreadableEvent

SAGA = "saga"
PLAN = "plan"

SCHEMA = 1
"""The version of the schema that events are written in."""

DEFAULT_PAYLOAD_LIMIT = 1_048_576
"""Bytes of JSON an input, a result or a record may take, unless a setting says otherwise."""

DEEPEST = 100
"""Lists and objects within each other: what is deeper could be written by one process, and not read by another."""

ENVELOPE = 1024
"""Bytes of JSON an event may take beside its payload: names, ids, counters."""


class Codec:
    """Encodes events as JSON, decodes them by category and type.

    Args:
        events: The event classes of each further category; `saga` and `plan` are built in.
        payload_limit: Bytes of JSON an event's payload may take.
    """

    def __init__(
        self, events: Mapping[str, Iterable[type[Any]]] | None = None, payload_limit: int = DEFAULT_PAYLOAD_LIMIT
    ) -> None:
        tables = {SAGA: get_args(SagaEvent), PLAN: (PlanRecorded,), **(events or {})}
        self._decoders = {
            (category, kind.__name__): msgspec.json.Decoder(kind)
            for category, kinds in tables.items()
            for kind in kinds
        }
        self._encode = msgspec.json.Encoder().encode
        self._payload_limit = payload_limit

    def encode(self, event: object) -> str:
        """The event's fields as JSON text.

        Raises:
            PayloadTooLarge: It is larger than the limit.
            PayloadUnencodable: A value in it has no JSON form.
        """
        try:
            text = self._encode(event)
        except (TypeError, ValueError, RecursionError, OverflowError) as error:
            raise PayloadUnencodable(f"{type(event).__name__} cannot be written as JSON: {error}") from error
        if len(text) > self._payload_limit + ENVELOPE:
            raise PayloadTooLarge(len(text), self._payload_limit)
        if is_too_deep(text):
            raise PayloadUnencodable(f"the payload holds more than {DEEPEST} lists and objects in each other")
        return text.decode()

    def decode(self, category: str, event_type: str, text: str) -> Any:
        """The event that was stored.

        Raises:
            UnreadableEvent: Its type is not known, or its fields are not those of the class.
        """
        decoder = self._decoders.get((category, event_type))
        if decoder is None:
            raise UnreadableEvent(category, event_type, "no such event is known to this version")
        try:
            return decoder.decode(text)
        except (msgspec.DecodeError, RecursionError) as error:
            raise UnreadableEvent(category, event_type, str(error)) from error


_BRACKET_OR_TEXT = re.compile(rb'"(?:[^"\\]|\\.)*"|([\[{])|([\]}])')


def is_too_deep(text: bytes) -> bool:
    """Whether JSON nests deeper than `DEEPEST`; next to free for what is short, or has not so many brackets at all."""
    if len(text) <= 2 * DEEPEST:  # each level takes two characters
        return False
    if text.count(b"[") + text.count(b"{") <= DEEPEST:
        return False
    depth = 0
    for found in _BRACKET_OR_TEXT.finditer(text):
        depth += bool(found.group(1)) - bool(found.group(2))
        if depth > DEEPEST:
            return True
    return False

"""What goes over a broker: a command is a request to a participant, a reply its answer, as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

import msgspec
from msgspec import UNSET, Raw, UnsetType

from saga_es.logs.secrets import harmless
from saga_es.runtime.calls.answers import Answer

COMMAND_TYPE: Final = "saga_es.command"
REPLY_TYPE: Final = "saga_es.reply"

_REPLIED: Final = frozenset({"content-type", "retry-after"})
"""The headers of an answer that a reply keeps: the others are about HTTP."""

_NAMED: Final = {"idempotency-key": "key", "x-saga-id": "saga_id", "x-saga-step": "step"}
"""The headers of a call that are members of a command, by their names in lower case."""


class Command(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One attempt at a call, for a participant.

    Attributes:
        id: Of this message; the reply names it.
        key: The idempotency key of the call, the same on every attempt; empty for a call outside any saga.
        saga_id: As in the header `X-Saga-Id` of a call over HTTP.
        step: As in the header `X-Saga-Step`.
        saga: The name of the definition.
        direction: `action`, `compensation` or `probe`.
        attempt: From 1.
        deadline: When nobody waits for the reply any more, by the clock of the worker.
        reply_to: Where the reply goes.
        headers: Further headers, such as `traceparent`.
        body: The JSON of the request.
        text: The body of a request that is not JSON.
    """

    id: str
    reply_to: str
    method: str
    path: str
    deadline: datetime
    key: str = ""
    saga_id: str = ""
    step: str = ""
    saga: str = ""
    direction: str = ""
    attempt: int = 1
    headers: dict[str, str] = {}
    body: Raw | UnsetType = UNSET
    text: str | UnsetType = UNSET

    @property
    def content(self) -> bytes | None:
        """The body of the request; None: it has none."""
        return _content(self.body, self.text)

    @property
    def as_headers(self) -> dict[str, str]:
        """The headers that the call has over HTTP."""
        named = {"Idempotency-Key": self.key, "X-Saga-Id": self.saga_id, "X-Saga-Step": self.step}
        return {name: value for name, value in named.items() if value} | self.headers


class Reply(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer to a command.

    Attributes:
        id: The command's.
        key: The command's.
        status: What it means, as a status of HTTP: the same table turns it into an outcome.
        headers: `retry-after` and `content-type`.
        body: The JSON of the answer.
        text: An answer that is not JSON.
    """

    id: str
    key: str
    status: int
    headers: dict[str, str] = {}
    body: Raw | UnsetType = UNSET
    text: str | UnsetType = UNSET

    @property
    def answer(self) -> Answer:
        """The same as an answer over HTTP."""
        return Answer(self.status, harmless(self.headers.items()), _content(self.body, self.text) or b"")


def split_headers(headers: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """The headers of a call that are members of a command, by the member; and the others."""
    named = {_NAMED[name.lower()]: value for name, value in headers.items() if name.lower() in _NAMED}
    return named, {name: value for name, value in headers.items() if name.lower() not in _NAMED}


def reply_of(command: Command, answer: Answer) -> bytes:
    """The reply to a command, encoded."""
    headers = {name: value for name, value in answer.headers.items() if name in _REPLIED}
    body, text = content_of(answer.body or None)
    return msgspec.json.encode(Reply(command.id, command.key, answer.status, headers, body, text))


def content_of(content: bytes | None) -> tuple[Raw | UnsetType, str | UnsetType]:
    """The content of a message as one of its members `body` and `text`."""
    if content is None:
        return UNSET, UNSET
    try:
        return msgspec.json.decode(content, type=Raw), UNSET
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return UNSET, content.decode(errors="replace")


def _content(body: Raw | UnsetType, text: str | UnsetType) -> bytes | None:
    if isinstance(text, str):
        return text.encode(errors="replace")
    return None if isinstance(body, UnsetType) else bytes(body)

"""Where participants that took a call with 202 tell what it came to: a URL for each call, which nobody can guess."""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from typing import Any

import msgspec

from saga_es.core.commands import Reply
from saga_es.core.outcomes import Completed, Direction, Rejected, Unavailable, Unknown, Unrecordable
from saga_es.core.values import Unfaithful, door_for_results
from saga_es.runtime.calls.answers import Answer
from saga_es.runtime.calls.outcomes import outcome_of_answer, text
from saga_es.runtime.calls.port import Call

PATH = "/api/saga/replies/"

LONGEST_TOKEN = 2_000

_PURPOSE = b"saga_es.reply\0"


class Taken(msgspec.Struct, frozen=True, array_like=True):
    """The call that a participant took.

    Attributes:
        attempt: The attempt that it was told.
    """

    saga_id: str
    step: str
    direction: Direction
    attempt: int


class ReplyUrls:
    """Makes the URL for a call, and finds the call by it.

    Args:
        base_url: Where participants reach the API, without a slash at its end.
        key: Gives the key that signs; it is asked each time.
    """

    def __init__(self, base_url: str, key: Callable[[], bytes]) -> None:
        self._base_url = base_url
        self._key = key

    def url_of(self, taken: Taken) -> str:
        """The URL for a call. It holds nothing secret of the saga, and is worth nothing when the call is over."""
        content = msgspec.json.encode(taken)
        return f"{self._base_url}{PATH}{_text(content)}.{_text(self._signature(content))}"

    def url_for(self, call: Call) -> str:
        """The URL for a call that is about to be made."""
        return self.url_of(Taken(call.saga_id, call.step, call.direction, call.attempt))

    def read(self, token: str) -> Taken | None:
        """The call for which a token was made; None: it was made for none, or with another key."""
        content_text, dot, signature_text = token.partition(".")
        if not dot or len(token) > LONGEST_TOKEN:
            return None
        try:
            content, signature = _bytes(content_text), _bytes(signature_text)
        except ValueError:
            return None
        if not hmac.compare_digest(signature, self._signature(content)):
            return None
        return msgspec.json.decode(content, type=Taken)

    def _signature(self, content: bytes) -> bytes:
        return hmac.digest(self._key(), _PURPOSE + content, "sha256")


def command_of(taken: Taken, status: int, body: Any, retry_after_s: float | None) -> Reply:
    """A reply as a command, by the table that turns answers over HTTP into outcomes.

    Args:
        taken: The call.
        status: As a status of HTTP.
        body: The JSON of the answer.
        retry_after_s: Like the header `Retry-After`.
    """
    if status // 100 == 2:  # noqa: PLR2004 (done)
        return Reply(taken.step, taken.direction, taken.attempt, _completed(taken, body))
    headers = {} if retry_after_s is None else {"retry-after": str(retry_after_s)}
    outcome = outcome_of_answer(Answer(status, headers, b"" if body is None else msgspec.json.encode(body)))
    assert isinstance(outcome, Rejected | Unavailable | Unknown), "only a 2xx is another outcome"
    return Reply(taken.step, taken.direction, taken.attempt, outcome)


def _completed(taken: Taken, result: Any) -> Completed | Unrecordable:
    """The result, if it can be recorded; it is no larger than its request may be. A compensation has none."""
    if taken.direction is Direction.COMPENSATION:
        return Completed()
    try:
        return Completed(door_for_results(result, "result")[1])
    except Unfaithful as unfaithful:
        why = f"step {taken.step!r} acted, and the result of its reply cannot be recorded: {unfaithful}"
        return Unrecordable(text(why))


def _text(content: bytes) -> str:
    return urlsafe_b64encode(content).decode().rstrip("=")


def _bytes(given: str) -> bytes:
    if not given.isascii():
        raise ValueError("not base64")
    decoded = urlsafe_b64decode(given + "=" * (-len(given) % 4))
    if _text(decoded) != given:  # one token for one call, and no other spelling of it
        raise ValueError("not canonical")
    return decoded

"""The meaning of answers: the one table that turns HTTP answers and exceptions into outcomes."""

from __future__ import annotations

import math
from asyncio import CancelledError
from datetime import UTC
from email.utils import parsedate_to_datetime

import msgspec

from saga_es.core.outcomes import Completed, Outcome, Rejected, Unavailable, Unknown, Unrecordable
from saga_es.definition.requests import Form
from saga_es.errors import StepRejected, StepUnavailable
from saga_es.logs.secrets import masked
from saga_es.runtime.calls.answers import Answer, AnswerLost, NotSent
from saga_es.runtime.calls.frames import frame_of
from saga_es.runtime.calls.reasons import reason_of
from saga_es.store.host_time import host_now

MEANT = (StepRejected, StepUnavailable, NotSent, AnswerLost, CancelledError, GeneratorExit)
"""Exceptions of a call that say what they mean; of any other, the traceback is told.

`GeneratorExit` comes to a coroutine whose loop was closed with the engine: the next worker makes its call again.
"""

NOT_NOW = frozenset({408, 425, 429})
"""Request Timeout, Too Early, Too Many Requests: refused unread, so nothing was done (RFC 9110, 8470, 6585)."""

NOT_THERE = frozenset({404, 410})
"""Not Found, Gone (RFC 9110, 15.5.5 and 15.5.11)."""

_NOT_JSON = "HTTP {} with an answer that is not JSON (a request with answer='text' or 'any' takes it)"

LONGEST_RETRY_AFTER_S = 86_400.0
ERROR_LIMIT = 2000
"""The most characters of an error that are kept: people read it, and it stays in the log for ever."""


_LOOKED_AT = 10 * ERROR_LIMIT
"""The characters of an error that are looked at; a secret that is cut there is cut off with what is kept."""


def outcome_of_answer(answer: Answer, form: Form = "json") -> Outcome:
    """The outcome of a call. 2xx: done. 4xx: refused, or not now. Others: not known.

    Args:
        answer: The answer.
        form: What a 2xx brings: JSON (anything else is not known), text, or whatever it likes.
    """
    match answer.status // 100:
        case 2:
            return _result(answer, form)
        case 4 if answer.status in NOT_NOW:
            return Unavailable(_error(answer), retry_after_s(answer.headers.get("retry-after")), _kinds(answer))
        case 4:
            return Rejected(_error(answer))
        case 5:
            return Unknown(_error(answer), _kinds(answer), retry_after_s(answer.headers.get("retry-after")))
        case _:
            return Unknown(_error(answer), _kinds(answer))


def outcome_of_probe(answer: Answer, form: Form = "json") -> Outcome:
    """The outcome of a probe. Only 404 and 410 mean that the call has not happened; other refusals mean nothing."""
    outcome = outcome_of_answer(answer, form)
    if isinstance(outcome, Rejected) and answer.status not in NOT_THERE:
        return Unknown(outcome.error, _kinds(answer))
    return outcome


def outcome_of_error(error: BaseException) -> Outcome:
    """The outcome of a call whose step function or transport raised an exception."""
    match error:
        case StepRejected():
            return Rejected(text(error))
        case StepUnavailable():
            return Unavailable(text(error), _bounded(error.retry_after_s), kinds_of(error))
        case NotSent():
            return Unavailable(text(error))
        case AnswerLost():
            return Unknown(text(error))
        case _:
            why = text(f"{type(error).__name__}: {text(error)}")
            return Unknown(why, kinds_of(error), frame=frame_of(error))


def kinds_of(error: BaseException) -> tuple[str, ...]:
    """The names that a retry policy may give for an exception: its class and the classes that it is derived from."""
    return tuple(kind.__name__ for kind in type(error).__mro__ if kind not in {BaseException, object})


def retry_after_s(header: str | None) -> float | None:
    """The seconds of a Retry-After header, given as a number or a date (RFC 9110, 10.2.3); None if unreadable."""
    if header is None:
        return None
    try:
        return _bounded(float(header))
    except ValueError:
        pass
    try:
        due = parsedate_to_datetime(header)
    except (ValueError, OverflowError):
        return None
    due = due if due.tzinfo else due.replace(tzinfo=UTC)
    return _bounded((due - host_now()).total_seconds())


def text(error: object) -> str:
    """An error as text that every database stores: at most `ERROR_LIMIT` characters, no NUL, no unpaired surrogates.

    What looks like a secret is masked: the text stays for ever.
    """
    try:
        words = str(error)
    except BaseException:  # noqa: BLE001 (the text method of a user's exception may raise anything)
        words = "an error without a message"
    return storable(masked(words[:_LOOKED_AT]))


def storable(words: str) -> str:
    """A text as every database stores it: at most `ERROR_LIMIT` characters, no NUL, no unpaired surrogates."""
    clean = words.replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()
    return clean if len(clean) <= ERROR_LIMIT else clean[: ERROR_LIMIT - 1] + "…"


def _bounded(seconds: float | None) -> float | None:
    """The seconds, limited to 0 to `LONGEST_RETRY_AFTER_S`; None if they are not a number."""
    try:
        number = math.nan if seconds is None else float(seconds)
    except (TypeError, ValueError, OverflowError):  # a step may have given anything
        return None
    return None if math.isnan(number) else min(max(number, 0.0), LONGEST_RETRY_AFTER_S)


def _result(answer: Answer, form: Form) -> Outcome:
    if form == "text":
        return Completed(answer.body.decode(errors="replace"))
    if not answer.body:
        return Completed()
    if answer.ends_with_connection and answer.body[-1:].isdigit():
        why = f"HTTP {answer.status} with a number that may have been cut: the answer has no length"
        return Completed() if form == "any" else Unknown(why)
    try:
        return Completed(msgspec.json.decode(answer.body))
    except RecursionError:
        why = f"it holds too many lists and objects in each other, in {len(answer.body)} bytes of JSON"
        return Completed() if form == "any" else Unrecordable(why)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return Completed() if form == "any" else Unknown(text(f"{_NOT_JSON.format(answer.status)}: {error}"))


def _kinds(answer: Answer) -> tuple[str, ...]:
    return (f"HTTP {answer.status}",)


def _error(answer: Answer) -> str:
    return text(f"HTTP {answer.status}: {reason_of(answer)}")

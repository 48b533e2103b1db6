"""What an answer means. The one table that turns HTTP and exceptions into the four outcomes."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import msgspec

from saga_es.core.outcomes import Completed, Outcome, Rejected, Unavailable, Unknown
from saga_es.errors import StepRejected, StepUnavailable
from saga_es.runtime.calls.transport import Answer, AnswerLost, NotSent

NOT_NOW = frozenset({408, 425, 429})
"""Request Timeout, Too Early, Too Many Requests: refused unread, so nothing was done (RFC 9110, 8470, 6585)."""

NOT_THERE = frozenset({404, 410})
"""Not Found, Gone (RFC 9110, 15.5.5 and 15.5.11)."""

LONGEST_RETRY_AFTER_S = 86_400.0
ERROR_LIMIT = 2000
"""Characters of an error we keep: it is read by people, and stands in the log for ever."""


def outcome_of_answer(answer: Answer) -> Outcome:
    """2xx: done. 4xx: refused, or not now. Anything else, also a 2xx that is not JSON: nobody knows."""
    match answer.status // 100:
        case 2:
            return _result(answer)
        case 4 if answer.status in NOT_NOW:
            return Unavailable(_error(answer), retry_after_s(answer.headers.get("retry-after")), _kinds(answer))
        case 4:
            return Rejected(_error(answer))
        case _:
            return Unknown(_error(answer), _kinds(answer))


def outcome_of_probe(answer: Answer) -> Outcome:
    """As any answer; but only 404 and 410 say that it has not happened. Other refusals are of the question."""
    outcome = outcome_of_answer(answer)
    if isinstance(outcome, Rejected) and answer.status not in NOT_THERE:
        return Unknown(outcome.error, _kinds(answer))
    return outcome


def outcome_of_error(error: BaseException) -> Outcome:
    """What a step function, or a transport, says by raising."""
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
            return Unknown(text(f"{type(error).__name__}: {text(error)}"), kinds_of(error))


def kinds_of(error: BaseException) -> tuple[str, ...]:
    """The names by which a retry policy may know an exception: its class, and those it is derived from."""
    return tuple(kind.__name__ for kind in type(error).__mro__ if kind not in {BaseException, object})


def retry_after_s(header: str | None) -> float | None:
    """The seconds a Retry-After header asks for: a number, or a date (RFC 9110, 10.2.3); None if unreadable."""
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
    return _bounded((due - datetime.now(UTC)).total_seconds())


def text(error: object) -> str:
    """An error as text that every database stores: bounded, without NUL and unpaired surrogates."""
    try:
        words = str(error)
    except BaseException:  # noqa: BLE001 (an exception of a user's may fail to say what it is, and in any way)
        words = "an error that has no words"
    clean = words.replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()
    return clean if len(clean) <= ERROR_LIMIT else clean[: ERROR_LIMIT - 1] + "…"


def _bounded(seconds: float | None) -> float | None:
    """What was asked for, within a day; None where it is no number."""
    try:
        asked = math.nan if seconds is None else float(seconds)
    except (TypeError, ValueError, OverflowError):  # a step may have said anything
        return None
    return None if math.isnan(asked) else min(max(asked, 0.0), LONGEST_RETRY_AFTER_S)


def _result(answer: Answer) -> Outcome:
    if not answer.body:
        return Completed()
    try:
        return Completed(msgspec.json.decode(answer.body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Unknown(text(f"HTTP {answer.status} with an answer that is not JSON: {error}"))


def _kinds(answer: Answer) -> tuple[str, ...]:
    return (f"HTTP {answer.status}",)


def _error(answer: Answer) -> str:
    return text(f"HTTP {answer.status}: {_detail(answer)}")


def _detail(answer: Answer) -> str:
    """What a problem document says, or the start of the body."""
    try:
        problem = msgspec.json.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return answer.body[:200].decode(errors="replace") or "no body"
    if not isinstance(problem, dict):
        return str(problem)[:200]
    said = problem.get("detail") or problem.get("message") or problem.get("title") or "no detail"
    errors = problem.get("errors")
    return f"{said} {errors}" if errors else str(said)

"""Facts whose events the log refused: what cannot be recorded is replaced by what says so."""

from __future__ import annotations

from typing import assert_never

from msgspec.structs import replace

from saga_es.core.facts import CallProgressed, CallReturned, CannotGoOn, ChildEnded, Fact
from saga_es.core.outcomes import (
    NOT_RECORDED,
    ChildReady,
    Completed,
    Direction,
    Outcome,
    Rejected,
    Skipped,
    Unavailable,
    Unknown,
    Unrecordable,
)

PLAIN_LIMIT = 200
"""Characters of a text that every log accepts, however small its limit and whatever its encoding."""


def recordable(fact: Fact, why: str) -> Fact:
    """The fact in a form that the log accepts; the same fact if nothing in it can be replaced.

    Args:
        fact: A fact whose events the log refused.
        why: The reason for the refusal.
    """
    match fact:
        case CallReturned(outcome=outcome):
            return replace(fact, outcome=_outcome(fact, outcome, why))
        case CallProgressed():
            return replace(fact, details={NOT_RECORDED: plain(why)})
        case ChildEnded(status="COMPLETED", not_recorded=None):
            said = f"the child saga of step {fact.step!r} completed, and its results cannot be recorded here: {why}"
            return replace(fact, result=None, error=None, not_recorded=plain(said))
        case ChildEnded(error=error, not_recorded=not_recorded):
            return replace(fact, error=_plain(error), not_recorded=_plain(not_recorded))
        case CannotGoOn(reason):
            return CannotGoOn(plain(reason))
        case _:
            return fact


def plain(words: str) -> str:
    """The text in ASCII, other characters as their numbers, shortened to `PLAIN_LIMIT`."""
    ascii_ = words.encode("ascii", "backslashreplace").decode().replace("\0", "\\x00")
    return ascii_ if len(ascii_) <= PLAIN_LIMIT else f"{ascii_[: PLAIN_LIMIT - 3]}..."


def _plain(words: str | None) -> str | None:
    return None if words is None else plain(words)


def _outcome(fact: CallReturned, outcome: Outcome, why: str) -> Outcome:
    match outcome:
        case Completed() if fact.direction is Direction.COMPENSATION:
            return Completed()
        case Completed():
            return Unrecordable(plain(f"step {fact.step!r} acted, and its result cannot be recorded: {why}"))
        case ChildReady():
            return Rejected(plain(f"the input of the child saga of step {fact.step!r} cannot be recorded: {why}"))
        case Skipped():
            return outcome
        case Rejected(error) | Unavailable(error) | Unknown(error) | Unrecordable(error):
            return replace(outcome, error=plain(error))
        case _:
            assert_never(outcome)

"""Whether a history of several clients is linearizable: as if each operation had happened at one moment of its time.

The search is that of Wing and Gong, with the memory of Lowe: one operation after the other that may come first is tried
on the state of the machine, and no set of operations is tried twice on one state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf

OK, REFUSED, UNKNOWN = "ok", "refused", "unknown"


@dataclass(frozen=True)
class Seen:
    """What a client can know of one saga that waits: the state of the machine.

    Attributes:
        input: What it was started with; None: it does not exist.
        paused: Whether it is paused.
        aborted: Whether it was cancelled; whether it is paused then is not looked at.
        signals: How many signals it was sent.
    """

    input: int | None = None
    paused: bool = False
    aborted: bool = False
    signals: int = 0


@dataclass(frozen=True)
class Operation:
    """What one client did, and what it was told.

    Attributes:
        name: start, pause, resume, cancel, signal or read.
        began: When it was called.
        returned: When it was answered; `inf` for one whose outcome is unknown.
        answer: `OK`, `REFUSED` or `UNKNOWN`; for a read, what was seen.
        input: Of a start.
    """

    name: str
    began: float
    returned: float
    answer: str | Seen
    input: int = 0


def after(state: Seen, done: Operation) -> tuple[tuple[str | Seen, ...], Seen]:
    """What the machine may answer to an operation, and its state if that is no refusal."""
    is_open = state.input is not None and not state.aborted
    then: Seen | None = None
    match done.name:
        case "read":
            return (state,), state
        case "pause" | "resume" if state.aborted:  # until the compensation is over, which no client decides
            return (OK, REFUSED), state
        case "start" if state.input in (None, done.input):
            then = replace(state, input=done.input)
        case "pause" if is_open and not state.paused:
            then = replace(state, paused=True)
        case "resume" if is_open and state.paused:
            then = replace(state, paused=False)
        case "cancel" if is_open:
            then = replace(state, paused=False, aborted=True)
        case "signal" if is_open:
            then = replace(state, signals=state.signals + 1)
        case _:
            pass
    return ((REFUSED,), state) if then is None else ((OK,), then)


def is_linearizable(history: Sequence[Operation]) -> bool:
    """Whether an order of the operations explains all answers; those that are unknown may never have happened."""
    tried: set[tuple[frozenset[int], Seen]] = set()
    rest: list[tuple[frozenset[int], Seen]] = [(frozenset(range(len(history))), Seen())]
    while rest:
        left, state = rest.pop()
        if all(history[number].answer == UNKNOWN for number in left):
            return True
        if (left, state) in tried:
            continue
        tried.add((left, state))
        first_end = min(history[number].returned for number in left)
        for number in left:
            done = history[number]
            if done.began > first_end:
                continue
            answers, then = after(state, done)
            if done.answer in (*answers, UNKNOWN):
                rest.append((left - {number}, then))
    return False


def unknown(name: str, began: float, input_: int = 0) -> Operation:
    """An operation that may have happened at any time since, or never."""
    return Operation(name, began, inf, UNKNOWN, input_)

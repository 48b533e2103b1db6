"""The timeline as data: its rows and marks, made from a saga's events alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

import msgspec

from saga_es.console.marks import Kind, Mark, Reader
from saga_es.core import events as e
from saga_es.core.plan import Child, Signal, step_of
from saga_es.core.state import SagaState

MOST_ELEMENTS = 8
"""A step over a longer list is one row, with a histogram of the elements' ends."""

MOST_TRIES = 12
FIRST_TRIES, LAST_TRIES = 2, 4
"""Of more tries than that, these are drawn; the others are one stretch."""

Past = Sequence[tuple[datetime, e.SagaEvent]]


class Row(msgspec.Struct, frozen=True):
    """One step, or one element, in one lane.

    Attributes:
        state: The icon: ok, progress, retry, wait, failed, pending, skipped, undone, undoing.
        ends: When the elements of a folded step ended.
        size: The number of elements of a folded step.
        is_signal: Whether its wait is for a signal, and not for a time.
        note: What to say when there is no mark.
    """

    step: str
    title: str
    state: str
    marks: tuple[Mark, ...]
    tries: int = 0
    child: str | None = None
    ends: tuple[datetime, ...] = ()
    size: int | None = None
    is_signal: bool = False
    note: str = ""


class Timeline(msgspec.Struct, frozen=True):
    """Everything that a timeline shows.

    Attributes:
        now: The present; None when the saga has ended, or is seen as it was.
        turned: When the saga aborted.
        pauses: From when to when it was paused, and by whom.
        moments: The times at which something happened or is planned, in order.
    """

    forward: list[Row]
    undo: list[Row]
    begin: datetime
    end: datetime
    now: datetime | None
    turned: datetime | None
    pauses: list[tuple[datetime, datetime, str]]
    moments: list[datetime]


def timeline(state: SagaState, past: Past, now: datetime | None) -> Timeline:
    """The timeline of a saga; `state` is the fold of its past, which is not empty."""
    last = past[-1][0]
    read = Reader(state, last if now is None else max(now, last))
    for at, event in past:
        read.event(at, event)
    read.close()
    planned = [mark.begin for lane in read.lanes for marks in lane.values() for mark in marks if mark.kind == "planned"]
    ends = [read.until, *sorted(planned)[:1]]
    moments = sorted({at for at, _ in past} | set(ends))
    return Timeline(
        forward=[*_forward(state, read)],
        undo=[*_undo(state, read)] if read.turned else [],
        begin=past[0][0],
        end=max(ends),
        now=now,
        turned=read.turned,
        pauses=read.pauses,
        moments=moments,
    )


# ── Rows ─────────────────────────────────────────────────────────────────────────────────────────────────


def _forward(state: SagaState, read: Reader) -> Iterator[Row]:
    begun = [name for name in dict.fromkeys(read.began) if not _is_within_folded(state, name)]
    order = {name: place for place, name in enumerate(begun)}
    planned = [step.name for step in state.plan.steps if step.name not in order and not _has_rows(state, step.name)]
    ended = state.status.ended or state.aborted
    for name in [*begun, *planned]:
        if _is_folded(state, name):
            yield _folded_row(state, name, read.forward, read.ends[name], undoing=False)
        elif name not in state.fan_outs:
            note = "not reached" if ended else ""
            yield _row(state, name, read.forward.get(name, []), note)


def _undo(state: SagaState, read: Reader) -> Iterator[Row]:
    begun = [*read.undo]
    to_come = [name for name in reversed(state.effects) if name not in read.undo and _can_be_undone(state, name)]
    names = dict.fromkeys(step_of(name) if _is_within_folded(state, name) else name for name in [*begun, *to_come])
    for name in names:
        if _is_folded(state, name):
            yield _folded_row(state, name, read.undo, read.undone_ends[name], undoing=True)
        else:
            yield _row(state, name, read.undo.get(name, []), "to be undone")
    done = (step for step in state.plan.steps if step.name in read.forward and step.name not in names)
    for step in done:
        if not _can_be_undone(state, step.name) and state.is_done(step.name):
            yield Row(step.name, step.title, "skipped", (), note="nothing to undo")


def _can_be_undone(state: SagaState, name: str) -> bool:
    planned = state.plan.step(name)
    return isinstance(planned.work, Child) or (planned.work is None and planned.compensation is not None)


def _is_folded(state: SagaState, name: str) -> bool:
    return state.fan_outs.get(name, 0) > MOST_ELEMENTS


def _is_within_folded(state: SagaState, name: str) -> bool:
    return name not in state.fan_outs and _is_folded(state, step_of(name))


def _has_rows(state: SagaState, name: str) -> bool:
    return 0 < state.fan_outs.get(name, 0) <= MOST_ELEMENTS


def _row(state: SagaState, name: str, marks: list[Mark], note: str) -> Row:
    planned = state.plan.step(name)
    child = state.step(name).child
    shown = tuple(_shortened(marks))
    return Row(
        step=name,
        title=planned.title,
        state=_state_of(marks),
        marks=shown,
        tries=max((mark.attempt for mark in marks if mark.kind != "planned"), default=0),
        child=child.saga_id if child is not None and isinstance(planned.work, Child) else None,
        is_signal=isinstance(planned.work, Signal),
        note="" if marks else note,
    )


_STATES: dict[Kind, str] = {
    "ran": "ok",
    "child": "ok",
    "wait": "ok",
    "running": "progress",
    "child-running": "progress",
    "waiting": "wait",
    "planned": "retry",
    "back-off": "retry",
    "failed-try": "retry",
    "failed": "failed",
    "unknown": "failed",
    "skipped": "skipped",
    "undone": "undone",
    "undoing": "undoing",
}


def _state_of(marks: Sequence[Mark]) -> str:
    if marks and marks[-1].kind == "probe":
        return {"has happened": "ok", "has not happened": "failed"}.get(marks[-1].words, "retry")
    return _STATES.get(marks[-1].kind, "pending") if marks else "pending"


def _folded_row(
    state: SagaState, name: str, lane: dict[str, list[Mark]], ends: Sequence[datetime], *, undoing: bool
) -> Row:
    elements = [lane.get(element, []) for element in state.elements(name)]
    begins = [marks[0].begin for marks in elements if marks]
    states = [_state_of(marks) for marks in elements]
    worst = next((found for found in _WORST if found in states), "pending")
    until = [mark.end for marks in elements for mark in marks if mark.kind != "planned"]
    kind: Kind = "undone" if undoing else "ran"
    spans = (Mark(kind, min(begins), max(until or begins), words=_counted(states)),) if begins else ()
    planned = state.plan.step(name)
    return Row(name, planned.title, worst, spans, ends=tuple(ends), size=len(elements))


_WORST = ("failed", "retry", "undoing", "progress", "wait", "pending", "undone", "ok", "skipped")
_COUNT_WORDS = {"ok": "done", "progress": "called", "retry": "retrying", "undoing": "being undone", "wait": "waiting"}


def _counted(states: Sequence[str]) -> str:
    counts = [(name, states.count(name)) for name in _WORST]
    return ", ".join(f"{count} {_COUNT_WORDS.get(name, name)}" for name, count in counts if count)


def element_states(state: SagaState, name: str) -> list[str]:
    """The state of each element of a fanned-out step, in order, as names of icons."""
    words = {
        "PENDING": "pending",
        "IN_PROGRESS": "progress",
        "COMPLETED": "ok",
        "SKIPPED": "skipped",
        "FAILED": "failed",
        "COMPENSATING": "undoing",
        "COMPENSATED": "undone",
    }
    steps = (state.step(element) for element in state.elements(name))
    return ["failed" if step.stuck else "retry" if step.waiting else words[step.status] for step in steps]


def _shortened(marks: Sequence[Mark]) -> Iterable[Mark]:
    """The marks of at most `MOST_TRIES` tries; of more, the first and the last, and one stretch for the others."""
    tries = [place for place, mark in enumerate(marks) if mark.kind in {"failed-try", "unknown"}]
    if len(tries) <= MOST_TRIES:
        return marks
    first, last = tries[FIRST_TRIES - 1] + 1, tries[-LAST_TRIES]
    left_out = len(tries) - FIRST_TRIES - LAST_TRIES
    stretch = Mark("many-tries", marks[first].begin, marks[last].begin, words=f"{left_out} tries")
    return [*marks[:first], stretch, *marks[last:]]

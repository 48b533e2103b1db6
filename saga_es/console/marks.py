"""The marks of a timeline: what each step did from when to when, read from a saga's events alone."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from typing import Literal

import msgspec

from saga_es.core import events as e
from saga_es.core.describe import shown
from saga_es.core.plan import step_of
from saga_es.core.state import SagaState

Kind = Literal[
    "ran",
    "running",
    "failed-try",
    "back-off",
    "unknown",
    "failed",
    "wait",
    "waiting",
    "child",
    "child-running",
    "skipped",
    "probe",
    "undone",
    "undoing",
    "planned",
    "many-tries",
]


class Mark(msgspec.Struct, frozen=True):
    """One mark in a row.

    Attributes:
        attempt: The number of the try; 0: it is no try.
        words: What is written beside it.
    """

    kind: Kind
    begin: datetime
    end: datetime
    attempt: int = 0
    words: str = ""


class Reader:
    """Reads the events in order, and collects marks by lane and row."""

    def __init__(self, state: SagaState, until: datetime) -> None:
        self.state, self.until = state, until
        self.turned: datetime | None = None
        self.pauses: list[tuple[datetime, datetime, str]] = []
        self.forward: dict[str, list[Mark]] = defaultdict(list)
        self.undo: dict[str, list[Mark]] = defaultdict(list)
        self.ends: dict[str, list[datetime]] = defaultdict(list)
        self.undone_ends: dict[str, list[datetime]] = defaultdict(list)
        self.began: list[str] = []
        self._open: dict[str, Mark] = {}
        self._paused: tuple[datetime, str] | None = None

    @property
    def lanes(self) -> tuple[dict[str, list[Mark]], dict[str, list[Mark]]]:
        """The marks of both lanes, by step or element."""
        return self.forward, self.undo

    def event(self, at: datetime, event: e.SagaEvent) -> None:  # noqa: C901, PLR0912 (a table: one case an event)
        """Read one event."""
        match event:
            case e.StepStarted(step, attempt):
                self._begin(step, Mark("running", at, at, attempt))
            case e.WaitStarted(step, until):
                self._begin(step, Mark("waiting", at, until or at))
            case e.ChildStarted(step):
                self._begin(step, Mark("child-running", at, at))
            case e.StepProgressed(step, _, direction, details):
                key = _back(step) if direction == "compensation" else step
                if direction != "probe" and key in self._open:
                    self._open[key] = msgspec.structs.replace(self._open[key], words=shown(details))
            case e.StepFannedOut(step):
                self.began.append(step)
            case e.StepCompleted(step):
                self._finish(step, at)
            case e.StepFailed():
                self._failed(at, event)
            case e.StepSkipped(step, actor, reason):
                words = f"by {actor}: {reason}" if actor else "its condition does not hold"
                self._place(step).append(Mark("skipped", at, at, words=words))
            case e.ProbeAnswered(step, happened):
                self._probed(step, at, happened)
            case e.CompensationStarted(step, attempt):
                self._cut_planned(self.undo[step], at)
                self._open[_back(step)] = Mark("undoing", at, at, attempt)
            case e.CompensationCompleted(step):
                self._undone(step, at)
            case e.CompensationSkipped(step, actor, reason):
                self._open.pop(_back(step), None)
                self.undo[step].append(Mark("skipped", at, at, words=f"by {actor}: {reason}"))
            case e.CompensationFailed():
                self._undo_failed(at, event)
            case e.SagaAborted() | e.SagaCancelled():
                self._turns(at)
            case e.SagaReopened("COMPENSATING"):
                self._turns(at)
            case e.SagaPaused(actor, reason):
                self._paused = (at, f"{actor}: {reason}")
            case e.SagaResumed():
                self._resume(at)
            case _:
                pass

    def close(self) -> None:
        """The end of the events: what is open reaches to the present."""
        self._resume(self.until)
        if self.state.status.ended and not self.state.steps:
            return
        for key, mark in self._open.items():
            lane, step = (self.undo, key[5:]) if key.startswith("undo ") else (self.forward, key)
            end = mark.begin if self.state.status.ended else max(self.until, mark.begin)
            lane[step].append(msgspec.structs.replace(mark, end=end))

    def _place(self, step: str) -> list[Mark]:
        if step not in self.forward:
            self.began.append(step)
        return self.forward[step]

    def _begin(self, step: str, mark: Mark) -> None:
        self._cut_planned(self._place(step), mark.begin)
        self._open[step] = mark

    def _finish(self, step: str, at: datetime, words: str = "") -> None:
        done: dict[Kind, Kind] = {"waiting": "wait", "child-running": "child"}
        open_ = self._open.pop(step, None)
        self.ends[step_of(step)].append(at)
        if open_ is not None:
            kind = done.get(open_.kind, "ran")
            self._place(step).append(Mark(kind, open_.begin, at, open_.attempt, words))

    def _failed(self, at: datetime, failed: e.StepFailed) -> None:
        open_ = self._open.pop(failed.step, None)
        marks = self._place(failed.step)
        begin = open_.begin if open_ else at
        if failed.retry_at is None:
            self.ends[step_of(failed.step)].append(at)
        if failed.failure == "unknown":
            marks.append(Mark("unknown", begin, at, failed.attempt, failed.error))
        else:
            kind: Kind = "failed" if failed.retry_at is None else "failed-try"
            marks.append(Mark(kind, begin, at, failed.attempt, failed.error))
        if failed.retry_at is not None:
            self._wait_for_try(marks, at, failed.retry_at, failed.attempt + 1)

    def _undo_failed(self, at: datetime, failed: e.CompensationFailed) -> None:
        open_ = self._open.pop(_back(failed.step), None)
        begin = open_.begin if open_ else at
        kind: Kind = "failed" if failed.retry_at is None else "failed-try"
        marks = self.undo[failed.step]
        marks.append(Mark(kind, begin, at, failed.attempt, failed.error))
        if failed.retry_at is not None:
            self._wait_for_try(marks, at, failed.retry_at, failed.attempt + 1)

    def _wait_for_try(self, marks: list[Mark], at: datetime, retry_at: datetime, attempt: int) -> None:
        marks.append(Mark("back-off", at, retry_at))
        marks.append(Mark("planned", retry_at, retry_at, attempt))

    @staticmethod
    def _cut_planned(marks: list[Mark], at: datetime) -> None:
        """A try began: it is no longer planned, and the wait for it ended then."""
        if marks and marks[-1].kind == "planned":
            marks.pop()
            marks[-1] = msgspec.structs.replace(marks[-1], end=at)

    def _probed(self, step: str, at: datetime, happened: bool | None) -> None:  # noqa: FBT001 (the event's field)
        answers = {True: "has happened", False: "has not happened", None: "unknown"}
        self._open.pop(step, None)
        self._cut_planned(self._place(step), at)
        self._place(step).append(Mark("probe", at, at, words=answers[happened]))
        if happened:
            self.ends[step_of(step)].append(at)

    def _undone(self, step: str, at: datetime) -> None:
        open_ = self._open.pop(_back(step), None)
        self._cut_planned(self.undo[step], at)
        self.undone_ends[step_of(step)].append(at)
        self.undo[step].append(Mark("undone", open_.begin if open_ else at, at, open_.attempt if open_ else 0))

    def _turns(self, at: datetime) -> None:
        self.turned = self.turned or at
        for marks in self.forward.values():  # no further try comes
            self._cut_planned(marks, at)

    def _resume(self, at: datetime) -> None:
        if self._paused is not None:
            self.pauses.append((self._paused[0], at, self._paused[1]))
            self._paused = None


def _back(step: str) -> str:
    return f"undo {step}"

"""Sagas as their streams tell them: the plans, and one sound stream for each thing that can happen."""

from __future__ import annotations

from saga_es.core.events import (
    ChildStarted,
    CompensationCompleted,
    CompensationFailed,
    CompensationSkipped,
    CompensationStarted,
    InputReplaced,
    ProbeAnswered,
    ProbeStarted,
    SagaAborted,
    SagaBegan,
    SagaCancelled,
    SagaCompensated,
    SagaCompleted,
    SagaEvent,
    SagaFailed,
    SagaPaused,
    SagaReopened,
    SagaResolved,
    SagaResumed,
    SagaStarted,
    SagaTakenOver,
    SignalReceived,
    StepCompleted,
    StepFailed,
    StepFannedOut,
    StepSkipped,
    StepStarted,
    WaitStarted,
)
from saga_es.core.plan import Child, Delay, Plan, Signal
from tests.unit.story import ABC, NOW, STARTED, a_plan, a_step, done, seconds

WHO = ("ann", "because")
LATER = seconds(1)

PIVOT = a_plan("a", a_step("b", kind="pivot", compensation=None), a_step("c", kind="retriable"))
PROBED = a_plan(a_step("a", probe=True), "b")
TOGETHER = a_plan("a", a_step("b", after=("a",)), a_step("c", after=("a",)))
LISTED = a_plan("a", a_step("b", over="input[names]", at_once=2))
WAITING = a_plan(a_step("nap", work=Delay(5.0)), a_step("word", work=Signal(60.0), compensation=None))
NESTED = a_plan("a", a_step("b", work=Child("other")))
ASKED = a_plan("a", a_step("b", condition=True))
BARE = a_plan(a_step("a", compensation=None), "b")

ABORTED = SagaAborted("b", "no")
B_REFUSED = (STARTED, *done("a"), StepStarted("b", 1), StepFailed("b", 1, "rejected", "no"), ABORTED)
"""The second of three steps is refused, and the first is to be undone."""

STUCK = (*B_REFUSED, CompensationStarted("a", 1), CompensationFailed("a", 1, "rejected", "no"), SagaFailed("stuck"))
"""And that cannot be done."""


def reopened(status: str = "COMPENSATING") -> SagaReopened:
    return SagaReopened("IN_PROGRESS" if status == "IN_PROGRESS" else "COMPENSATING", *WHO, NOW)


def undone(*steps: str) -> list[SagaEvent]:
    return [event for step in steps for event in (CompensationStarted(step, 1), CompensationCompleted(step))]


SOUND: dict[str, tuple[Plan, list[SagaEvent]]] = {
    "all goes well": (ABC, [STARTED, *done("a", "b", "c"), SagaCompleted()]),
    "a step is refused": (ABC, [*B_REFUSED, *undone("a"), SagaCompensated()]),
    "a step is tried again": (
        ABC,
        [
            STARTED,
            StepStarted("a", 1),
            StepFailed("a", 1, "unavailable", "busy", LATER),
            StepStarted("a", 2),
            StepCompleted("a"),
            *done("b", "c"),
            SagaCompleted(),
        ],
    ),
    "nobody knows whether a step happened": (
        ABC,
        [
            STARTED,
            *done("a"),
            StepStarted("b", 1),
            StepFailed("b", 1, "unknown", "lost"),
            ABORTED,
            *undone("b", "a"),
            SagaCompensated(),
        ],
    ),
    "a step in doubt waits when the saga is cancelled": (
        ABC,
        [
            STARTED,
            StepStarted("a", 1),
            StepFailed("a", 1, "unknown", "lost", LATER),
            SagaCancelled(*WHO),
            *undone("a"),
            SagaCompensated(),
        ],
    ),
    "a worker goes while a call is out": (
        ABC,
        [
            STARTED,
            StepStarted("a", 1),
            SagaTakenOver("w2", "w1"),
            StepFailed("a", 1, "rejected", "no"),
            SagaAborted("a", "no"),
            *undone("a"),
            SagaCompensated(),
        ],
    ),
    "a compensation is tried again": (
        ABC,
        [
            *B_REFUSED,
            CompensationStarted("a", 1),
            CompensationFailed("a", 1, "unknown", "lost", LATER),
            CompensationStarted("a", 2),
            CompensationCompleted("a"),
            SagaCompensated(),
        ],
    ),
    "a person undoes a step by hand": (
        ABC,
        [*STUCK, CompensationSkipped("a", *WHO), reopened(), SagaTakenOver("w2", None), SagaCompensated()],
    ),
    "a person has a compensation tried again": (
        ABC,
        [
            *STUCK,
            reopened(),
            SagaTakenOver("w2", None),
            CompensationStarted("a", 2),
            CompensationCompleted("a"),
            SagaCompensated(),
        ],
    ),
    "a person says how it ended": (ABC, [*STUCK, SagaResolved("COMPENSATED", *WHO)]),
    "a person gives a step another input": (
        PIVOT,
        [
            STARTED,
            *done("a", "b"),
            StepStarted("c", 1),
            StepFailed("c", 1, "rejected", "no"),
            SagaFailed("c was refused"),
            InputReplaced("c", {"n": 2}, *WHO),
            reopened("IN_PROGRESS"),
            SagaTakenOver("w2", None),
            StepStarted("c", 2),
            StepCompleted("c"),
            SagaCompleted(),
        ],
    ),
    "a person skips a step": (
        PIVOT,
        [
            STARTED,
            *done("a", "b"),
            StepStarted("c", 1),
            StepFailed("c", 1, "rejected", "no"),
            SagaFailed("c was refused"),
            StepSkipped("c", *WHO),
            reopened("IN_PROGRESS"),
            SagaTakenOver("w2", None),
            SagaCompleted(),
        ],
    ),
    "a saga that is complete is revoked": (
        ABC,
        [
            STARTED,
            *done("a", "b", "c"),
            SagaCompleted(),
            reopened(),
            SagaTakenOver("w2", None),
            *undone("c", "b", "a"),
            SagaCompensated(),
        ],
    ),
    "a saga is paused and goes on": (
        ABC,
        [
            STARTED,
            StepStarted("a", 1),
            SagaPaused(*WHO),
            StepCompleted("a"),
            SagaResumed(*WHO),
            *done("b", "c"),
            SagaCompleted(),
        ],
    ),
    "a paused saga is cancelled": (
        ABC,
        [STARTED, *done("a"), SagaPaused(*WHO), SagaCancelled(*WHO), *undone("a"), SagaCompensated()],
    ),
    "a saga starts later": (
        ABC,
        [
            SagaStarted("order", "plan-1", {}, "w1", starts_at=LATER),
            SagaBegan(),
            *done("a", "b", "c"),
            SagaCompleted(),
        ],
    ),
    "a saga waits for a worker": (
        ABC,
        [
            SagaStarted("order", "plan-1", {}),
            SagaTakenOver("w1", None),
            SagaBegan(),
            *done("a", "b", "c"),
            SagaCompleted(),
        ],
    ),
    "steps at the same time": (
        TOGETHER,
        [
            STARTED,
            *done("a"),
            StepStarted("b", 1),
            StepStarted("c", 1),
            StepCompleted("c"),
            StepFailed("b", 1, "rejected", "no"),
            ABORTED,
            *undone("c", "a"),
            SagaCompensated(),
        ],
    ),
    "a step over a list": (
        LISTED,
        [
            STARTED,
            *done("a"),
            StepFannedOut("b", 3),
            StepStarted("b[0]", 1),
            StepStarted("b[1]", 1),
            StepCompleted("b[1]"),
            StepStarted("b[2]", 1),
            StepCompleted("b[0]"),
            StepCompleted("b[2]"),
            SagaCompleted(),
        ],
    ),
    "a list without elements": (LISTED, [STARTED, *done("a"), StepFannedOut("b", 0), SagaCompleted()]),
    "a list that is none": (
        LISTED,
        [
            STARTED,
            *done("a"),
            StepFailed("b", 0, "rejected", "no list"),
            SagaAborted("b", "no list"),
            *undone("a"),
            SagaCompensated(),
        ],
    ),
    "a step that is not wanted": (
        ASKED,
        [STARTED, *done("a"), StepStarted("b", 1), StepSkipped("b"), SagaCompleted()],
    ),
    "waits, and a signal that comes early": (
        WAITING,
        [
            STARTED,
            WaitStarted("nap", LATER),
            SignalReceived("word"),
            StepCompleted("nap"),
            WaitStarted("word", LATER),
            StepCompleted("word"),
            SagaCompleted(),
        ],
    ),
    "a wait that is over": (
        WAITING,
        [
            STARTED,
            WaitStarted("nap", LATER),
            StepCompleted("nap"),
            WaitStarted("word", LATER),
            StepFailed("word", 0, "rejected", "too late"),
            SagaAborted("word", "too late"),
            *undone("nap"),
            SagaCompensated(),
        ],
    ),
    "a saga as a step": (
        NESTED,
        [
            STARTED,
            *done("a"),
            StepStarted("b", 1),
            ChildStarted("b", "other", "s2", {}),
            StepFailed("b", 1, "rejected", "compensated"),
            ABORTED,
            *undone("a"),
            SagaCompensated(),
        ],
    ),
    "it is asked, and it has happened": (
        PROBED,
        [
            STARTED,
            StepStarted("a", 1),
            StepFailed("a", 1, "unknown", "lost", LATER),
            ProbeStarted("a", 1),
            ProbeAnswered("a", happened=True),
            *done("b"),
            SagaCompleted(),
        ],
    ),
    "it is asked after a crash, and it has not": (
        PROBED,
        [
            STARTED,
            StepStarted("a", 1),
            SagaTakenOver("w2", "w1"),
            ProbeStarted("a", 1),
            ProbeAnswered("a", happened=False),
            StepStarted("a", 1),
            StepFailed("a", 1, "rejected", "no"),
            SagaAborted("a", "no"),
            SagaCompensated(),
        ],
    ),
    "it is asked before it is undone, and nobody can tell": (
        PROBED,
        [
            STARTED,
            StepStarted("a", 1),
            StepFailed("a", 1, "unknown", "lost"),
            SagaAborted("a", "lost"),
            ProbeStarted("a", 1),
            ProbeAnswered("a"),
            *undone("a"),
            SagaCompensated(),
        ],
    ),
}

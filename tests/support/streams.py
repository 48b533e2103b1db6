"""Sagas as their streams tell them: the plans, and one sound stream for each thing that can happen."""

from __future__ import annotations

from saga_es.core import events as e
from saga_es.core.plan import Child, Delay, Plan, Signal
from tests.support.story import ABC, NOW, STARTED, a_plan, a_step, done, seconds

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

ABORTED = e.SagaAborted("b", "no")
B_REFUSED = (STARTED, *done("a"), e.StepStarted("b", 1), e.StepFailed("b", 1, "rejected", "no"), ABORTED)
"""The second of three steps is refused, and the first is to be undone."""

STUCK = (
    *B_REFUSED,
    e.CompensationStarted("a", 1),
    e.CompensationFailed("a", 1, "rejected", "no"),
    e.SagaFailed("stuck"),
)
"""And that cannot be done."""


def reopened(status: str = "COMPENSATING") -> e.SagaReopened:
    return e.SagaReopened("IN_PROGRESS" if status == "IN_PROGRESS" else "COMPENSATING", *WHO, NOW)


def undone(*steps: str) -> list[e.SagaEvent]:
    return [event for step in steps for event in (e.CompensationStarted(step, 1), e.CompensationCompleted(step))]


SOUND: dict[str, tuple[Plan, list[e.SagaEvent]]] = {
    "all goes well": (ABC, [STARTED, *done("a", "b", "c"), e.SagaCompleted()]),
    "calls say that they go on": (
        ABC,
        [
            STARTED,
            e.StepStarted("a", 1),
            e.StepProgressed("a", 1, details=50),
            e.SagaTakenOver("w2", "w1"),
            e.StepProgressed("a", 1),
            e.StepCompleted("a"),
            e.StepStarted("b", 1),
            e.SagaPaused(*WHO),
            e.StepProgressed("b", 1),
            e.SagaResumed(*WHO),
            e.StepFailed("b", 1, "rejected", "no"),
            ABORTED,
            e.CompensationStarted("a", 1),
            e.StepProgressed("a", 1, "compensation"),
            e.CompensationCompleted("a"),
            e.SagaCompensated(),
        ],
    ),
    "a step is refused": (ABC, [*B_REFUSED, *undone("a"), e.SagaCompensated()]),
    "a step is tried again": (
        ABC,
        [
            STARTED,
            e.StepStarted("a", 1),
            e.StepFailed("a", 1, "unavailable", "busy", LATER),
            e.StepStarted("a", 2),
            e.StepCompleted("a"),
            *done("b", "c"),
            e.SagaCompleted(),
        ],
    ),
    "nobody knows whether a step happened": (
        ABC,
        [
            STARTED,
            *done("a"),
            e.StepStarted("b", 1),
            e.StepFailed("b", 1, "unknown", "lost"),
            ABORTED,
            *undone("b", "a"),
            e.SagaCompensated(),
        ],
    ),
    "a step in doubt waits when the saga is cancelled": (
        ABC,
        [
            STARTED,
            e.StepStarted("a", 1),
            e.StepFailed("a", 1, "unknown", "lost", LATER),
            e.SagaCancelled(*WHO),
            *undone("a"),
            e.SagaCompensated(),
        ],
    ),
    "a worker goes while a call is out": (
        ABC,
        [
            STARTED,
            e.StepStarted("a", 1),
            e.SagaTakenOver("w2", "w1"),
            e.StepFailed("a", 1, "rejected", "no"),
            e.SagaAborted("a", "no"),
            *undone("a"),
            e.SagaCompensated(),
        ],
    ),
    "a compensation is tried again": (
        ABC,
        [
            *B_REFUSED,
            e.CompensationStarted("a", 1),
            e.CompensationFailed("a", 1, "unknown", "lost", LATER),
            e.CompensationStarted("a", 2),
            e.CompensationCompleted("a"),
            e.SagaCompensated(),
        ],
    ),
    "a person undoes a step by hand": (
        ABC,
        [*STUCK, e.CompensationSkipped("a", *WHO), reopened(), e.SagaTakenOver("w2", None), e.SagaCompensated()],
    ),
    "a person has a compensation tried again": (
        ABC,
        [
            *STUCK,
            reopened(),
            e.SagaTakenOver("w2", None),
            e.CompensationStarted("a", 2),
            e.CompensationCompleted("a"),
            e.SagaCompensated(),
        ],
    ),
    "a person says how it ended": (ABC, [*STUCK, e.SagaResolved("COMPENSATED", *WHO)]),
    "a person gives a step another input": (
        PIVOT,
        [
            STARTED,
            *done("a", "b"),
            e.StepStarted("c", 1),
            e.StepFailed("c", 1, "rejected", "no"),
            e.SagaFailed("c was refused"),
            e.InputReplaced("c", {"n": 2}, *WHO),
            reopened("IN_PROGRESS"),
            e.SagaTakenOver("w2", None),
            e.StepStarted("c", 2),
            e.StepCompleted("c"),
            e.SagaCompleted(),
        ],
    ),
    "a person skips a step": (
        PIVOT,
        [
            STARTED,
            *done("a", "b"),
            e.StepStarted("c", 1),
            e.StepFailed("c", 1, "rejected", "no"),
            e.SagaFailed("c was refused"),
            e.StepSkipped("c", *WHO),
            reopened("IN_PROGRESS"),
            e.SagaTakenOver("w2", None),
            e.SagaCompleted(),
        ],
    ),
    "a saga that is complete is revoked": (
        ABC,
        [
            STARTED,
            *done("a", "b", "c"),
            e.SagaCompleted(),
            reopened(),
            e.SagaTakenOver("w2", None),
            *undone("c", "b", "a"),
            e.SagaCompensated(),
        ],
    ),
    "a saga is paused and goes on": (
        ABC,
        [
            STARTED,
            e.StepStarted("a", 1),
            e.SagaPaused(*WHO),
            e.StepCompleted("a"),
            e.SagaResumed(*WHO),
            *done("b", "c"),
            e.SagaCompleted(),
        ],
    ),
    "a paused saga is cancelled": (
        ABC,
        [STARTED, *done("a"), e.SagaPaused(*WHO), e.SagaCancelled(*WHO), *undone("a"), e.SagaCompensated()],
    ),
    "a saga starts later": (
        ABC,
        [
            e.SagaStarted("order", "plan-1", {}, "w1", starts_at=LATER),
            e.SagaBegan(),
            *done("a", "b", "c"),
            e.SagaCompleted(),
        ],
    ),
    "a saga waits for a worker": (
        ABC,
        [
            e.SagaStarted("order", "plan-1", {}),
            e.SagaTakenOver("w1", None),
            e.SagaBegan(),
            *done("a", "b", "c"),
            e.SagaCompleted(),
        ],
    ),
    "steps at the same time": (
        TOGETHER,
        [
            STARTED,
            *done("a"),
            e.StepStarted("b", 1),
            e.StepStarted("c", 1),
            e.StepCompleted("c"),
            e.StepFailed("b", 1, "rejected", "no"),
            ABORTED,
            *undone("c", "a"),
            e.SagaCompensated(),
        ],
    ),
    "a step over a list": (
        LISTED,
        [
            STARTED,
            *done("a"),
            e.StepFannedOut("b", 3),
            e.StepStarted("b[0]", 1),
            e.StepStarted("b[1]", 1),
            e.StepCompleted("b[1]"),
            e.StepStarted("b[2]", 1),
            e.StepCompleted("b[0]"),
            e.StepCompleted("b[2]"),
            e.SagaCompleted(),
        ],
    ),
    "a list without elements": (LISTED, [STARTED, *done("a"), e.StepFannedOut("b", 0), e.SagaCompleted()]),
    "a list that is none": (
        LISTED,
        [
            STARTED,
            *done("a"),
            e.StepFailed("b", 0, "rejected", "no list"),
            e.SagaAborted("b", "no list"),
            *undone("a"),
            e.SagaCompensated(),
        ],
    ),
    "a step that is not wanted": (
        ASKED,
        [STARTED, *done("a"), e.StepStarted("b", 1), e.StepSkipped("b"), e.SagaCompleted()],
    ),
    "waits, and a signal that comes early": (
        WAITING,
        [
            STARTED,
            e.WaitStarted("nap", LATER),
            e.SignalReceived("word"),
            e.StepCompleted("nap"),
            e.WaitStarted("word", LATER),
            e.StepCompleted("word"),
            e.SagaCompleted(),
        ],
    ),
    "a wait that is over": (
        WAITING,
        [
            STARTED,
            e.WaitStarted("nap", LATER),
            e.StepCompleted("nap"),
            e.WaitStarted("word", LATER),
            e.StepFailed("word", 0, "rejected", "too late"),
            e.SagaAborted("word", "too late"),
            *undone("nap"),
            e.SagaCompensated(),
        ],
    ),
    "a saga as a step": (
        NESTED,
        [
            STARTED,
            *done("a"),
            e.StepStarted("b", 1),
            e.ChildStarted("b", "other", "s2", {}),
            e.StepFailed("b", 1, "rejected", "compensated"),
            ABORTED,
            *undone("a"),
            e.SagaCompensated(),
        ],
    ),
    "it is asked, and it has happened": (
        PROBED,
        [
            STARTED,
            e.StepStarted("a", 1),
            e.StepFailed("a", 1, "unknown", "lost", LATER),
            e.ProbeStarted("a", 1),
            e.ProbeAnswered("a", happened=True),
            *done("b"),
            e.SagaCompleted(),
        ],
    ),
    "it is asked after a crash, and it has not": (
        PROBED,
        [
            STARTED,
            e.StepStarted("a", 1),
            e.SagaTakenOver("w2", "w1"),
            e.ProbeStarted("a", 1),
            e.ProbeAnswered("a", happened=False),
            e.StepStarted("a", 1),
            e.StepFailed("a", 1, "rejected", "no"),
            e.SagaAborted("a", "no"),
            e.SagaCompensated(),
        ],
    ),
    "it is asked before it is undone, and nobody can tell": (
        PROBED,
        [
            STARTED,
            e.StepStarted("a", 1),
            e.StepFailed("a", 1, "unknown", "lost"),
            e.SagaAborted("a", "lost"),
            e.ProbeStarted("a", 1),
            e.ProbeAnswered("a"),
            *undone("a"),
            e.SagaCompensated(),
        ],
    ),
}

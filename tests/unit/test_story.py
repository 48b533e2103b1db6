"""The story of a saga: what people read of its events."""

from __future__ import annotations

from datetime import datetime

import pytest

from saga_es.core import events as e
from saga_es.core.evolve import fold
from saga_es.core.plan import Child, Plan, Signal, StepPlan
from saga_es.core.state import SagaState
from saga_es.store.log.codec import SAGA
from saga_es.store.log.entries import Recorded
from saga_es.store.queries.story import Pause, Progress, SagaStory, Skip, StepStory, story
from tests.support.story import ABC, NOW, SAGA_ID, STARTED, THRICE, a_plan, done, seconds

LATER = seconds(60)

Events = list[e.SagaEvent]
EACH = a_plan(StepPlan(name="t", title="Tickets", over="input[list]", retry=THRICE))
PARTS = ("t[0]", "t[1]")


def story_of(*events: e.SagaEvent, plan: Plan = ABC) -> SagaStory:
    """The story of a saga whose events came one second apart, the first one now."""
    history = [Recorded(SAGA_ID, SAGA, place + 1, event, seconds(place)) for place, event in enumerate(events)]
    return story(fold(SagaState(SAGA_ID, plan), events), history)


def step_of(*events: e.SagaEvent, plan: Plan = ABC) -> StepStory:
    """The first step of that story."""
    return story_of(*events, plan=plan).steps[0]


def times(step: StepStory) -> tuple[datetime | None, datetime | None, datetime | None]:
    return step.started_at, step.completed_at, step.compensated_at


# ── The saga ─────────────────────────────────────────────────────────────────────────────────────────────


def test_what_a_saga_was_started_with_is_told() -> None:
    """Its tags, its parent, when it starts, and by when it must have ended."""
    told = story_of(e.SagaStarted("order", "plan-1", {}, None, {"shop": "7"}, LATER, LATER, "saga-0"))
    assert (told.tags, told.parent, told.starts_at, told.deadline_at) == ({"shop": "7"}, "saga-0", LATER, LATER)


def test_a_pause_is_told_until_it_is_over() -> None:
    """Who, why, and since when."""
    paused = (STARTED, e.StepStarted("a", 1), e.SagaPaused("ann", "lunch"))
    assert story_of(*paused).paused
    assert story_of(*paused).pause == Pause(seconds(2), "ann", "lunch")
    resumed = story_of(*paused, e.SagaResumed("ann", "back"))
    assert (resumed.paused, resumed.pause) == (False, None)


def test_what_a_call_said_last_is_told_with_its_time() -> None:
    """Also of its compensation, and also when the call is over."""
    assert step_of(STARTED, e.StepStarted("a", 1)).last_progress is None
    told = step_of(STARTED, e.StepStarted("a", 1), e.StepProgressed("a", 1, details=1), e.StepProgressed("a", 1))
    assert told.last_progress == Progress(seconds(3), "action", 1, None)
    undone = step_of(
        *(STARTED, *done("a"), e.SagaAborted("b", "no"), e.CompensationStarted("a", 1)),
        *(e.StepProgressed("a", 1, "compensation", [2]), e.CompensationCompleted("a"), e.SagaCompensated()),
    )
    assert undone.last_progress == Progress(seconds(5), "compensation", 1, [2])


# ── Steps ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_step_that_waits_is_told_with_when_it_began_and_until_when_it_waits() -> None:
    """It was never called; when it is over, nothing is waited for any more."""
    plan = a_plan(StepPlan(name="w", title="w", work=Signal(60), compensation=None))
    waiting = step_of(STARTED, e.WaitStarted("w", LATER), plan=plan)
    assert (waiting.status, waiting.attempts, waiting.started_at, waiting.until) == (
        "IN_PROGRESS",
        0,
        seconds(1),
        LATER,
    )
    over = step_of(STARTED, e.WaitStarted("w", LATER), e.StepCompleted("w", "yes"), e.SagaCompleted(), plan=plan)
    assert (over.status, over.until, times(over)) == ("COMPLETED", None, (seconds(1), seconds(2), None))


def test_a_step_that_is_tried_again_is_told_with_when() -> None:
    """For as long as it waits for that."""
    failed: Events = [STARTED, e.StepStarted("a", 1), e.StepFailed("a", 1, "unavailable", "busy", LATER)]
    assert step_of(*failed).retry_at == LATER
    again = step_of(*failed, e.StepStarted("a", 2))
    assert (again.retry_at, again.attempts, again.error, again.started_at) == (None, 2, "busy", seconds(1))


def test_a_step_that_runs_a_saga_is_told_with_its_id() -> None:
    """So that it can be looked at."""
    plan = a_plan(StepPlan(name="p", title="p", work=Child("pay"), retry=THRICE))
    assert step_of(STARTED, e.StepStarted("p", 1), e.ChildStarted("p", "pay", "pay-1", {}), plan=plan).child == "pay-1"


def test_a_step_that_is_skipped_is_told_with_who_said_so() -> None:
    """Or with nobody, when its condition did not hold; and so is a compensation."""
    assert step_of(STARTED, e.StepStarted("a", 1), e.StepSkipped("a")).skip == Skip(seconds(2), None, None)
    by_ann = step_of(STARTED, e.StepStarted("a", 1), e.SagaFailed("no"), e.StepSkipped("a", "ann", "no use"))
    assert (by_ann.status, by_ann.skip) == ("SKIPPED", Skip(seconds(3), "ann", "no use"))
    back: Events = [
        e.SagaCancelled("ann", "no"),
        e.CompensationStarted("a", 1),
        e.CompensationFailed("a", 1, "rejected", "gone"),
    ]
    undone = step_of(STARTED, *done("a"), *back, e.SagaFailed("gone"), e.CompensationSkipped("a", "bob", "by hand"))
    assert (undone.status, undone.skip) == ("COMPENSATED", Skip(seconds(7), "bob", "by hand"))
    assert undone.compensated_at == seconds(7)


def test_what_came_of_an_attempt_is_forgotten_when_another_follows() -> None:
    """A step that was given up, and is called again by order, is not completed."""
    given_up: Events = [STARTED, e.StepStarted("a", 1), e.StepFailed("a", 1, "rejected", "no"), e.SagaFailed("no")]
    assert step_of(*given_up).completed_at == seconds(2)
    again = step_of(
        *given_up, e.SagaReopened("IN_PROGRESS", "ann", "fixed", NOW), e.SagaTakenOver("w1"), e.StepStarted("a", 2)
    )
    assert (again.status, times(again)) == ("IN_PROGRESS", (seconds(1), None, None))


# ── Steps that are done over a list ──────────────────────────────────────────────────────────────────────


def test_a_step_over_a_list_is_told_with_its_elements() -> None:
    """Each like a step of its own; the step itself sums them up."""
    begun: Events = [STARTED, e.StepFannedOut("t", 2), *(e.StepStarted(part, 1) for part in PARTS)]
    failed: Events = [e.StepFailed("t[1]", 1, "unavailable", "busy", LATER), e.StepStarted("t[1]", 2)]
    step = step_of(*begun, e.StepCompleted("t[0]", "A1"), *failed, plan=EACH)
    assert (step.step, step.name, step.status, step.attempts, step.error) == ("t", "Tickets", "IN_PROGRESS", 3, "busy")
    assert step.result == ["A1", None]
    assert times(step) == (seconds(1), None, None)
    assert step.elements is not None
    assert [(part.step, part.status, part.attempts, part.result) for part in step.elements] == [
        ("t[0]", "COMPLETED", 1, "A1"),
        ("t[1]", "IN_PROGRESS", 2, None),
    ]


def test_a_step_over_a_list_is_done_when_the_last_of_its_elements_is() -> None:
    """And undone when the last of them is."""
    begun: Events = [STARTED, e.StepFannedOut("t", 2), *(e.StepStarted(part, 1) for part in PARTS)]
    there: Events = [*begun, *(e.StepCompleted(part) for part in reversed(PARTS))]
    whole = step_of(*there, e.SagaCompleted(), plan=EACH)
    assert (whole.status, times(whole)) == ("COMPLETED", (seconds(1), seconds(5), None))
    undoing: Events = [e.SagaCancelled("ann", "no"), *(e.CompensationStarted(part, 1) for part in PARTS)]
    half = step_of(*there, *undoing, e.CompensationCompleted("t[0]"), plan=EACH)
    assert (half.status, half.compensated_at) == ("COMPENSATING", None)
    undone = step_of(*there, *undoing, *map(e.CompensationCompleted, PARTS), e.SagaCompensated(), plan=EACH)
    assert (undone.status, undone.compensated_at) == ("COMPENSATED", seconds(10))


def test_a_step_over_an_empty_list_is_done_at_once() -> None:
    """With an empty list for its result."""
    step = step_of(STARTED, e.StepFannedOut("t", 0), e.SagaCompleted(), plan=EACH)
    assert (step.status, step.result, step.elements, times(step)) == (
        "COMPLETED",
        [],
        [],
        (seconds(1), seconds(1), None),
    )


def test_a_step_whose_list_could_not_be_read_has_failed() -> None:
    """It has no elements, and was never called."""
    step = step_of(STARTED, e.StepFailed("t", 0, "rejected", "no list"), e.SagaAborted("t", "no list"), plan=EACH)
    assert (step.status, step.elements, step.error) == ("FAILED", None, "no list")


@pytest.mark.parametrize(
    ("events", "status"),
    [
        ([e.StepSkipped(part) for part in PARTS], "SKIPPED"),
        ([e.StepSkipped("t[0]"), e.StepCompleted("t[1]")], "COMPLETED"),
        ([e.StepCompleted("t[0]"), e.StepFailed("t[1]", 1, "rejected", "no")], "FAILED"),
        ([e.StepCompleted("t[0]"), e.SagaPaused("ann", "lunch")], "IN_PROGRESS"),
        (
            [
                *(e.StepCompleted(part) for part in PARTS),
                e.SagaCancelled("ann", "no"),
                e.CompensationStarted("t[1]", 1),
                e.CompensationCompleted("t[1]"),
            ],
            "COMPENSATING",
        ),
    ],
)
def test_a_step_over_a_list_is_where_its_neediest_element_is(events: list[e.SagaEvent], status: str) -> None:
    """What is under way before what failed, and that before what is over."""
    begun: Events = [STARTED, e.StepFannedOut("t", 2), *(e.StepStarted(part, 1) for part in PARTS)]
    assert step_of(*begun, *events, plan=EACH).status == status

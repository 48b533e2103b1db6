"""A call that says that it goes on: it is recorded while the call is in flight, and changes nothing else."""

from __future__ import annotations

import pytest

from saga_es.core import events as e
from saga_es.core.facts import CallProgressed, OwnerGone
from saga_es.core.outcomes import Completed, Direction
from tests.support.story import STARTED, a_plan, a_step, action, done, given, seconds

CALLED = (STARTED, e.StepStarted("a", 1))
UNDOING = (STARTED, *done("a"), e.StepStarted("b", 1), e.StepFailed("b", 1, "rejected", "no"), e.SagaAborted("b", "no"))


def says(
    step: str, details: object = None, attempt: int = 1, direction: Direction = Direction.ACTION
) -> CallProgressed:
    return CallProgressed(step, direction, attempt, details)


def test_what_a_call_in_flight_says_is_recorded_and_the_saga_still_waits_for_its_answer() -> None:
    """Twice, and then the answer."""
    story = given(*CALLED)
    story.when(says("a", {"done": 1})).then(e.StepProgressed("a", 1, "action", {"done": 1}))
    story.when(says("a")).then(e.StepProgressed("a", 1))
    story.when(action("a", Completed("a!"))).then(e.StepCompleted("a", "a!"), e.StepStarted("b", 1))


def test_a_compensation_says_it_too() -> None:
    """Its attempts are counted apart."""
    story = given(*UNDOING, e.CompensationStarted("a", 1))
    story.when(says("a", 50, direction=Direction.COMPENSATION)).then(e.StepProgressed("a", 1, "compensation", 50))
    story.when(says("a", 50)).then()


def test_a_probe_says_it_too() -> None:
    """As long as it is under way; the call that it asks about is over."""
    plan = a_plan(a_step("a", probe=True), "b")
    lost = e.StepFailed("a", 1, "unknown", "lost", seconds(1))
    story = given(*CALLED, lost, e.ProbeStarted("a", 1), plan=plan)
    story.when(says("a", direction=Direction.PROBE)).then(e.StepProgressed("a", 1, "probe"))
    story.when(says("a")).then()


@pytest.mark.parametrize(
    "past",
    [
        [STARTED],
        [*CALLED, e.StepCompleted("a", 1), e.StepStarted("b", 1)],
        [*CALLED, e.StepFailed("a", 1, "unknown", "no answer within 30 s", seconds(1))],
        [*CALLED, e.StepFailed("a", 1, "unknown", "late", seconds(1)), e.StepStarted("a", 2)],
        [*CALLED, e.SagaFailed("broken")],
    ],
    ids=["not called", "answered", "timed out", "called again", "ended"],
)
def test_what_nobody_waits_for_says_nothing(past: list[e.SagaEvent]) -> None:
    """Its words come too late: no event."""
    given(*past).when(says("a", {"done": 1})).then()


def test_a_saga_that_is_paused_or_aborts_hears_it_all_the_same() -> None:
    """As it would hear the answer."""
    given(*CALLED, e.SagaPaused("ann", "wait")).when(says("a")).then(e.StepProgressed("a", 1))
    given(*CALLED, e.SagaCancelled("ann", "no")).when(says("a")).then(e.StepProgressed("a", 1))


def test_progress_does_not_let_a_call_survive_its_worker() -> None:
    """It was in flight when the worker died, so it is in doubt and made again, whatever it had said."""
    silent, said = given(*CALLED), given(*CALLED, e.StepProgressed("a", 1, details=99))
    for story in (silent, said):
        story.when(OwnerGone("w2")).then(e.SagaTakenOver("w2", "w1"))
    assert silent.state.steps == said.state.steps
    assert said.state.step("a").in_doubt

"""A saga that takes its process along: counted in the log, and stopped, so that the others live."""

from __future__ import annotations

import pytest

from saga_es.core import events as e
from saga_es.core.commands import Resume, Retry
from saga_es.core.facts import OwnerGone
from saga_es.core.outcomes import Completed, Rejected
from saga_es.core.plan import Child, Delay, Signal, StepPlan, Work
from tests.support.story import STARTED, Story, a_plan, action, done, given, seconds, undo

OUT: list[e.SagaEvent] = [STARTED, e.StepStarted("a", 1)]


def gone(story: Story, *workers: str, most: int = 3) -> Story:
    """One worker after the other takes the saga over."""
    for worker in workers:
        story.when(OwnerGone(worker, most))
    return story


def test_a_call_that_takes_its_process_along_again_and_again_fails_the_saga() -> None:
    """The third takeover with the same call out is the last; it is recorded before anything is called again."""
    story = gone(given(*OUT), "w2", "w3").then(e.SagaTakenOver("w3", "w2"))
    story.when(OwnerGone("w4", 3))
    story.then(e.SagaTakenOver("w4", "w3"), e.SagaFailed("3 workers crashed while step 'a' was under way"))


def test_an_answer_forgets_the_crashes() -> None:
    """Whoever was called did not take the process along: the count begins again."""
    story = gone(given(*OUT), "w2", "w3").when(action("a", Completed("a!")))
    gone(story, "w4", "w5").then(e.SagaTakenOver("w5", "w4"))


def test_a_failed_attempt_is_an_answer_too() -> None:
    """A step that is tried again is not counted as one that kills."""
    past = [
        *OUT,
        e.SagaTakenOver("w2", "w1"),
        e.SagaTakenOver("w3", "w2"),
        e.StepFailed("a", 1, "unknown", "?", seconds(1)),
    ]
    gone(given(*past, e.StepStarted("a", 2)), "w4", "w5").then(e.SagaTakenOver("w5", "w4"))


def test_workers_that_go_while_a_saga_only_waits_are_not_counted() -> None:
    """A saga that waits for a month lives through any number of deployments."""
    plan = a_plan(StepPlan(name="nap", title="nap", compensation=None, work=Delay(9)), "b")
    story = given(STARTED, e.WaitStarted("nap", seconds(9)), plan=plan)
    gone(story, "w2", "w3", "w4", "w5").then(e.SagaTakenOver("w5", "w4"))


def test_workers_that_go_while_a_saga_waits_for_its_child_are_not_counted() -> None:
    """To wait for a child is not a call, and kills nobody."""
    plan = a_plan(StepPlan(name="pay", title="pay", work=Child("payment")), "b")
    child = e.ChildStarted("pay", "payment", "saga-2", {"n": 1})
    story = given(STARTED, e.StepStarted("pay", 1), child, plan=plan)
    gone(story, "w2", "w3", "w4", "w5").then(e.SagaTakenOver("w5", "w4"))


def test_workers_that_go_during_a_pause_are_not_counted() -> None:
    """Nobody makes the call again before the resume, so it cannot be why they go."""
    story = gone(given(*OUT, e.SagaPaused("ann", "stocktaking")), "w2", "w3", "w4", "w5")
    story.then(e.SagaTakenOver("w5", "w4"))
    assert story.state.step("a").crashes == 0
    story.when(Resume("ann", "done"))
    gone(story, "w6", "w7").then(e.SagaTakenOver("w7", "w6"))
    story.when(OwnerGone("w8", 3))
    assert isinstance(story.decided[-1], e.SagaFailed)


@pytest.mark.parametrize(
    ("work", "events"),
    [
        (Child("other"), [e.ChildStarted("a", "other", "saga-2", {})]),
        (Signal(None), [e.WaitStarted("a")]),
        (None, [e.ProbeStarted("a", 1), e.ProbeAnswered("a", happened=True)]),
    ],
    ids=["its saga was started", "its wait began", "it was told to have happened"],
)
def test_what_came_of_the_call_forgets_the_crashes_too(work: Work | None, events: list[e.SagaEvent]) -> None:
    """The call is over: what is waited for now takes nobody along."""
    plan = a_plan(StepPlan(name="a", title="a", work=work, condition=True, probe=work is None), "b")
    story = given(*OUT, e.SagaTakenOver("w2", "w1"), e.SagaTakenOver("w3", "w2"), *events, plan=plan)
    assert story.state.step("a").crashes == 0


def test_a_compensation_that_kills_is_counted_apart() -> None:
    """What the action did to its workers is not held against its compensation."""
    past = [*OUT, e.SagaTakenOver("w2", "w1"), e.SagaTakenOver("w3", "w2"), e.StepCompleted("a"), e.StepStarted("b", 1)]
    story = given(*past).when(action("b", Rejected("no")))
    assert story.decided[-1] == e.CompensationStarted("a", 1)
    gone(story, "w4", "w5").then(e.SagaTakenOver("w5", "w4"))
    story.when(OwnerGone("w6", 3))
    story.then(e.SagaTakenOver("w6", "w5"), e.SagaFailed("3 workers crashed while step 'a' was under way"))


def test_a_person_can_give_it_another_chance() -> None:
    """A retry of the failed saga counts from nothing, and makes the same call again."""
    story = gone(given(STARTED, *done("a"), e.StepStarted("b", 1)), "w2", "w3", "w4").when(Retry("ann", "mended"))
    gone(story, "w5", "w6").then(e.SagaTakenOver("w6", "w5"))
    assert story.state.step("b").attempts == 1
    story.when(action("b", Completed())).when(undo("b", Completed())).then()

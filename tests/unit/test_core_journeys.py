"""What holds for every saga with every feature, whatever is answered, ordered, taken over or too late."""

from __future__ import annotations

from collections import deque

import msgspec
from hypothesis import given as for_all

from saga_es.core import events as e
from saga_es.core.commands import Cancel
from saga_es.core.decide import decide
from saga_es.core.evolve import evolve, fold
from saga_es.core.facts import CallReturned, CannotGoOn, ChildEnded, OwnerGone, RetryDue, Start, Woken
from saga_es.core.invariants import violations
from saga_es.core.operate import preview
from saga_es.core.outcomes import Completed, Direction, Unknown
from saga_es.core.state import DONE, SagaState, SagaStatus, StepStatus, direction_of, open_intents
from saga_es.errors import CommandRefused
from saga_es.store.log.codec import SAGA, Codec
from tests.support.random_plans import WHO, journeys, let_it_end
from tests.support.story import SAGA_ID, Loop, action, probed, undo

REOPENS = e.StepSkipped | e.CompensationSkipped | e.InputReplaced | e.SagaReopened | e.SagaResolved
OF_A_SHELL = Start | CallReturned | RetryDue | ChildEnded | CannotGoOn
"""Facts that only one call or timer can tell. Told again they are no news; a person may well say something twice."""


def states_of(loop: Loop) -> list[tuple[SagaState, e.SagaEvent]]:
    """Each event, with the state before it."""
    state, found = SagaState(SAGA_ID, loop.state.plan), []
    for event in loop.log:
        found.append((state, event))
        state = evolve(state, event)
    return found


# ── The end ──────────────────────────────────────────────────────────────────────────────────────────────


@for_all(journeys())
def test_every_saga_ends_once_nobody_interferes(loop: Loop) -> None:
    """Resumed, owned, and answered, it comes to an end, and nothing stays open."""
    assert let_it_end(loop).state.status.ended
    assert open_intents(loop.state) == []


@for_all(journeys())
def test_nothing_follows_an_end_but_a_person_who_opens_it_again(loop: Loop) -> None:
    """An ended saga hears no answer and no timer any more."""
    for state, event in states_of(let_it_end(loop)):
        assert not state.status.ended or isinstance(event, REOPENS)


@for_all(journeys())
def test_completed_means_all_of_it(loop: Loop) -> None:
    """Every step was done or skipped, with all its parts, and none is under way."""
    for state, event in states_of(let_it_end(loop)):
        if isinstance(event, e.SagaCompleted):
            assert all(state.is_done(step.name) for step in state.plan.steps)
            assert not state.aborted
            assert not state.in_flight


@for_all(journeys())
def test_compensated_means_that_no_effect_is_left(loop: Loop) -> None:
    """All that happened or may have, and can be undone, is undone; nothing is still out that might happen."""
    for state, event in states_of(let_it_end(loop)):
        if isinstance(event, e.SagaCompensated):
            assert [name for name in state.effects if state.plan.step(name).compensation] == []
            assert not state.in_flight


@for_all(journeys())
def test_a_failed_saga_has_no_call_out_that_it_gave_up_for(loop: Loop) -> None:
    """What was given up is given up when all that was out has answered; the reason names the step."""
    for moment in loop.moments:
        if isinstance(moment.fact, CallReturned) and moment.events and isinstance(moment.events[-1], e.SagaFailed):
            assert not fold(moment.before, moment.events[:-1]).in_flight
            assert "step '" in moment.events[-1].reason


# ── The order ────────────────────────────────────────────────────────────────────────────────────────────


@for_all(journeys())
def test_a_judge_who_keeps_books_of_his_own_finds_nothing(loop: Loop) -> None:
    """Intents before outcomes, attempts without gaps, nothing while paused: the rules that any log can be held to."""
    assert violations(SAGA_ID, loop.state.plan, enumerate(let_it_end(loop).log, 1)) == []


@for_all(journeys())
def test_nothing_begins_too_early(loop: Loop) -> None:
    """A step starts when all it waits for is done, never after the moment, never while the saga is paused."""
    for state, event in states_of(let_it_end(loop)):
        if isinstance(event, e.StepStarted):
            whole = state.plan.step(event.step)
            assert all(state.is_done(name) for name in state.plan.after(whole.name))
            assert state.status is SagaStatus.IN_PROGRESS
            assert not state.paused
            assert state.step(event.step).status not in DONE


@for_all(journeys())
def test_a_step_is_undone_after_all_that_came_behind_it(loop: Loop) -> None:
    """Only what stands is undone, once no action is out, and what depends on it is gone."""
    for state, event in states_of(let_it_end(loop)):
        if isinstance(event, e.CompensationStarted):
            standing = {state.plan.step(name).name for name in state.effects if state.plan.step(name).compensation}
            whole = state.plan.step(event.step).name
            assert standing.isdisjoint(state.plan.behind(whole))
            assert event.step in state.effects
            assert all(not (step.status is StepStatus.IN_PROGRESS and step.in_flight) for step in state.steps.values())
            assert not state.paused


@for_all(journeys())
def test_no_more_parts_are_under_way_together_than_may_be(loop: Loop) -> None:
    """Forward and back."""
    for state, event in states_of(let_it_end(loop)):
        if isinstance(event, e.StepStarted | e.CompensationStarted):
            after = evolve(state, event)
            step = state.plan.step(event.step)
            status = after.step(event.step).status
            if step.over:
                assert sum(after.step(part).status is status for part in state.elements(step.name)) <= step.at_once


@for_all(journeys())
def test_after_the_pivot_the_saga_only_goes_forward(loop: Loop) -> None:
    """Once its pivot is done, nothing aborts it."""
    for state, _ in states_of(let_it_end(loop)):
        pivots = [step.name for step in state.plan.steps if step.kind == "pivot"]
        assert not (state.aborted and any(state.step(name).status in DONE for name in pivots))


# ── The loop ─────────────────────────────────────────────────────────────────────────────────────────────


@for_all(journeys(longest=20))
def test_what_the_log_says_is_open_is_what_is_under_way(loop: Loop) -> None:
    """A worker that knows only the log does exactly what the one before was doing."""
    if loop.state.owner is not None and not loop.state.paused:
        assert loop.under_way == {(intent.step, direction_of(intent)): intent for intent in open_intents(loop.state)}


@for_all(journeys())
def test_the_fold_of_the_stored_log_is_the_state(loop: Loop) -> None:
    """What was reached moment by moment is what anyone reads from the text in the database."""
    codec = Codec()
    stored = [codec.decode(SAGA, type(event).__name__, codec.encode(event)) for event in loop.log]
    assert stored == loop.log
    assert fold(SagaState(SAGA_ID, loop.state.plan), stored) == loop.state


@for_all(journeys())
def test_deciding_is_pure(loop: Loop) -> None:
    """The same state, fact and time give the same events, and leave the state as it was."""
    for moment in loop.moments:
        before = msgspec.json.encode(moment.before)
        assert decide(moment.before, moment.fact, moment.at) == moment.events
        assert msgspec.json.encode(moment.before) == before


@for_all(journeys())
def test_a_fact_that_is_in_the_log_is_no_news(loop: Loop) -> None:
    """The same answer or timer told again at once changes nothing."""
    for moment in loop.moments:
        if isinstance(moment.fact, OF_A_SHELL):
            assert decide(fold(moment.before, moment.events), moment.fact, moment.at) == []


@for_all(journeys())
def test_a_fact_that_comes_late_is_no_news(loop: Loop) -> None:
    """An answer or a timer that nobody waits for any more changes nothing, however much later it comes."""
    if loop.state.owner is None or loop.state.paused:
        return  # nobody here waits for anything
    for fact in [moment.fact for moment in loop.moments]:
        if isinstance(fact, CallReturned | RetryDue | ChildEnded) and not is_awaited(loop, fact):
            assert decide(loop.state, fact, loop.now) == []


def is_awaited(loop: Loop, fact: CallReturned | RetryDue | ChildEnded) -> bool:
    match fact:
        case CallReturned(step, direction, attempt) | RetryDue(step, direction, attempt):
            intent = loop.under_way.get((step, direction))
            waits = isinstance(intent, e.StepFailed | e.CompensationFailed)
            return getattr(intent, "attempt", None) == attempt and waits is isinstance(fact, RetryDue)
        case ChildEnded(step, saga_id):
            intent = loop.under_way.get((step, Direction.ACTION))
            return isinstance(intent, e.ChildStarted) and intent.saga_id == saga_id


@for_all(journeys())
def test_going_on_is_done_at_once(loop: Loop) -> None:
    """After any moment there is nothing left that follows by itself: no saga waits for being looked at."""
    for moment in loop.moments:
        assert decide(fold(moment.before, moment.events), Woken(), moment.at) == []


# ── The preview ──────────────────────────────────────────────────────────────────────────────────────────


@for_all(journeys(longest=10))
def test_a_preview_is_what_a_cancel_does(loop: Loop) -> None:
    """It names what is undone, in the order in which that begins, when what is out completes and all goes well."""
    try:
        foreseen = [undoing.step for undoing in preview(loop.state)]
    except CommandRefused:
        return
    before = len(loop.log)
    out = [name for name, step in loop.state.steps.items() if step.status is StepStatus.IN_PROGRESS and step.in_flight]
    loop.tell(Cancel(*WHO))
    if loop.state.owner is None and not loop.state.status.ended:
        loop.tell(OwnerGone("w-last"))
    for name in out:
        complete(loop, name)
    waiting = deque(event for event in loop.log[before:] if event in loop.under_way.values())
    while not loop.state.status.ended:
        waiting += answer_unknowing(loop, waiting.popleft())
    begun = [event.step for event in loop.log[before:] if isinstance(event, e.CompensationStarted)]
    assert begun == foreseen


def complete(loop: Loop, name: str) -> None:
    """The step that is out answers, at last, that it is done."""
    step = loop.state.step(name)
    if step.probing:
        loop.tell(probed(name, Completed(), step.attempts))
    elif step.child is not None:
        loop.tell(ChildEnded(name, step.child.saga_id, "COMPLETED"))
    else:
        loop.tell(action(name, Completed(), step.attempts))


def answer_unknowing(loop: Loop, intent: e.SagaEvent) -> list[e.SagaEvent]:
    match intent:
        case e.ProbeStarted(step, attempt):
            return loop.tell(probed(step, Unknown("lost"), attempt))
        case e.CompensationStarted(step, attempt):
            return loop.tell(undo(step, Completed(), attempt))
        case _:
            return []

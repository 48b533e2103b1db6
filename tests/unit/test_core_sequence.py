"""What is looked up is what the rules decide: a sequence has a table, and no rules of its own."""

from __future__ import annotations

from hypothesis import given as for_all
from hypothesis import strategies as st
from msgspec.structs import replace

from saga_es.core.decide import advance, by_the_rules
from saga_es.core.facts import CallReturned
from saga_es.core.outcomes import Completed, Direction
from saga_es.core.plan import Delay, Plan, Signal
from saga_es.core.sequence import moved_on
from saga_es.core.state import SagaState, SagaStatus
from tests.support.random_plans import journeys, sequences
from tests.support.story import ABC, NOW, START, Loop, a_plan, a_step, action, drive


def answers_to(state: SagaState) -> list[CallReturned]:
    """Whatever might come back from a call of any step, wanted or not."""
    return [
        CallReturned(step.name, direction, attempt, Completed({"id": 1}))
        for step in state.plan.steps
        for direction in Direction
        for attempt in (1, 2)
    ]


@for_all(sequences() | journeys())
def test_what_is_looked_up_is_what_the_rules_decide(loop: Loop) -> None:
    """At each moment of any saga, for each answer that may come: the same events, and the same state after them."""
    for moment in loop.moments:
        assert advance(moment.before, moment.fact, moment.at) == by_the_rules(moment.before, moment.fact, moment.at)
        for fact in answers_to(moment.before):
            if (moved := moved_on(moment.before, fact)) is not None:
                events, state = by_the_rules(moment.before, fact, moment.at)
                assert moved == (events, state)
                assert list(moved[1].steps) == list(state.steps)  # what is read from them has an order


@for_all(st.integers(1, 6))
def test_a_sequence_that_goes_well_is_looked_up_at_each_answer(size: int) -> None:
    """From the first step to the end; else the table would be there for nothing."""
    journey = drive(a_plan(*"abcdef"[:size]), lambda _: Completed("done"))
    assert journey.state.status is SagaStatus.COMPLETED
    answers = [moment for moment in journey.moments if isinstance(moment.fact, CallReturned)]
    assert len(answers) == size
    for moment in answers:
        assert isinstance(moment.fact, CallReturned)
        assert moved_on(moment.before, moment.fact) is not None


def test_the_table_of_a_plan_names_the_next_step() -> None:
    """And how many steps have been called by then; a step that waits is left to the rules, as is what leads to it."""
    assert ABC.following == {None: (0, "a"), "a": (1, "b"), "b": (2, "c"), "c": (3, None)}
    waits = a_plan("a", a_step("b", work=Delay(2)), a_step("c", work=Signal(None)), "d")
    assert waits.following == {None: (0, "a"), "d": (4, None)}
    beside = Plan("order", (a_step("a"), replace(a_step("b"), after=())))
    assert beside.following == {}


def test_what_differs_in_the_least_is_left_to_the_rules() -> None:
    """A saga in doubt, paused, without an owner, or with a deadline is none of those that are looked up."""
    _, state = advance(SagaState("saga-1", ABC), START, NOW)
    fact = action("a", Completed())
    assert moved_on(state, fact) is not None
    doubtful = {"a": replace(state.steps["a"], in_doubt=True)}
    for differs in ({"owner": None}, {"deadline_at": NOW}, {"steps": doubtful}, {"renamed": {"z": "a"}}):
        assert moved_on(replace(state, **differs), fact) is None

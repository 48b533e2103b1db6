"""Steps that run at the same time: what starts when, who is awaited, and the order of undoing."""

from __future__ import annotations

from datetime import datetime

from hypothesis import given as for_all
from hypothesis import strategies as st

from saga_es.core import events as e
from saga_es.core.decide import decide
from saga_es.core.evolve import evolve, fold
from saga_es.core.facts import Fact, RetryDue
from saga_es.core.outcomes import Completed, Direction, Outcome, Rejected, Unavailable, Unknown
from saga_es.core.plan import Plan, RetryPolicy, StepPlan
from saga_es.core.state import SagaState, SagaStatus, StepStatus, open_intents
from tests.support.story import NOW, ONCE, SAGA_ID, START, STARTED, THRICE, a_plan, action, given, undo

NO = Rejected("no")


def after(name: str, *others: str, retry: RetryPolicy = THRICE, compensation: RetryPolicy | None = THRICE) -> StepPlan:
    return StepPlan(name=name, title=name, after=others, retry=retry, compensation=compensation)


DIAMOND = a_plan(after("a"), after("b", "a"), after("c", "a"), after("d", "b", "c"))
"""a, then b and c at the same time, then d."""

BOTH_OUT: list[e.SagaEvent] = [
    STARTED,
    e.StepStarted("a", 1),
    e.StepCompleted("a", 1),
    e.StepStarted("b", 1),
    e.StepStarted("c", 1),
]


def test_steps_that_wait_for_nothing_start_at_once() -> None:
    """Two steps without anything before them are two intents of the first append."""
    given(plan=a_plan(after("a"), after("b"))).when(START).then(STARTED, e.StepStarted("a", 1), e.StepStarted("b", 1))


def test_steps_that_waited_for_the_same_start_together() -> None:
    """The outcome of a is one append with the intents of b and c."""
    story = given(STARTED, e.StepStarted("a", 1), plan=DIAMOND).when(action("a", Completed(1)))
    story.then(e.StepCompleted("a", 1), e.StepStarted("b", 1), e.StepStarted("c", 1))


def test_a_step_waits_for_all_that_it_comes_after() -> None:
    """D starts with the second of b and c, whichever that is."""
    story = given(*BOTH_OUT, plan=DIAMOND).when(action("c", Completed(3))).then(e.StepCompleted("c", 3))
    story.when(action("b", Completed(2))).then(e.StepCompleted("b", 2), e.StepStarted("d", 1))
    story.when(action("d", Completed(4))).then(e.StepCompleted("d", 4), e.SagaCompleted())


def test_a_step_does_not_wait_for_one_that_it_does_not_come_after() -> None:
    """Of two branches the first goes on while the second, which was started last, is still out."""
    branches = a_plan(after("a"), after("b"), after("c", "a"), after("d", "b"))
    story = given(STARTED, e.StepStarted("a", 1), e.StepStarted("b", 1), plan=branches).when(action("a", Completed(1)))
    story.then(e.StepCompleted("a", 1), e.StepStarted("c", 1))


def test_a_failure_waits_for_the_others_that_are_out() -> None:
    """B is refused while c is out: the saga aborts at once, and undoes nothing before c has answered."""
    story = given(*BOTH_OUT, plan=DIAMOND).when(action("b", NO))
    story.then(e.StepFailed("b", 1, "rejected", "no"), e.SagaAborted("b", "no"))
    story.when(action("c", Completed(3))).then(e.StepCompleted("c", 3), e.CompensationStarted("c", 1))
    story.when(undo("c", Completed())).then(e.CompensationCompleted("c"), e.CompensationStarted("a", 1))
    story.when(undo("a", Completed())).then(e.CompensationCompleted("a"), e.SagaCompensated())


def test_after_the_abort_nothing_is_tried_again() -> None:
    """C is unavailable after b was refused: it is given up at its first attempt, though three are allowed."""
    story = given(*BOTH_OUT, e.StepFailed("b", 1, "rejected", "no"), e.SagaAborted("b", "no"), plan=DIAMOND)
    story.when(action("c", Unavailable("busy")))
    story.then(e.StepFailed("c", 1, "unavailable", "busy"), e.CompensationStarted("a", 1))


def test_a_step_that_waits_to_be_tried_again_is_given_up_at_the_abort() -> None:
    """Its timer says nothing any more; in doubt, it is compensated like one that was done."""
    later = NOW.replace(year=2027)
    waiting: list[e.SagaEvent] = [*BOTH_OUT, e.StepFailed("c", 1, "unknown", "lost", later)]
    story = given(*waiting, plan=DIAMOND).when(action("b", NO))
    story.then(e.StepFailed("b", 1, "rejected", "no"), e.SagaAborted("b", "no"), e.CompensationStarted("c", 1))
    story.when(RetryDue("c", Direction.ACTION, 1)).then()
    story.when(undo("c", Completed())).then(e.CompensationCompleted("c"), e.CompensationStarted("a", 1))


def test_a_step_that_waits_to_be_tried_again_and_did_nothing_is_not_undone() -> None:
    """Its attempts were all told to come back later: there is nothing to undo."""
    waiting: list[e.SagaEvent] = [*BOTH_OUT, e.StepFailed("c", 1, "unavailable", "busy", NOW.replace(year=2027))]
    story = given(*waiting, plan=DIAMOND).when(action("b", NO))
    story.then(e.StepFailed("b", 1, "rejected", "no"), e.SagaAborted("b", "no"), e.CompensationStarted("a", 1))


def test_what_ran_at_the_same_time_is_undone_at_the_same_time() -> None:
    """D is refused: b and c are undone together, and a when both are."""
    past: list[e.SagaEvent] = [*BOTH_OUT, e.StepCompleted("b", 2), e.StepCompleted("c", 3), e.StepStarted("d", 1)]
    story = given(*past, plan=DIAMOND).when(action("d", NO))
    story.then(
        e.StepFailed("d", 1, "rejected", "no"),
        e.SagaAborted("d", "no"),
        e.CompensationStarted("c", 1),
        e.CompensationStarted("b", 1),
    )
    story.when(undo("b", Completed())).then(e.CompensationCompleted("b"))
    story.when(undo("c", Completed())).then(e.CompensationCompleted("c"), e.CompensationStarted("a", 1))


def test_a_compensation_that_is_given_up_waits_for_the_others_that_are_out() -> None:
    """The saga fails when nothing is out any more, with the reason of the one that was given up."""
    past: list[e.SagaEvent] = [*BOTH_OUT, e.StepCompleted("b", 2), e.StepCompleted("c", 3), e.StepStarted("d", 1)]
    aborted: list[e.SagaEvent] = [e.StepFailed("d", 1, "rejected", "no"), e.SagaAborted("d", "no")]
    undoing: list[e.SagaEvent] = [e.CompensationStarted("c", 1), e.CompensationStarted("b", 1)]
    story = given(*past, *aborted, *undoing, plan=DIAMOND).when(undo("c", NO))
    story.then(e.CompensationFailed("c", 1, "rejected", "no"))
    assert open_intents(story.state) == [e.CompensationStarted("b", 1)]
    reason = "the compensation of step 'c' was given up after attempt 1 of 3: no"
    story.when(undo("b", Completed())).then(e.CompensationCompleted("b"), e.SagaFailed(reason))


def test_a_chain_through_a_step_without_compensation_is_still_undone_in_order() -> None:
    """B has nothing to undo; a is undone after c all the same, because c came after it by way of b."""
    plan = a_plan(after("a"), after("b", "a", compensation=None), after("c", "b"), after("d", "c"))
    past: list[e.SagaEvent] = [event for name in "abc" for event in (e.StepStarted(name, 1), e.StepCompleted(name, 0))]
    story = given(STARTED, *past, e.StepStarted("d", 1), plan=plan).when(action("d", NO))
    story.then(e.StepFailed("d", 1, "rejected", "no"), e.SagaAborted("d", "no"), e.CompensationStarted("c", 1))
    story.when(undo("c", Completed())).then(e.CompensationCompleted("c"), e.CompensationStarted("a", 1))


# ── Any plan, any answers, in any order ──────────────────────────────────────────────────────────────────

outcomes: st.SearchStrategy[Outcome] = st.one_of(
    st.just(Completed()), st.just(Completed()), st.just(NO), st.just(Unavailable("busy")), st.just(Unknown("lost"))
)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    names = "abcdef"[: draw(st.integers(1, 6))]
    steps = []
    for place, name in enumerate(names):
        others = draw(st.lists(st.sampled_from(names[:place]), unique=True)) if place else []
        policy = draw(st.sampled_from([None, ONCE, THRICE]))
        steps.append(after(name, *others, retry=draw(st.sampled_from([ONCE, THRICE])), compensation=policy))
    return a_plan(*steps)


@for_all(data=st.data(), plan=plans())
def test_every_plan_ends_well_ordered(data: st.DataObject, plan: Plan) -> None:
    """Whatever is answered, in whatever order: the saga ends, nothing starts too early, and is undone too early."""
    state, log = SagaState(SAGA_ID, plan), list[e.SagaEvent]()
    facts: list[Fact] = [START]
    while facts:
        fact = facts.pop(data.draw(st.integers(0, len(facts) - 1)))
        decided = decide(state, fact, NOW)
        for event in decided:
            check_order(state, event)
            state = evolve(state, event)
            facts += facts_of(event, data)
        log += decided
        assert state == fold(SagaState(SAGA_ID, plan), log)
    assert state.status.ended
    if state.status is SagaStatus.COMPENSATED:
        assert [name for name in state.effects if plan.step(name).compensation] == []


def facts_of(event: e.SagaEvent, data: st.DataObject) -> list[Fact]:
    """What happens because of an event, sooner or later."""
    match event:
        case e.StepStarted(step, attempt):
            return [action(step, data.draw(outcomes), attempt)]
        case e.CompensationStarted(step, attempt):
            return [undo(step, data.draw(outcomes), attempt)]
        case e.StepFailed(step, attempt, retry_at=datetime()):
            return [RetryDue(step, Direction.ACTION, attempt)]
        case e.CompensationFailed(step, attempt, retry_at=datetime()):
            return [RetryDue(step, Direction.COMPENSATION, attempt)]
        case _:
            return []


def check_order(state: SagaState, event: e.SagaEvent) -> None:
    """The event may follow upon this state."""
    assert not state.status.ended
    match event:
        case e.StepStarted(step):
            assert state.status is SagaStatus.IN_PROGRESS
            done = set(state.results)
            assert done.issuperset(state.plan.after(step))
        case e.CompensationStarted(step):
            assert state.status is SagaStatus.COMPENSATING
            assert all(one.status is not StepStatus.IN_PROGRESS for one in state.steps.values())
            assert step in state.effects
            standing = {name for name in state.effects if state.plan.step(name).compensation}
            assert standing.isdisjoint(state.plan.behind(step))
        case e.SagaCompleted() | e.SagaCompensated() | e.SagaFailed():
            assert open_intents(state) == []
        case _:
            pass

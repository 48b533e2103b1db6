"""What holds for every saga: random plans, random answers, driven to the end by the loop in small."""

from __future__ import annotations

import msgspec
from hypothesis import given as for_all
from hypothesis import strategies as st

from saga_es.core import events as e
from saga_es.core.decide import decide
from saga_es.core.evolve import evolve, fold
from saga_es.core.facts import OwnerGone
from saga_es.core.outcomes import Completed, Outcome, Rejected, Unavailable, Unknown
from saga_es.core.plan import Plan, RetryPolicy
from saga_es.core.state import SagaState, SagaStatus, StepStatus, open_intents
from saga_es.store.log.codec import SAGA, Codec
from tests.support.story import NOW, SAGA_ID, Journey, a_plan, a_step, drive

END = e.SagaCompleted | e.SagaCompensated | e.SagaFailed

policies = st.builds(
    RetryPolicy, attempts=st.integers(1, 3), first_delay_s=st.sampled_from([0.0, 0.5, 7.0]), jitter=st.floats(0, 1)
)
outcomes: st.SearchStrategy[Outcome] = st.one_of(
    st.builds(Completed, st.sampled_from([None, 1, {"id": "x"}])),
    st.just(Completed()),
    st.just(Rejected("no")),
    st.builds(Unavailable, st.just("busy"), st.none() | st.floats(0, 100)),
    st.just(Unknown("lost")),
)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    names = "abcde"[: draw(st.integers(1, 5))]
    return a_plan(*[a_step(name, draw(policies), draw(st.none() | policies)) for name in names])


@st.composite
def journeys(draw: st.DrawFn) -> Journey:
    answers = iter(draw(st.lists(outcomes, max_size=30)))
    return drive(draw(plans()), lambda _: next(answers, Completed()))


def completed_or_in_doubt(journey: Journey) -> list[str]:
    """The steps that happened or may have, in that order: told from the log alone, without the state."""
    doubtful: set[str] = set()
    effects = []
    for event in journey.log:
        match event:
            case e.StepCompleted(step):
                effects.append(step)
            case e.StepFailed(step, failure=failure, retry_at=retry_at):
                doubtful |= {step} if failure == "unknown" else set()
                effects += [step] if retry_at is None and step in doubtful else []
            case _:
                pass
    return effects


def compensatable(journey: Journey) -> list[str]:
    plan = journey.state.plan
    return [step for step in completed_or_in_doubt(journey) if plan.step(step).compensation is not None]


@for_all(journeys())
def test_every_saga_ends(journey: Journey) -> None:
    """Whatever the participants answer, the last event is an end, and nothing stays open."""
    assert journey.state.status.ended
    assert isinstance(journey.log[-1], END)
    assert open_intents(journey.state) == []


@for_all(journeys())
def test_nothing_follows_the_end(journey: Journey) -> None:
    """There is one end, and it is the last event."""
    assert sum(isinstance(event, END) for event in journey.log) == 1


@for_all(journeys())
def test_versions_count_the_events(journey: Journey) -> None:
    """The version is the 1-based place of the last event, without gaps."""
    state = SagaState(SAGA_ID, journey.state.plan)
    for version, event in enumerate(journey.log, 1):
        state = evolve(state, event)
        assert state.version == version


@for_all(journeys())
def test_one_call_or_timer_is_open_until_the_end(journey: Journey) -> None:
    """After each append exactly one thing is under way: two calls of one saga are never out together."""
    for moment in journey.moments[:-1]:
        assert len(open_intents(fold(moment.before, moment.events))) == 1


@for_all(journeys())
def test_nothing_goes_forward_after_the_abort(journey: Journey) -> None:
    """Once aborted, no action is started, done or failed any more."""
    kinds = [type(event) for event in journey.log]
    if e.SagaAborted in kinds:
        after = kinds[kinds.index(e.SagaAborted) :]
        assert not {e.StepStarted, e.StepCompleted, e.StepFailed, e.SagaCompleted} & set(after)
        assert kinds.count(e.SagaAborted) == 1
    else:
        assert not {e.CompensationStarted, e.CompensationCompleted, e.CompensationFailed, e.SagaCompensated} & set(
            kinds
        )


@for_all(journeys())
def test_steps_start_in_the_order_of_the_plan(journey: Journey) -> None:
    """Each step begins only when all before it are done."""
    firsts = [event.step for event in journey.log if isinstance(event, e.StepStarted) and event.attempt == 1]
    assert firsts == [step.name for step in journey.state.plan.steps][: len(firsts)]
    assert [event.step for event in journey.log if isinstance(event, e.StepCompleted)] in (firsts, firsts[:-1])


@for_all(journeys())
def test_a_saga_completes_when_and_only_when_every_step_is_done(journey: Journey) -> None:
    """COMPLETED means all of it."""
    statuses = {journey.state.step(step.name).status for step in journey.state.plan.steps}
    assert (journey.state.status is SagaStatus.COMPLETED) == (statuses == {StepStatus.COMPLETED})


@for_all(journeys())
def test_compensations_start_in_reverse_order_of_completion(journey: Journey) -> None:
    """Each begins where the one before it ended, last effect first."""
    firsts = [event.step for event in journey.log if isinstance(event, e.CompensationStarted) and event.attempt == 1]
    assert firsts == compensatable(journey)[::-1][: len(firsts)]


@for_all(journeys())
def test_a_compensated_saga_has_undone_each_effect_exactly_once(journey: Journey) -> None:
    """What was done or may have been, if it can be undone, is undone; nothing twice, nothing else."""
    undone = [event.step for event in journey.log if isinstance(event, e.CompensationCompleted)]
    assert len(undone) == len(set(undone))
    if journey.state.status is SagaStatus.COMPENSATED:
        assert undone == compensatable(journey)[::-1]


@for_all(journeys())
def test_a_failed_saga_says_why(journey: Journey) -> None:
    """A person is needed only where a compensation was given up, and the reason names its step."""
    if journey.state.status is SagaStatus.FAILED:
        given_up, failed = journey.log[-2:]
        assert isinstance(given_up, e.CompensationFailed)
        assert isinstance(failed, e.SagaFailed)
        assert repr(given_up.step) in failed.reason
        assert given_up.step in journey.state.effects


@for_all(journeys())
def test_attempts_count_up_from_one_and_stay_within_the_policy(journey: Journey) -> None:
    """Each direction of each step has its own counter, without gaps."""
    for step in journey.state.plan.steps:
        for kind, policy in ((e.StepStarted, step.retry), (e.CompensationStarted, step.compensation)):
            attempts = [event.attempt for event in journey.log if isinstance(event, kind) and event.step == step.name]
            assert attempts == list(range(1, len(attempts) + 1))
            assert len(attempts) <= (policy.attempts if policy else 0)


@for_all(journeys())
def test_an_attempt_is_never_made_before_its_time(journey: Journey) -> None:
    """The recorded time of the next attempt is not before the failure it follows."""
    for moment in journey.moments:
        for event in moment.events:
            if isinstance(event, e.StepFailed | e.CompensationFailed) and event.retry_at is not None:
                assert event.retry_at >= moment.at


@for_all(journeys())
def test_the_fold_of_the_log_is_the_state(journey: Journey) -> None:
    """What was reached step by step is what anyone reads from the log, also through its stored text."""
    codec = Codec()
    stored = [codec.decode(SAGA, type(event).__name__, codec.encode(event)) for event in journey.log]
    assert stored == journey.log
    assert fold(SagaState(SAGA_ID, journey.state.plan), stored) == journey.state


@for_all(journeys())
def test_deciding_again_decides_the_same(journey: Journey) -> None:
    """No clock, no dice: the same state, fact and time always give the same events."""
    for moment in journey.moments:
        assert decide(moment.before, moment.fact, moment.at) == moment.events


@for_all(journeys())
def test_a_fact_told_twice_is_told_once(journey: Journey) -> None:
    """Once it is in the log, the same fact changes nothing more."""
    for moment in journey.moments:
        assert decide(fold(moment.before, moment.events), moment.fact, moment.at) == []


@for_all(journeys())
def test_a_takeover_at_any_append_changes_the_owner_and_puts_in_doubt_what_is_out(journey: Journey) -> None:
    """What is open stays open; an action that was out may have happened, for whoever would have heard is gone."""
    for moment in journey.moments[:-1]:
        state = fold(moment.before, moment.events)
        taken = fold(state, decide(state, OwnerGone("w2"), NOW))
        assert open_intents(taken) == open_intents(state)
        steps = {}
        for name, step in state.steps.items():
            was_out = step.status is StepStatus.IN_PROGRESS and step.waiting is None
            changed = {"in_doubt": step.in_doubt or was_out, "interrupted": was_out, "crashes": int(step.in_flight)}
            steps[name] = msgspec.structs.replace(step, **changed)
        assert taken == msgspec.structs.replace(state, owner="w2", version=state.version + 1, steps=steps)


@for_all(journeys())
def test_evolve_leaves_the_state_before_as_it_was(journey: Journey) -> None:
    """A state is a value: nobody who holds one sees it change."""
    state = SagaState(SAGA_ID, journey.state.plan)
    for event in journey.log:
        before = msgspec.json.encode(state)
        after = evolve(state, event)
        assert msgspec.json.encode(state) == before
        assert after is not state
        state = after


def test_a_log_is_events_only() -> None:
    """The closed union is all there is: no other thing is ever decided."""
    assert all(isinstance(event, e.SagaEvent) for event in drive(a_plan("a", "b")).log)

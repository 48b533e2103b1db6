"""Trying again: when, how often, and with which wait."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from saga_es.core import events as e
from saga_es.core.decide import decide
from saga_es.core.evolve import fold
from saga_es.core.facts import RetryDue
from saga_es.core.outcomes import Completed, Direction, Outcome, Unavailable, Unknown
from saga_es.core.plan import RetryPolicy
from saga_es.core.state import SagaState, open_intents
from tests.support.story import NOW, STARTED, a_plan, a_step, action, done, drive, given, seconds, undo

EVEN = RetryPolicy(attempts=9, first_delay_s=1, factor=3, cap_s=20, jitter=0)


def wait_after(policy: RetryPolicy, attempt: int, seed: str = "s") -> float:
    return policy.delay_after(attempt, seed).total_seconds()


# ── When ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_time_of_the_next_attempt_is_recorded() -> None:
    """It stands in the event, so that a restart waits for the same moment."""
    story = given(STARTED, e.StepStarted("a", 1)).when(action("a", Unavailable("busy")), now=seconds(100))
    story.then(e.StepFailed("a", 1, "unavailable", "busy", seconds(101)))
    assert open_intents(story.state) == story.decided


def test_a_due_timer_is_the_next_intent() -> None:
    """The attempt is counted up, and the wait is over."""
    story = given(STARTED, e.StepStarted("a", 1), e.StepFailed("a", 1, "unknown", "lost", seconds(1)))
    story.when(RetryDue("a", Direction.ACTION, 1)).then(e.StepStarted("a", 2))
    assert story.state.step("a").waiting is None


def test_a_step_can_succeed_on_its_last_attempt() -> None:
    """Two failures of three attempts are no reason to abort."""

    def answer(intent: object) -> Outcome:
        assert isinstance(intent, e.StepStarted)
        return Completed() if intent.attempt == 3 else Unknown("lost")

    journey = drive(a_plan("a"), answer)
    assert [event.attempt for event in journey.log if isinstance(event, e.StepStarted)] == [1, 2, 3]


@pytest.mark.parametrize("outcome", [Unavailable("busy", 60), Unknown("lost")])
def test_when_the_attempts_run_out_the_saga_aborts(outcome: Unavailable | Unknown) -> None:
    """The last attempt sets no timer, whatever the participant asks for."""
    story = given(STARTED, e.StepStarted("a", 1))
    for attempt in (1, 2):
        story.when(action("a", outcome, attempt)).when(RetryDue("a", Direction.ACTION, attempt))
    failed, aborted, *_ = story.when(action("a", outcome, 3)).decided
    assert isinstance(failed, e.StepFailed)
    assert (failed.attempt, failed.retry_at) == (3, None)
    assert aborted == e.SagaAborted("a", outcome.error)


def test_a_single_attempt_is_never_tried_again() -> None:
    """`attempts` counts the first call, too."""
    plan = a_plan(a_step("a", retry=RetryPolicy(attempts=1), compensation=None))
    given(STARTED, e.StepStarted("a", 1), plan=plan).when(action("a", Unavailable("busy"))).then(
        e.StepFailed("a", 1, "unavailable", "busy"), e.SagaAborted("a", "busy"), e.SagaCompensated()
    )


def test_without_a_wait_the_next_attempt_is_due_at_once() -> None:
    """A wait of 0 s is a timer that has run out, not a step that is given up."""
    plan = a_plan(a_step("a", retry=RetryPolicy(attempts=2, first_delay_s=0)))
    given(STARTED, e.StepStarted("a", 1), plan=plan).when(action("a", Unknown("lost"))).then(
        e.StepFailed("a", 1, "unknown", "lost", seconds(0))
    )


# ── How long ─────────────────────────────────────────────────────────────────────────────────────────────


def test_each_wait_is_longer_by_the_factor_up_to_the_cap() -> None:
    """1, 3, 9 seconds, and never more than 20."""
    assert [wait_after(EVEN, attempt) for attempt in range(1, 6)] == [1, 3, 9, 20, 20]


def test_the_wait_in_the_event_grows_with_the_attempt() -> None:
    """The core asks the policy for the attempt that failed."""
    past: list[e.SagaEvent] = [
        STARTED,
        e.StepStarted("a", 1),
        e.StepFailed("a", 1, "unknown", "x", seconds(1)),
        e.StepStarted("a", 2),
    ]
    given(*past).when(action("a", Unknown("x"), 2)).then(e.StepFailed("a", 2, "unknown", "x", seconds(2)))


def test_a_longer_retry_after_wins() -> None:
    """The participant knows better when it will be back; also where nobody knows whether it acted, as after a 503."""
    given(STARTED, e.StepStarted("a", 1)).when(action("a", Unavailable("busy", 45))).then(
        e.StepFailed("a", 1, "unavailable", "busy", seconds(45))
    )
    given(STARTED, e.StepStarted("a", 1)).when(action("a", Unknown("busy", retry_after_s=45))).then(
        e.StepFailed("a", 1, "unknown", "busy", seconds(45))
    )


def test_a_retry_after_is_not_held_to_our_cap() -> None:
    """The cap bounds our own back-off, not what the participant asks for."""
    given(STARTED, e.StepStarted("a", 1)).when(action("a", Unavailable("busy", 3600))).then(
        e.StepFailed("a", 1, "unavailable", "busy", seconds(3600))
    )


@pytest.mark.parametrize("asked", [0.0, 0.5])
def test_a_shorter_retry_after_does_not_shorten_our_wait(asked: float) -> None:
    """Nobody can talk the engine into hammering."""
    given(STARTED, e.StepStarted("a", 1)).when(action("a", Unavailable("busy", asked))).then(
        e.StepFailed("a", 1, "unavailable", "busy", seconds(1))
    )


# ── Jitter ───────────────────────────────────────────────────────────────────────────────────────────────


@for_all(st.integers(1, 200), st.text(), st.floats(0, 1), st.floats(1, 100))
def test_jitter_stays_in_its_bounds_and_comes_out_the_same(
    attempt: int, seed: str, jitter: float, factor: float
) -> None:
    """Plus or minus its part of the wait, and the same for the same saga, step and attempt."""
    policy = RetryPolicy(first_delay_s=0.5, factor=factor, cap_s=60, jitter=jitter)
    base = wait_after(RetryPolicy(first_delay_s=0.5, factor=factor, cap_s=60, jitter=0), attempt)
    wait = policy.delay_after(attempt, seed)
    near = timedelta(microseconds=1)
    assert timedelta(seconds=base * (1 - jitter)) - near <= wait <= timedelta(seconds=base * (1 + jitter)) + near
    assert wait == policy.delay_after(attempt, seed)


def test_jitter_spreads_sagas_and_attempts() -> None:
    """A hundred sagas do not knock at the same moment."""
    policy = RetryPolicy(first_delay_s=10, factor=1, jitter=0.2)
    waits = [wait_after(policy, attempt, f"saga-{n}/a/action") for n in range(100) for attempt in (1, 2)]
    assert len(set(waits)) == 200
    assert min(waits) < 8.5
    assert max(waits) > 11.5


def test_two_sagas_in_the_same_trouble_do_not_wait_equally_long() -> None:
    """The wait is drawn from saga, step and attempt, not from the step alone."""
    plan = a_plan(a_step("a", retry=RetryPolicy(attempts=2, first_delay_s=10, jitter=1)))
    waits = set()
    for saga_id in ("saga-1", "saga-2", "saga-3"):
        (failed,) = decide(
            fold(SagaState(saga_id, plan), [STARTED, e.StepStarted("a", 1)]), action("a", Unknown("x")), NOW
        )
        assert isinstance(failed, e.StepFailed)
        waits.add(failed.retry_at)
    assert len(waits) == 3


# ── Policies that make no sense, and those at the edge ───────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ({"attempts": 0}, "attempts must be at least 1, not 0"),
        ({"first_delay_s": -1}, "first_delay_s must not be negative: -1"),
        ({"factor": 0.5}, "factor must be at least 1, not 0.5"),
        ({"cap_s": -2}, "cap_s must not be negative: -2"),
        ({"jitter": 1.5}, "jitter must be between 0 and 1, not 1.5"),
        ({"jitter": -0.1}, "jitter must be between 0 and 1, not -0.1"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(policy: dict[str, float], words: str) -> None:
    """The message says what is wrong, with the number."""
    with pytest.raises(ValueError, match=f"^{words}$"):
        RetryPolicy(**policy)  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("setting", ["first_delay_s", "factor", "cap_s", "jitter"])
def test_a_number_that_json_cannot_carry_is_refused(setting: str, bad: float) -> None:
    """A policy is recorded in the log: NaN and infinity would be written as null, and never read again."""
    with pytest.raises(ValueError, match=setting):
        RetryPolicy(**{setting: bad})  # type: ignore[arg-type]


def test_no_attempt_is_too_many_for_the_arithmetic() -> None:
    """However late the attempt, the wait is the cap."""
    assert wait_after(RetryPolicy(factor=10, jitter=0), 1_000_000) == 30


def test_no_factor_is_too_large_for_the_arithmetic() -> None:
    """A steep back-off reaches the cap, and does not overflow on the way."""
    assert wait_after(RetryPolicy(attempts=100, factor=1e6, jitter=0), 99) == 30


@pytest.mark.parametrize("wait", [{"cap_s": 1e12}, {"first_delay_s": 1e12}])
def test_a_wait_that_no_calendar_has_is_refused(wait: dict[str, float]) -> None:
    """Such a date would fail when it is computed, and so is refused when it is written."""
    with pytest.raises(ValueError, match=r"must be at most 31622400 \(a year\)"):
        RetryPolicy(**wait)  # type: ignore[arg-type]  # one name or the other


# ── Errors after which no attempt follows ────────────────────────────────────────────────────────────────

GIVES_UP = RetryPolicy(attempts=3, first_delay_s=1, jitter=0, give_up_on=("LookupError", "HTTP 501"))
A = a_plan(a_step("a", retry=GIVES_UP, compensation=GIVES_UP))


@pytest.mark.parametrize("kinds", [("KeyError", "LookupError", "Exception"), ("HTTP 501",)])
def test_an_error_that_the_policy_gives_up_on_is_not_tried_again(kinds: tuple[str, ...]) -> None:
    """Known by its class, by one that this is derived from, or by the answer; in doubt, it is undone all the same."""
    story = given(STARTED, e.StepStarted("a", 1), plan=A).when(action("a", Unknown("x", kinds)))
    story.then(e.StepFailed("a", 1, "unknown", "x"), e.SagaAborted("a", "x"), e.CompensationStarted("a", 1))


@pytest.mark.parametrize("kinds", [(), ("ValueError", "Exception"), ("HTTP 500",)])
def test_any_other_error_is_tried_again(kinds: tuple[str, ...]) -> None:
    """As often as the policy says."""
    given(STARTED, e.StepStarted("a", 1), plan=A).when(action("a", Unknown("x", kinds))).then(
        e.StepFailed("a", 1, "unknown", "x", seconds(1))
    )


def test_what_was_not_available_and_is_given_up_on_leaves_nothing_to_undo() -> None:
    """Giving up says nothing about what happened."""
    story = given(STARTED, e.StepStarted("a", 1), plan=A).when(action("a", Unavailable("x", 60, ("HTTP 501",))))
    story.then(e.StepFailed("a", 1, "unavailable", "x"), e.SagaAborted("a", "x"), e.SagaCompensated())


def test_a_compensation_gives_up_on_errors_of_its_own() -> None:
    """Then a person is needed, after one attempt."""
    aborted: list[e.SagaEvent] = [
        STARTED,
        e.StepStarted("a", 1),
        e.StepFailed("a", 1, "unknown", "x"),
        e.SagaAborted("a", "x"),
    ]
    story = given(*aborted, e.CompensationStarted("a", 1), plan=A).when(undo("a", Unknown("gone", ("HTTP 501",))))
    reason = "the compensation of step 'a' was given up after attempt 1 of 3: gone"
    story.then(e.CompensationFailed("a", 1, "unknown", "gone"), e.SagaFailed(reason))


def test_a_step_that_must_succeed_gives_up_on_them_too() -> None:
    """To try for ever what cannot succeed helps nobody: a person is needed."""
    plan = a_plan(
        a_step("pay", kind="pivot", compensation=None),
        a_step("ship", kind="retriable", compensation=None, retry=GIVES_UP),
    )
    story = given(STARTED, *done("pay"), e.StepStarted("ship", 1), plan=plan)
    story.when(action("ship", Unknown("x", ("HTTP 501",))))
    assert isinstance(story.decided[-1], e.SagaFailed)

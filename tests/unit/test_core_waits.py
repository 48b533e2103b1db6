"""Steps that only wait: for a time, or for somebody to give a signal."""

from __future__ import annotations

from typing import Any

import pytest

from saga_es.core import events as e
from saga_es.core.commands import Resume, Retry, SendSignal
from saga_es.core.facts import OwnerGone, Start, Woken
from saga_es.core.operate import MOST_SIGNAL_BYTES, MOST_SIGNALS
from saga_es.core.outcomes import Completed, Rejected
from saga_es.core.plan import Delay, Plan, Signal
from saga_es.core.state import StepStatus, open_intents
from tests.support.story import NOW, START, STARTED, Past, a_plan, a_step, action, done, given, seconds, started

# ── Delays ───────────────────────────────────────────────────────────────────────────────────────────────


def nap(how_long: float | str, *before: str) -> Plan:
    return a_plan(*before, a_step("nap", work=Delay(how_long), compensation=None), "ship")


NAPPING: Past = [STARTED, e.WaitStarted("nap", seconds(5))]


def test_a_delay_says_until_when() -> None:
    """It is no call: it waits from when its turn comes, and the time stands in the log."""
    given(plan=nap(5)).when(START, now=seconds(100)).then(STARTED, e.WaitStarted("nap", seconds(105)))


def test_a_delay_is_over_when_its_time_has_come() -> None:
    """The end of the wait and the next intent are one append; its result is nothing."""
    story = given(*NAPPING, plan=nap(5)).when(Woken(), now=seconds(4.9)).then()
    story.when(Woken(), now=seconds(5)).then(e.StepCompleted("nap"), e.StepStarted("ship", 1))


def test_the_seconds_of_a_delay_may_be_told_by_the_input_or_a_result() -> None:
    """Wherever its path leads."""
    given(plan=nap("input[grace_s]")).when(Start("plan-1", {"grace_s": 7}, "w1")).then(
        started({"grace_s": 7}), e.WaitStarted("nap", seconds(7))
    )
    story = given(STARTED, e.StepStarted("quote", 1), plan=nap("quote[valid_s]", "quote"))
    story.when(action("quote", Completed({"valid_s": "2.5"})))
    story.then(e.StepCompleted("quote", {"valid_s": "2.5"}), e.WaitStarted("nap", seconds(2.5)))


@pytest.mark.parametrize("how_long", [0, -3])
def test_a_delay_of_nothing_is_over_at_once(how_long: float) -> None:
    """What is told may be 0 or less, and nobody waits for the past."""
    story = given(plan=nap("input[s]")).when(Start("plan-1", {"s": how_long}, "w1"))
    assert story.decided[1:] == [e.WaitStarted("nap", NOW), e.StepCompleted("nap"), e.StepStarted("ship", 1)]


@pytest.mark.parametrize("seconds_", [None, "soon", [], 1e300, float("inf"), float("nan")])
def test_a_delay_that_cannot_be_told_aborts_the_saga(seconds_: Any) -> None:
    """It is nothing that trying again would help."""
    story = given(STARTED, e.StepStarted("quote", 1), plan=nap("quote[s]", "quote"))
    story.when(action("quote", Completed({"s": seconds_})))
    _, failed, aborted, undoing = story.decided
    assert isinstance(failed, e.StepFailed)
    assert failed.error.startswith("the length of the wait cannot be computed: ")
    assert (aborted, undoing) == (e.SagaAborted("nap", failed.error), e.CompensationStarted("quote", 1))


def test_a_delay_that_cannot_be_told_after_the_pivot_needs_a_person() -> None:
    """There is no way back, and the reason does not say that anything may have happened."""
    plan = a_plan(
        a_step("pay", kind="pivot", compensation=None), a_step("nap", work=Delay("input[s]"), compensation=None)
    )
    story = given(STARTED, e.StepStarted("pay", 1), plan=plan).when(action("pay", Completed()))
    error = "the length of the wait cannot be computed: KeyError: 's'"
    reason = f"step 'nap' must succeed and was refused: {error}"
    story.then(e.StepCompleted("pay"), e.StepFailed("nap", 0, "rejected", error), e.SagaFailed(reason))


def test_a_delay_outlives_a_crash() -> None:
    """What is waited for is the same moment, not the same number of seconds."""
    story = given(*NAPPING, plan=nap(5)).when(OwnerGone("w2"), now=seconds(3)).then(e.SagaTakenOver("w2", "w1"))
    assert open_intents(story.state) == [e.WaitStarted("nap", seconds(5))]


def test_a_delay_that_was_over_during_a_crash_is_over() -> None:
    """The takeover brings the next intent along."""
    story = given(*NAPPING, plan=nap(5)).when(OwnerGone("w2"), now=seconds(60))
    story.then(e.SagaTakenOver("w2", "w1"), e.StepCompleted("nap"), e.StepStarted("ship", 1))


def test_a_delay_beside_a_step_that_fails_is_not_waited_for() -> None:
    """It is given up, and there is nothing to undo."""
    plan = a_plan(a_step("nap", after=(), work=Delay(5), compensation=None), a_step("book", after=()))
    story = given(*NAPPING, e.StepStarted("book", 1), plan=plan).when(action("book", Rejected("no")))
    story.then(e.StepFailed("book", 1, "rejected", "no"), e.SagaAborted("book", "no"), e.SagaCompensated())
    assert story.state.step("nap").status is StepStatus.FAILED


def test_a_retry_does_not_shorten_a_delay() -> None:
    """It is no failure that is waited out, but what the definition asks for."""
    given(*NAPPING, plan=nap(5)).refuses(Retry("Ann", "now"), "none of its steps waits for a retry")


# ── Signals ──────────────────────────────────────────────────────────────────────────────────────────────


def approval(timeout_s: float | None = None) -> Plan:
    return a_plan("book", a_step("ok", work=Signal(timeout_s), compensation=None), "ship")


BOOKED: Past = [STARTED, *done("book")]
ASKED: Past = [*BOOKED, e.WaitStarted("ok")]


def test_a_step_waits_for_ever_for_a_signal_without_a_time_out() -> None:
    """No timer is set."""
    story = given(STARTED, e.StepStarted("book", 1), plan=approval()).when(action("book", Completed()))
    story.then(e.StepCompleted("book"), e.WaitStarted("ok"))
    story.when(Woken(), now=seconds(1e9)).then()


def test_a_signal_completes_the_step_that_waits_for_it() -> None:
    """What it carries is the step's result; all in one append."""
    story = given(*ASKED, plan=approval()).when(SendSignal("ok", {"by": "Ann"}))
    story.then(e.SignalReceived("ok", {"by": "Ann"}), e.StepCompleted("ok", {"by": "Ann"}), e.StepStarted("ship", 1))


def test_a_signal_may_carry_nothing() -> None:
    """That it came is what counts."""
    given(*ASKED, plan=approval()).when(SendSignal("ok")).then(
        e.SignalReceived("ok"), e.StepCompleted("ok"), e.StepStarted("ship", 1)
    )


def test_a_signal_that_comes_early_is_kept() -> None:
    """The step takes it the moment it starts to wait."""
    story = (
        given(STARTED, e.StepStarted("book", 1), plan=approval())
        .when(SendSignal("ok", 1))
        .then(e.SignalReceived("ok", 1))
    )
    story.when(action("book", Completed()))
    story.then(e.StepCompleted("book"), e.WaitStarted("ok"), e.StepCompleted("ok", 1), e.StepStarted("ship", 1))
    assert story.state.signals == {"ok": ()}


def test_of_several_signals_the_first_counts() -> None:
    """First come, first heard; the rest is not lost from the log."""
    story = (
        given(STARTED, e.StepStarted("book", 1), plan=approval())
        .when(SendSignal("ok", "first"))
        .when(SendSignal("ok", "second"))
    )
    story.when(action("book", Completed()))
    assert story.state.step("ok").result == "first"
    assert story.state.signals == {"ok": ("second",)}


def test_a_signal_that_comes_before_a_saga_has_begun_is_kept() -> None:
    """It may even wait for a worker."""
    given(e.SagaStarted("order", "plan-1", {}), plan=approval()).when(SendSignal("ok", 1)).then(
        e.SignalReceived("ok", 1)
    )


def test_the_same_key_twice_is_one_signal() -> None:
    """A webhook that is delivered again changes nothing, also when the step is long done."""
    story = given(STARTED, e.StepStarted("book", 1), plan=approval()).when(SendSignal("ok", 1, "k"))
    story.when(SendSignal("ok", 1, "k")).then()
    story.when(action("book", Completed())).when(SendSignal("ok", 1, "k")).then()
    story.when(action("ship", Completed())).then(e.StepCompleted("ship"), e.SagaCompleted())
    story.when(SendSignal("ok", 1, "k")).then()


@pytest.mark.parametrize("other", [2, "1", None, 1.0, True, {"by": 1}])
def test_the_same_key_with_another_payload_is_refused(other: object) -> None:
    """Its sender would think that it was heard; also when the step is done, and the saga over."""
    story = given(STARTED, e.StepStarted("book", 1), plan=approval()).when(SendSignal("ok", 1, "k"))
    why = "a signal 'ok' with another payload came under this key; use a new key for a new signal"
    story.refuses(SendSignal("ok", other, "k"), why)
    story.when(action("book", Completed())).when(action("ship", Completed()))
    story.refuses(SendSignal("ok", other, "k"), why)
    story.when(SendSignal("ok", 1, "k")).then()


def test_the_same_payload_is_the_same_in_any_order_of_its_members() -> None:
    """Payloads are compared as JSON."""
    story = given(STARTED, e.StepStarted("book", 1), plan=approval()).when(SendSignal("ok", {"a": 1, "b": 2}, "k"))
    story.when(SendSignal("ok", {"b": 2, "a": 1}, "k")).then()


def test_only_so_many_bytes_of_signals_are_kept() -> None:
    """Sixty large ones to one saga are refused before they are in the log; one alone is as large as any payload."""
    large = "x" * (MOST_SIGNAL_BYTES // 4)
    kept = [e.SignalReceived("ok", large) for _ in range(3)]
    story = given(STARTED, e.StepStarted("book", 1), *kept, plan=approval())
    story.refuses(SendSignal("ok", large), "its signals that wait would have 8388623 bytes, and the limit is 8388608")
    story.when(SendSignal("ok", "small")).then(e.SignalReceived("ok", "small"))
    alone = "x" * (2 * MOST_SIGNAL_BYTES)
    story = given(STARTED, e.StepStarted("book", 1), plan=approval())
    story.when(SendSignal("ok", alone)).then(e.SignalReceived("ok", alone))


def test_one_key_may_come_with_two_signals() -> None:
    """An order's number may stand on its payment and on its delivery: neither is lost."""
    plan = a_plan(*(a_step(name, after=(), work=Signal(None), compensation=None) for name in ("paid", "sent")))
    story = given(STARTED, e.WaitStarted("paid"), e.WaitStarted("sent"), plan=plan)
    story.when(SendSignal("paid", 1, "order-7")).then(
        e.SignalReceived("paid", 1, "order-7"), e.StepCompleted("paid", 1)
    )
    story.when(SendSignal("sent", 2, "order-7"))
    story.then(e.SignalReceived("sent", 2, "order-7"), e.StepCompleted("sent", 2), e.SagaCompleted())


def test_a_signal_that_does_not_come_in_time_aborts_the_saga() -> None:
    """The step was refused, by silence."""
    story = given(*BOOKED, e.WaitStarted("ok", seconds(60)), plan=approval(60)).when(Woken(), now=seconds(60))
    error = "the signal 'ok' did not come within 60 s"
    story.then(e.StepFailed("ok", 0, "rejected", error), e.SagaAborted("ok", error), e.CompensationStarted("book", 1))


def test_a_signal_wins_against_its_time_out() -> None:
    """It was recorded before anybody saw that the time was over."""
    story = given(*BOOKED, e.WaitStarted("ok", seconds(60)), e.SignalReceived("ok", 1), plan=approval(60))
    story.when(Woken(), now=seconds(61)).then(e.StepCompleted("ok", 1), e.StepStarted("ship", 1))


def test_a_signal_that_another_process_recorded_is_found() -> None:
    """Whoever owns the saga is woken, and looks what there is."""
    given(*ASKED, e.SignalReceived("ok", 1), plan=approval()).when(Woken()).then(
        e.StepCompleted("ok", 1), e.StepStarted("ship", 1)
    )


def test_a_signal_given_while_the_saga_is_paused_is_kept() -> None:
    """It counts when the saga is resumed."""
    story = (
        given(*ASKED, e.SagaPaused("Ann", "look"), plan=approval())
        .when(SendSignal("ok", 1))
        .then(e.SignalReceived("ok", 1))
    )
    story.when(Resume("Ann", "seen"))
    story.then(e.SagaResumed("Ann", "seen"), e.StepCompleted("ok", 1), e.StepStarted("ship", 1))


def test_a_time_out_that_passes_while_the_saga_is_paused_counts_when_it_is_resumed() -> None:
    """A pause does not stop the clock."""
    story = given(*BOOKED, e.WaitStarted("ok", seconds(60)), e.SagaPaused("Ann", "look"), plan=approval(60))
    story.when(Woken(), now=seconds(60)).then()
    story.when(Resume("Ann", "seen"), now=seconds(99))
    assert [type(event) for event in story.decided] == [
        e.SagaResumed,
        e.StepFailed,
        e.SagaAborted,
        e.CompensationStarted,
    ]


# ── Signals that cannot be given ─────────────────────────────────────────────────────────────────────────


def test_a_signal_that_the_saga_has_not_is_refused() -> None:
    """The reason names those that it has."""
    given(*ASKED, plan=approval()).refuses(SendSignal("okay"), "it has no signal 'okay'; there is ok")
    given(STARTED).refuses(SendSignal("a"), "it has no signal 'a'; there is none")


def test_a_signal_that_comes_late_is_refused() -> None:
    """Its step has one already."""
    past: Past = [*ASKED, e.SignalReceived("ok"), e.StepCompleted("ok"), e.StepStarted("ship", 1)]
    given(*past, plan=approval()).refuses(SendSignal("ok"), "step 'ok' is COMPLETED already")


def test_a_signal_for_a_saga_that_aborted_is_refused() -> None:
    """Nobody waits for it any more."""
    aborted: Past = [
        STARTED,
        e.StepStarted("book", 1),
        e.StepFailed("book", 1, "unknown", "x"),
        e.SagaAborted("book", "x"),
    ]
    given(*aborted, e.CompensationStarted("book", 1), plan=approval()).refuses(SendSignal("ok"), "it has aborted")


def test_a_signal_for_a_saga_that_has_ended_is_refused() -> None:
    """Also one that never came to wait for it."""
    given(*ASKED, e.SagaFailed("why"), plan=approval()).refuses(SendSignal("ok"), "it has ended: FAILED")


def test_only_so_many_signals_are_kept() -> None:
    """Nobody fills the log by ringing for ever."""
    kept = [e.SignalReceived("ok", number) for number in range(MOST_SIGNALS)]
    story = given(STARTED, e.StepStarted("book", 1), *kept[1:], plan=approval()).when(SendSignal("ok", 1))
    story.then(e.SignalReceived("ok", 1))
    story.refuses(SendSignal("ok"), "100 signals 'ok' wait already, which is the limit")

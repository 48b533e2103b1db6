"""Why a saga is not moving: given what happened to it, and what is known of workers and code, then one sentence."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from saga_es.core import events as e
from saga_es.core.evolve import fold
from saga_es.core.explain import Explanation, Known, Worker, explain
from saga_es.core.plan import Child, Delay, Plan, Signal, StepPlan
from saga_es.core.state import SagaState
from tests.support.story import ABC, NOW, SAGA_ID, STARTED, THRICE, a_plan, a_step, done, seconds

WELL = Worker(silent_s=1.0, is_gone=False, lease_s=10.0)
LATER = seconds(60)

Events = list[e.SagaEvent]
T60 = "2026-01-02 03:05:05Z"
CALLED = "2026-01-02 03:04:05Z (attempt 1, time-out at 2026-01-02 03:04:35Z)"
CALLED_EARLIER = "2026-01-02 03:04:04Z (attempt 1, time-out at 2026-01-02 03:04:34Z)"


def explained(
    *events: e.SagaEvent, plan: Plan = ABC, owner: Worker | None = WELL, now: datetime = NOW, **known: Any
) -> Explanation:
    """The explanation of a saga whose events came one second apart, the last one now."""
    past = [(seconds(place - len(events) + 1), event) for place, event in enumerate(events)]
    state = fold(SagaState(SAGA_ID, plan), events)
    return explain(state, past, Known(owner, **known), now)


def reasons(*events: e.SagaEvent, **about: Any) -> list[str]:
    return explained(*events, **about).reasons


def a_wait(work: Signal | Delay | Child) -> Plan:
    return a_plan("a", StepPlan(name="w", title="w", work=work, compensation=None, retry=THRICE))


# ── The sentence ─────────────────────────────────────────────────────────────────────────────────────────


def test_the_sentence_holds_every_reason_the_most_important_first() -> None:
    """A pause stops everything; the call that is out is heard all the same."""
    told = explained(STARTED, e.StepStarted("a", 1), e.SagaPaused("ann", "lunch"))
    assert (told.transaction_id, told.status) == (SAGA_ID, "IN_PROGRESS")
    assert told.reasons == [
        "has been paused by ann since 2026-01-02 03:04:05Z: lunch",
        f"waits for the answer of step 'a', called at {CALLED_EARLIER}",
    ]
    assert told.sentence == f"The saga {told.reasons[0]}; it {told.reasons[1]}."


def test_a_saga_that_nothing_stands_in_the_way_of_says_so() -> None:
    """An order was recorded, and its worker has yet to hear of it."""
    assert reasons(STARTED, *done("a")) == ["goes on at once, on w1: nothing stands in its way"]


def test_a_call_whose_time_is_over_and_that_was_not_given_up_waits_for_its_turn() -> None:
    """Its time-out runs from when it begins; of a worker that is gone nothing is known."""
    events: Events = [STARTED, e.StepStarted("a", 1)]
    waits = "has waited since 2026-01-02 03:04:05Z for its turn to call step 'a' (attempt 1): the worker is busy"
    waits += ", or what it calls is away"
    assert reasons(*events, now=LATER) == [waits]
    assert waits not in reasons(*events, now=LATER, owner=Worker(silent_s=None, is_gone=True, lease_s=10.0))
    assert reasons(*events, now=seconds(30)) == [f"waits for the answer of step 'a', called at {CALLED}"]


def test_a_call_that_is_held_back_says_who_is_away() -> None:
    """Before its first attempt, and between two; a paused saga waits for nobody."""
    away = "participant 'venue' has been away for 40 s, and the next call tries in 5 s"
    failed = e.StepFailed("a", 1, "unavailable", "refused", retry_at=LATER)
    begun: Events = [STARTED, e.StepStarted("a", 1)]
    assert reasons(*begun, away={"a": away}) == [f"waits with step 'a': {away}"]
    told = f"waits with step 'a': {away} (the last attempt failed: refused)"
    assert reasons(*begun, failed, away={"a": away}) == [told]
    assert told not in reasons(*begun, failed, e.SagaPaused("ann", "lunch"), away={"a": away})


def test_a_saga_that_no_worker_begins_says_why() -> None:
    """As far as this process knows."""
    waits = "waits for a worker that knows 'order' and has capacity"
    pending = e.SagaStarted("order", STARTED.plan_id, {})
    assert reasons(pending) == [waits]
    assert reasons(pending, held_up="many wait") == [f"{waits}: many wait"]


def test_a_retry_whose_time_has_passed_says_why() -> None:
    """Another process knows who is away; this one sees that the time is over, and the worker alive."""
    failed = e.StepFailed("a", 1, "unavailable", "refused", retry_at=NOW)
    events: Events = [STARTED, e.StepStarted("a", 1), failed]
    held = "that time has passed: what it calls is away, and its worker waits for an answer"
    (told,) = reasons(*events, now=LATER)
    assert told.endswith(f"because refused; {held}")
    assert held not in reasons(*events)[0]
    assert not any(held in reason for reason in reasons(*events, now=LATER, owner=None))


# ── Workers ──────────────────────────────────────────────────────────────────────────────────────────────


def test_a_saga_without_a_worker_waits_for_one_that_knows_it() -> None:
    """Started where no engine runs."""
    assert reasons(e.SagaStarted("order", "plan-1", {}), owner=None) == [
        "waits for a worker that knows 'order' and has capacity"
    ]


def test_a_saga_whose_owner_has_no_room_for_it_says_so() -> None:
    """Before what it waits for itself; and one whose owner is gone says why nobody takes it."""
    living = Worker(1, is_gone=False, lease_s=10)
    assert reasons(STARTED, owner=living, held_up="too much")[0] == "goes on when w1 has room for it: too much"
    gone = Worker(1, is_gone=True, lease_s=10)
    assert reasons(STARTED, owner=gone, held_up="too much")[0].endswith("a worker that knows 'order': too much")


@pytest.mark.parametrize("owner", [None, Worker(None, is_gone=True, lease_s=10), Worker(1, is_gone=True, lease_s=10)])
def test_a_worker_that_is_gone_is_named_before_all_that_its_saga_waits_for(owner: Worker | None) -> None:
    """It has no heartbeat any more, or its process on this host is gone."""
    first, second = reasons(STARTED, e.StepStarted("a", 1), owner=owner)
    assert first == "is owned by w1, which is gone, and waits for a worker that knows 'order'"
    assert second.startswith("waits for the answer of step 'a'")


@pytest.mark.parametrize(
    ("silent_s", "said"),
    [
        (4, None),
        (7, "is owned by w1, whose heartbeat is 7 s old, and is taken over when it is 10 s old"),
        (40, "is owned by w1, whose heartbeat is 40 s old, and waits for a worker that knows 'order'"),
    ],
)
def test_a_worker_that_is_empty_is_told_with_the_age_of_its_heartbeat(silent_s: float, said: str | None) -> None:
    """Not as long as it beats as it should; otherwise with what comes of it."""
    found = reasons(STARTED, e.StepStarted("a", 1), owner=Worker(silent_s, is_gone=False, lease_s=10))
    assert (found[0] if len(found) > 1 else None) == said


def test_a_delayed_start_is_told_with_its_time() -> None:
    """Nothing else stands in the way."""
    started = e.SagaStarted("order", "plan-1", {}, "w1", starts_at=LATER)
    assert reasons(started) == [f"starts at {T60}"]
    assert reasons(started, now=LATER) == ["goes on at once, on w1: nothing stands in its way"]


# ── Code ─────────────────────────────────────────────────────────────────────────────────────────────────


CODE = "step 'c' of plan plan-3f; living: 2 workers with plan-9a"
GONE = Worker(silent_s=None, is_gone=True, lease_s=10.0)


def test_a_saga_that_no_living_worker_can_run_says_what_code_it_waits_for() -> None:
    """Before it has begun; when its worker is gone, or has let go of it; and before its worker gets there."""
    waits = f"waits for a worker that has {CODE}"
    assert reasons(e.SagaStarted("order", "plan-1", {}), wanted=CODE) == [waits]
    released = [STARTED, *done("a"), e.SagaReleased("w1", "the code of step 'b' is gone")]
    assert reasons(*released, wanted=CODE) == [waits]
    assert reasons(STARTED, *done("a"), wanted=CODE, owner=GONE) == [f"is owned by w1, which is gone, and {waits}"]
    first, second = reasons(STARTED, e.StepStarted("a", 1), wanted=CODE)
    assert first == f"cannot go on to its end on w1: it needs a worker that has {CODE}"
    assert second.startswith("waits for the answer")


def test_a_call_that_says_that_it_goes_on_is_told_with_what_it_said() -> None:
    """Its time-out counts from there, so no time is named; another call has said nothing yet."""
    called = (STARTED, e.StepStarted("a", 1))
    said = "its time-out is 30 s after it last says so"
    (reason,) = reasons(*called, e.StepProgressed("a", 1, details={"done": 3}), now=LATER)
    assert reason.startswith("waits for the answer of step 'a', called at 2026-01-02 03:04:")
    assert "(attempt 1), which said at 2026-01-02 03:04:" in reason
    assert reason.endswith(f'that it goes on: {{"done":3}}; {said}')
    undoing = (*done("a"), e.SagaAborted("b", "no"), e.CompensationStarted("a", 1))
    assert "the answer of undoing step 'a'" in reasons(STARTED, *undoing, e.StepProgressed("a", 1, "compensation"))[0]
    taken_over = (e.StepProgressed("a", 1), e.SagaTakenOver("w1", "w0"))
    assert reasons(*called, *taken_over) == reasons(*called, e.SagaTakenOver("w1", "w0"))


# ── Steps ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_call_is_told_with_its_time_and_its_time_out() -> None:
    """After a takeover it is made again, and its time counts from there."""
    said = f"waits for the answer of step 'a', called at {CALLED}"
    assert reasons(STARTED, e.StepStarted("a", 1)) == [said]
    assert reasons(STARTED, e.StepStarted("a", 1), e.SagaTakenOver("w1", "w0")) == [said]


def test_the_call_of_a_compensation_is_told_with_why_the_saga_goes_back() -> None:
    """The reason comes last: it is no obstacle."""
    assert reasons(STARTED, *done("a"), e.SagaAborted("b", "no seats"), e.CompensationStarted("a", 1)) == [
        f"waits for the answer of undoing step 'a', called at {CALLED}",
        "is compensating: step 'b' failed: no seats",
    ]


def test_a_retry_is_told_with_its_number_its_time_and_the_error() -> None:
    """The number is of the attempt that follows."""
    failed = e.StepFailed("a", 2, "unavailable", "HTTP 503", LATER)
    assert reasons(STARTED, e.StepStarted("a", 2), failed) == [
        f"tries step 'a' again at {T60} (retry 3 of 3), because HTTP 503"
    ]


def test_a_retry_after_a_command_counts_from_there() -> None:
    """The attempts before it are forgiven, as they are in the policy."""
    again: Events = [e.SagaReopened("IN_PROGRESS", "ann", "fixed", NOW), e.SagaTakenOver("w1"), e.StepStarted("a", 4)]
    plan = a_plan(StepPlan(name="a", title="a", kind="retriable", retry=THRICE, compensation=None))
    given_up: Events = [e.StepStarted("a", 3), e.StepFailed("a", 3, "rejected", "no"), e.SagaFailed("no")]
    failed = e.StepFailed("a", 4, "unavailable", "busy", LATER)
    assert reasons(STARTED, *given_up, *again, failed, plan=plan) == [
        f"tries step 'a' again at {T60} (retry 2, for as long as it takes), because busy"
    ]


def test_the_retry_of_a_compensation_is_told() -> None:
    """Its attempts are counted apart from the action's."""
    past: Events = [STARTED, *done("a"), e.SagaCancelled("ann", "no"), e.CompensationStarted("a", 1)]
    assert reasons(*past, e.CompensationFailed("a", 1, "unknown", "lost", LATER)) == [
        f"tries to undo step 'a' again at {T60} (retry 2 of 3), because lost",
        "is compensating: cancelled by ann: no",
    ]


def test_a_probe_is_told_before_and_while_it_is_out() -> None:
    """When it will be asked whether the last attempt has happened, and that it is."""
    plan = a_plan(StepPlan(name="a", title="a", retry=THRICE, probe=True))
    failed: Events = [STARTED, e.StepStarted("a", 3), e.StepFailed("a", 3, "unknown", "lost", LATER, last=True)]
    assert reasons(*failed, plan=plan) == [f"asks at {T60} whether step 'a' has happened, because lost"]
    assert reasons(*failed, e.ProbeStarted("a", 3), plan=plan) == [
        "has asked since 2026-01-02 03:04:05Z whether step 'a' has happened"
    ]


def test_a_signal_is_told_by_its_name_and_its_time_out() -> None:
    """Or that it may take for ever; or that it is there, and only has to be seen."""
    past: Events = [STARTED, *done("a")]
    plan = a_wait(Signal(60))
    assert reasons(*past, e.WaitStarted("w", LATER), plan=plan) == [f"waits for the signal 'w' until {T60}"]
    assert reasons(*past, e.WaitStarted("w"), plan=plan) == ["waits for the signal 'w' for as long as it takes"]
    assert reasons(*past, e.WaitStarted("w"), e.SignalReceived("w", 1), plan=plan) == [
        "has received the signal 'w', and goes on with it at once"
    ]


def test_a_delay_is_told_with_its_end() -> None:
    """And that it is over, when nobody has noticed."""
    past: Events = [STARTED, *done("a"), e.WaitStarted("w", LATER)]
    plan = a_wait(Delay(60))
    assert reasons(*past, plan=plan) == [f"waits until {T60}, in step 'w'"]
    assert reasons(*past, plan=plan, now=LATER) == [f"waits until {T60}, which has passed, in step 'w'"]


def test_a_saga_that_a_step_runs_is_told_with_what_it_waits_for() -> None:
    """What is known of it comes from the shell; undoing it is told likewise."""
    past: Events = [STARTED, *done("a"), e.StepStarted("w", 1), e.ChildStarted("w", "pay", "pay-1", {})]
    plan = a_plan("a", StepPlan(name="w", title="w", work=Child("pay"), retry=THRICE, compensation=THRICE))
    child = {"children": {"pay-1": "waits for the signal 'ok' for as long as it takes"}}
    assert reasons(*past, plan=plan, **child) == [
        "runs saga 'pay' for step 'w': pay-1, which waits for the signal 'ok' for as long as it takes"
    ]
    assert reasons(*past, plan=plan) == ["runs saga 'pay' for step 'w': pay-1, which is not there yet"]
    undoing: Events = [e.StepCompleted("w", {}), e.SagaCancelled("ann", "no"), e.CompensationStarted("w", 1)]
    first, _ = reasons(*past, *undoing, plan=plan, **child)
    assert first.startswith("undoes saga 'pay' for step 'w': pay-1, which waits")


def test_of_steps_that_run_together_what_went_wrong_comes_first() -> None:
    """Then what somebody can give, then what comes by itself."""
    steps = [StepPlan(name=name, title=name, after=(), retry=THRICE, compensation=None) for name in "abc"]
    waiting = StepPlan(name="w", title="w", after=(), work=Signal(None), compensation=None)
    past: Events = [STARTED, *(e.StepStarted(name, 1) for name in "abc"), e.WaitStarted("w")]
    found = reasons(*past, e.StepFailed("b", 1, "unavailable", "busy", LATER), plan=Plan("order", (*steps, waiting)))
    assert [reason.split()[0:3] for reason in found] == [
        ["tries", "step", "'b'"],
        ["waits", "for", "the"],
        ["waits", "for", "the"],
        ["waits", "for", "the"],
    ]
    assert "'w'" in found[1]


def test_of_many_parts_only_some_are_named() -> None:
    """A sentence is to be read."""
    plan = a_plan(StepPlan(name="t", title="t", over="input[list]", retry=THRICE))
    found = reasons(STARTED, e.StepFannedOut("t", 9), *(e.StepStarted(f"t[{n}]", 1) for n in range(9)), plan=plan)
    assert len(found) == 6
    assert found[-1] == "waits for 4 more like these"
    just = reasons(STARTED, e.StepFannedOut("t", 5), *(e.StepStarted(f"t[{n}]", 1) for n in range(5)), plan=plan)
    assert len(just) == 5
    assert not any("more like these" in reason for reason in just)


def test_a_compensation_that_was_given_up_is_told_while_the_others_are_out() -> None:
    """The saga is FAILED as soon as they are back."""
    past: Events = [
        STARTED,
        *done("a", "b"),
        e.SagaCancelled("ann", "no"),
        *(e.CompensationStarted(name, 1) for name in "ab"),
    ]
    found = reasons(*past, e.CompensationFailed("a", 1, "rejected", "gone"))
    assert found[0] == "has given up undoing step 'a', and waits for the calls in flight: gone"
    assert "undoing step 'b'" in found[1]


def test_what_waits_is_not_told_of_a_saga_that_is_paused() -> None:
    """Nothing of it goes on before the saga does."""
    failed = e.StepFailed("a", 1, "unavailable", "busy", LATER)
    (only,) = reasons(STARTED, e.StepStarted("a", 1), failed, e.SagaPaused("ann", "lunch"))
    assert only.startswith("has been paused by ann")


def test_the_deadline_is_told_as_long_as_it_can_abort_the_saga() -> None:
    """It comes last: it is no obstacle."""
    started = e.SagaStarted("order", "plan-1", {}, "w1", deadline_at=LATER)
    assert reasons(started, *done("a"))[-1] == f"aborts at {T60}, its deadline"
    pivot = a_plan(StepPlan(name="a", title="a", kind="pivot", retry=THRICE, compensation=None), a_step("b"))
    assert len(reasons(started, *done("a"), plan=pivot)) == 1


# ── How it ended ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_saga_that_needs_a_person_is_told_with_the_commands_that_can_help() -> None:
    """Those that name a step name the one that stands in the way."""
    past: Events = [STARTED, *done("a"), e.SagaCancelled("ann", "no"), e.CompensationStarted("a", 1)]
    (said,) = reasons(*past, e.CompensationFailed("a", 1, "rejected", "gone"), e.SagaFailed("it was given up"))
    assert said == (
        "has been FAILED since 2026-01-02 03:04:05Z and needs a person: it was given up; "
        "what can help: retry, skip a, replace-input a, resolve"
    )


def test_a_saga_that_waits_for_its_child_to_be_set_right_says_so() -> None:
    """The child comes first; another input is for the child, and not for the step that runs it."""
    plan = a_plan(StepPlan(name="pay", title="pay", work=Child("payment")))
    past: Events = [STARTED, e.StepStarted("pay", 1), e.ChildStarted("pay", "payment", "saga-2", {})]
    (said,) = reasons(*past, e.SagaFailed("its saga is FAILED"), plan=plan)
    assert said.endswith("what can help: retry once saga saga-2 is set right, skip pay, resolve")


@pytest.mark.parametrize(
    ("events", "said"),
    [
        ([*done("a", "b", "c"), e.SagaCompleted()], "has ended COMPLETED at 2026-01-02 03:04:05Z: every step is done"),
        (
            [e.SagaAborted("a", "no seats"), e.SagaCompensated()],
            "has ended COMPENSATED at 2026-01-02 03:04:05Z: step 'a' failed: no seats; what was done is undone",
        ),
        (
            [e.SagaCancelled("ann", "no"), e.SagaCompensated()],
            "has ended COMPENSATED at 2026-01-02 03:04:05Z: cancelled by ann: no; what was done is undone",
        ),
        (
            [e.SagaFailed("broken"), e.SagaResolved("COMPLETED", "ann", "sent by post")],
            "was resolved by hand as COMPLETED at 2026-01-02 03:04:05Z, by ann: sent by post",
        ),
    ],
    ids=["completed", "compensated", "cancelled", "resolved"],
)
def test_a_saga_that_has_ended_is_told_how(events: list[e.SagaEvent], said: str) -> None:
    """And nothing else, whatever becomes of its worker."""
    assert reasons(STARTED, *events, owner=None) == [said]

"""Sagas whose code does not come back: they wait, until a person gives them up, or a time that was set has passed."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from saga_es.core import events as e
from saga_es.core.commands import Fail, Resolve, Skip
from saga_es.core.state import SagaStatus
from saga_es.definition.code import code_of
from saga_es.definition.saga import Saga
from saga_es.errors import CommandRefused
from saga_es.runtime.intake.client import Client
from saga_es.runtime.intake.commands import Commands
from saga_es.runtime.overdue import Overdue
from saga_es.runtime.waiting.clock import SharedClock
from tests.conftest import AT, OpenEngine, Store
from tests.contract.engine.test_versions import TIMEOUT_S, an_order, shown_to_run, state_of, waiting
from tests.support.trips import crash, events_of, has_happened, until

MINUTE = timedelta(seconds=60)


def a_waiting_saga(store: Store, open_engine: OpenEngine) -> str:
    """A saga that no living worker can run."""
    new = open_engine(an_order(with_audit=True))
    theirs = waiting(new, "theirs")
    crash(store, new)
    return theirs


# ── A person ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_person_gives_up_a_saga_whose_code_is_gone_and_ends_it_by_hand(store: Store, open_engine: OpenEngine) -> None:
    """Who did so and why stands in the log; nothing is called."""
    theirs = a_waiting_saga(store, open_engine)
    old = open_engine(an_order())
    old.fail(theirs, reason="its code is gone", actor="ann")
    assert (state_of(store, theirs).status, state_of(store, theirs).error) == (
        SagaStatus.FAILED,
        "given up by ann: its code is gone",
    )
    assert events_of(old, theirs)[-1] == e.SagaFailed("given up by ann: its code is gone", "ann")
    with pytest.raises(CommandRefused, match="it has ended: FAILED"):
        old.submit(theirs, Fail("bob", "me too"))
    old.submit(theirs, Resolve("ann", "all by hand"))
    assert state_of(store, theirs).status is SagaStatus.COMPLETED
    assert not has_happened(old, theirs, e.SagaTakenOver)


def test_the_step_whose_code_is_gone_is_skipped_and_the_saga_goes_on(
    store: Store, open_engine: OpenEngine, gate: threading.Event
) -> None:
    """Its call was in flight when the last worker that had it was gone."""
    new = open_engine(an_order_that_audits_after(gate))
    theirs = waiting(new, "theirs")
    new.signal(theirs, "go")
    until(lambda: state_of(store, theirs).step("audit").attempts)
    crash(store, new)
    old = open_engine(an_order())
    old.fail(theirs, reason="nobody audits any more", actor="ann")
    old.submit(theirs, Skip("audit", "ann", "audited on paper"))
    assert old.follow(theirs).result(TIMEOUT_S).completed


def an_order_that_audits_after(audits: threading.Event) -> Saga:
    order = an_order()

    @order.step
    def audit() -> None:
        audits.wait(TIMEOUT_S)

    @order.compensates(audit)
    def unaudit() -> None: ...

    return order


def test_a_saga_under_way_is_given_up_with_a_call_in_flight(open_engine: OpenEngine, gate: threading.Event) -> None:
    """Its handle is told at once; the late answer changes nothing, and after a retry the call is made again."""
    order, calls = Saga("order"), []

    @order.step(compensation=None)
    def pay() -> None:
        calls.append(1)
        gate.wait(TIMEOUT_S)

    engine = open_engine(order)
    handle = engine.start(order, saga_id="s")
    until(lambda: calls)
    engine.fail("s", reason="it hangs", actor="ann")
    assert handle.result(TIMEOUT_S).status is SagaStatus.FAILED
    gate.set()
    engine.retry("s", reason="no more", actor="ann")
    assert engine.follow("s").result(TIMEOUT_S).completed
    assert len(calls) == 2
    assert [type(event) for event in events_of(engine, "s")].count(e.StepCompleted) == 1


# ── A time ───────────────────────────────────────────────────────────────────────────────────────────────


def test_after_the_time_that_was_set_the_saga_is_failed_and_no_other_is(store: Store, open_engine: OpenEngine) -> None:
    """Sagas whose code is there wait as long as they like. The reason says which code nobody has."""
    theirs = a_waiting_saga(store, open_engine)
    old = open_engine(an_order(), missing_code_timeout_s=0.3)
    ours = waiting(old, "ours")
    until(lambda: state_of(store, theirs).status is SagaStatus.FAILED)
    failed = events_of(old, theirs)[-1]
    assert isinstance(failed, e.SagaFailed)
    assert failed.actor == old.worker_id
    assert "for 0.3 s no worker has had step 'audit'" in failed.reason
    assert f"living: 1 worker with {an_order().plan_id}" in failed.reason
    shown_to_run(old, ours)


def test_a_saga_of_a_definition_that_nobody_has_is_failed_as_well(store: Store, open_engine: OpenEngine) -> None:
    """Such as one that was renamed."""
    of_a_past_name(open_engine, store)
    open_engine(an_order(), missing_code_timeout_s=0.3)
    until(lambda: state_of(store, "past").status is SagaStatus.FAILED)
    assert "no worker has had saga 'before'" in (state_of(store, "past").error or "")


def of_a_past_name(open_engine: OpenEngine, store: Store) -> None:
    """A saga of a definition that has another name since."""
    before = Saga("before")
    before.wait_for("go", timeout_s=None)
    before.step(compensation=None)(bill)
    first = open_engine(before)
    first.start(before, saga_id="past")
    until(lambda: has_happened(first, "past", e.WaitStarted))
    crash(store, first)


def bill() -> None:
    """What it did last."""


def test_the_time_runs_from_when_the_code_was_missed_and_begins_anew_when_it_came_back(
    store: Store, open_engine: OpenEngine
) -> None:
    """A saga may have waited for a signal for days before."""
    theirs = a_waiting_saga(store, open_engine)
    old = open_engine(an_order())
    overdue = Overdue(
        store.sagas, store.workers, Commands(store, SharedClock(store.workers.now_s)), code_of([an_order()]), 60.0
    )

    def look(passed: timedelta) -> SagaStatus:
        before = state_of(store, theirs).version
        overdue.give_up(old.worker_id, AT + passed)
        while overdue.give_up(old.worker_id, AT + passed) < 1:
            pass
        return state_of(store, theirs).status if state_of(store, theirs).version != before else SagaStatus.IN_PROGRESS

    assert look(0 * MINUTE) is SagaStatus.IN_PROGRESS
    assert look(0.9 * MINUTE) is SagaStatus.IN_PROGRESS
    back = open_engine(an_order(with_audit=True))
    until(lambda: state_of(store, theirs).owner == back.worker_id)
    assert look(1.1 * MINUTE) is SagaStatus.IN_PROGRESS
    crash(store, back)
    assert look(1.2 * MINUTE) is SagaStatus.IN_PROGRESS
    assert look(2.1 * MINUTE) is SagaStatus.IN_PROGRESS
    assert look(2.2 * MINUTE) is SagaStatus.FAILED


def test_a_saga_that_is_left_to_others_is_not_failed(store: Store, open_engine: OpenEngine) -> None:
    """Its code is there: the worker is told not to begin it."""
    Client(store, [an_order(with_audit=True)]).start("order", saga_id="left")
    of_a_past_name(open_engine, store)
    order = an_order()
    with order.retired():

        @order.step
        def audit() -> None: ...

        @order.compensates(audit)
        def unaudit() -> None: ...

    open_engine(order, leaves_older_plans=True, missing_code_timeout_s=0.3)
    until(lambda: state_of(store, "past").status is SagaStatus.FAILED)
    assert state_of(store, "left").status is SagaStatus.PENDING

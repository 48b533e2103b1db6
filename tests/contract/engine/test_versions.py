"""Workers of different versions on one database: each takes what it can run, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from saga_es.client import Client
from saga_es.commands import Cancel
from saga_es.core import events as e
from saga_es.core.facts import CodeMissing
from saga_es.core.state import SagaState, SagaStatus
from saga_es.definition.saga import Saga, family
from saga_es.runtime.engine import Engine
from saga_es.runtime.inbox import FactArrived
from tests.conftest import OpenEngine, Store
from tests.support.trips import crash, events_of, has_happened, until

TIMEOUT_S = 20


def an_order(*, with_audit: bool = False, deadline_s: float | None = None) -> Saga:
    """Pay, wait to go; in the second version, audit."""
    order = Saga("order", deadline_s=deadline_s)

    @order.step
    def pay() -> str:
        return "paid"

    @order.compensates(pay)
    def repay() -> None: ...

    order.wait_for("go", timeout_s=None)
    if with_audit:

        @order.step
        def audit(pay: str) -> str:
            return f"{pay}, audited"

        @order.compensates(audit)
        def unaudit() -> None: ...

    return order


def waiting(engine: Engine, name: str) -> str:
    """A saga of the engine that waits for its signal."""
    engine.start("order", saga_id=name)
    until(lambda: has_happened(engine, name, e.WaitStarted))
    return name


def shown_to_run(engine: Engine, saga_id: str) -> None:
    """The worker has looked at everything that was there: it has taken this saga over, which was last."""
    engine.signal(saga_id, "go")
    assert engine.follow(saga_id).result(TIMEOUT_S).status is SagaStatus.COMPLETED


def state_of(store: Store, saga_id: str) -> SagaState:
    state = store.sagas.find(saga_id)
    assert state is not None
    return state


def test_an_old_worker_leaves_the_sagas_of_a_new_one_where_they_are(store: Store, open_engine: OpenEngine) -> None:
    """Signals reach them meanwhile; a worker that has the code goes on with them."""
    new = open_engine(an_order(with_audit=True))
    theirs = waiting(new, "theirs")
    crash(store, new)
    old = open_engine(an_order())
    ours = waiting(old, "ours")
    old.signal(theirs, "go")
    shown_to_run(old, ours)
    assert not has_happened(old, theirs, e.SagaTakenOver)
    assert state_of(store, theirs).status is SagaStatus.IN_PROGRESS
    back = open_engine(an_order(with_audit=True))
    assert back.follow(theirs).result(TIMEOUT_S).results["audit"] == "paid, audited"


def test_a_saga_that_waits_for_its_first_worker_waits_for_one_with_its_code(
    store: Store, open_engine: OpenEngine
) -> None:
    """It stays PENDING, and a cancel ends it at once: there is nothing to undo."""
    client = Client(store, [an_order(with_audit=True)])
    started = [client.start("order", saga_id=f"p-{n}").saga_id for n in range(2)]
    old = open_engine(an_order())
    shown_to_run(old, waiting(old, "ours"))
    assert {state_of(store, saga_id).status for saga_id in started} == {SagaStatus.PENDING}
    old.submit(started[0], Cancel("ann", "off"))
    assert state_of(store, started[0]).status is SagaStatus.COMPENSATED
    new = open_engine(an_order(with_audit=True))
    new.signal(started[1], "go")
    assert new.follow(started[1]).result(TIMEOUT_S).status is SagaStatus.COMPLETED


def test_a_saga_whose_compensations_are_there_is_cancelled_by_whoever_has_them(
    store: Store, open_engine: OpenEngine
) -> None:
    """It has not come to the step that the old worker lacks, and comes there no more."""
    new = open_engine(an_order(with_audit=True))
    theirs = waiting(new, "theirs")
    crash(store, new)
    old = open_engine(an_order())
    old.submit(theirs, Cancel("ann", "off"))
    assert old.follow(theirs).result(TIMEOUT_S).status is SagaStatus.COMPENSATED


def test_a_cancelled_saga_whose_compensation_is_missing_waits_for_it(store: Store, open_engine: OpenEngine) -> None:
    """COMPENSATING, until a worker comes that has it."""
    new = open_engine(with_last_signal(an_order(with_audit=True)))
    new.start("order", saga_id="theirs")
    new.signal("theirs", "go")
    until(lambda: state_of(store, "theirs").step("last").wait is not None)
    crash(store, new)
    old = open_engine(an_order())
    old.submit("theirs", Cancel("ann", "off"))
    shown_to_run(old, waiting(old, "ours"))
    assert state_of(store, "theirs").status is SagaStatus.COMPENSATING
    back = open_engine(with_last_signal(an_order(with_audit=True)))
    assert back.follow("theirs").result(TIMEOUT_S).status is SagaStatus.COMPENSATED
    assert e.CompensationCompleted("audit") in events_of(back, "theirs")


def with_last_signal(order: Saga) -> Saga:
    order.wait_for("last", timeout_s=None)
    return order


def test_a_deadline_that_passes_while_the_code_is_missing_is_kept_by_whoever_can_undo(
    store: Store, open_engine: OpenEngine
) -> None:
    """The saga needs the missing step no more."""
    new = open_engine(an_order(with_audit=True, deadline_s=1.0))
    theirs = waiting(new, "theirs")
    crash(store, new)
    old = open_engine(an_order())
    result = old.follow(theirs).result(TIMEOUT_S)
    assert (result.status, "deadline" in (result.error or "")) == (SagaStatus.COMPENSATED, True)


def test_a_saga_that_has_passed_what_is_missing_goes_on(store: Store, open_engine: OpenEngine) -> None:
    """The step that was removed is done, and there is nothing to undo."""
    first = open_engine(an_inspection(with_check=True))
    theirs = waiting(first, "theirs")
    crash(store, first)
    second = open_engine(an_inspection(with_check=False))
    shown_to_run(second, theirs)


def an_inspection(*, with_check: bool) -> Saga:
    order = Saga("order")
    if with_check:
        order.step(compensation=None)(check)
    order.wait_for("go", timeout_s=None)
    return order


def check() -> None:
    """Looks."""


def test_a_child_that_no_worker_can_run_waits_and_its_parent_with_it(store: Store, open_engine: OpenEngine) -> None:
    """Both go on when the code is back."""
    new = open_engine(*family([a_parent(an_order(with_audit=True))]))
    new.start("parent", saga_id="p")
    until(lambda: has_happened(new, "p", e.ChildStarted))
    child = next(event.saga_id for event in events_of(new, "p") if isinstance(event, e.ChildStarted))
    until(lambda: has_happened(new, child, e.WaitStarted))
    crash(store, new)
    old = open_engine(*family([a_parent(an_order())]))
    old.signal(child, "go")
    shown_to_run(old, waiting(old, "ours"))
    assert state_of(store, child).status is SagaStatus.IN_PROGRESS
    assert open_engine(*family([a_parent(an_order(with_audit=True))])).follow("p").result(TIMEOUT_S).completed


def a_parent(order: Saga) -> Saga:
    parent = Saga("parent")
    parent.child("order", order)
    return parent


def test_a_worker_that_leaves_older_plans_begins_none_of_their_sagas_and_goes_on_with_those_that_began(
    store: Store, open_engine: OpenEngine
) -> None:
    """It has all their code. A worker that was not told so begins them."""
    old = open_engine(an_order())
    begun = waiting(old, "begun")
    new_of_old = "new"
    crash(store, old)
    Client(store, [an_order()]).start("order", saga_id=new_of_old)
    leaving = open_engine(an_order(with_audit=True), leaves_older_plans=True)
    shown_to_run(leaving, begun)
    shown_to_run(leaving, waiting(leaving, "ours"))
    assert state_of(store, new_of_old).status is SagaStatus.PENDING
    assert state_of(store, "ours").plan_id != state_of(store, new_of_old).plan_id
    other = open_engine(an_order(with_audit=True))
    other.signal(new_of_old, "go")
    assert other.follow(new_of_old).result(TIMEOUT_S).completed
    assert state_of(store, new_of_old).owner == other.worker_id


def test_a_worker_that_meets_missing_code_lets_go_of_the_saga(open_engine: OpenEngine) -> None:
    """A worker that has the code takes it at once; no crash is counted."""
    first = open_engine(an_order())
    theirs = waiting(first, "theirs")
    second = open_engine(an_order())
    first._inbox.put(FactArrived(theirs, CodeMissing("the code of step 'audit' is gone")))
    until(lambda: has_happened(first, theirs, e.SagaTakenOver))
    released, taken = [
        event for event in events_of(first, theirs) if isinstance(event, e.SagaReleased | e.SagaTakenOver)
    ]
    assert released == e.SagaReleased(first.worker_id, "the code of step 'audit' is gone")
    assert isinstance(taken, e.SagaTakenOver)
    second.signal(theirs, "go")
    assert second.follow(theirs).result(TIMEOUT_S).completed


def test_a_worker_whose_saga_was_migrated_to_code_that_it_lacks_lets_go_of_it(
    store: Store, open_engine: OpenEngine
) -> None:
    """When the saga comes to the step that it lacks, and not before; a worker that has the code goes on."""
    old = open_engine(an_order())
    theirs = waiting(old, "theirs")
    Client(store, [an_order(with_audit=True)]).migrate(theirs, reason="we audit", actor="ann")
    old.signal(theirs, "go")
    until(lambda: has_happened(old, theirs, e.SagaReleased))
    (released,) = [event for event in events_of(old, theirs) if isinstance(event, e.SagaReleased)]
    assert (released.worker, "step 'audit'" in released.reason) == (old.worker_id, True)
    new = open_engine(an_order(with_audit=True))
    assert new.follow(theirs).result(TIMEOUT_S).results["audit"] == "paid, audited"


# ── Parameters ───────────────────────────────────────────────────────────────────────────────────────────


def a_bill(bill: Callable[..., Any], *, with_rate: bool) -> Saga:
    order = Saga("order")
    order.wait_for("go", timeout_s=None)
    if with_rate:
        order.step(compensation=None)(rate)
    order.step(compensation=None)(bill)
    return order


def rate() -> int:
    return 7


def test_a_function_that_asks_for_what_its_plan_does_not_know_is_code_that_is_missing(
    store: Store, open_engine: OpenEngine
) -> None:
    """No exception of the engine's own making reaches the saga; a worker with the older code bills it."""

    def old_bill(go: Any) -> str:
        del go
        return "old"

    def new_bill(rate: int) -> str:
        return f"at {rate}"

    old_bill.__name__ = new_bill.__name__ = "bill"
    first = open_engine(a_bill(old_bill, with_rate=False))
    theirs = waiting(first, "theirs")
    crash(store, first)
    second = open_engine(a_bill(new_bill, with_rate=True))
    second.signal(theirs, "go")
    shown_to_run(second, waiting(second, "ours"))
    assert not has_happened(second, theirs, e.StepFailed)
    assert not has_happened(second, theirs, e.SagaTakenOver)
    third = open_engine(a_bill(old_bill, with_rate=False))
    assert third.follow(theirs).result(TIMEOUT_S).results["bill"] == "old"


def test_a_parameter_with_a_default_keeps_it_under_a_plan_that_does_not_know_it(
    store: Store, open_engine: OpenEngine
) -> None:
    """So it is no missing code."""

    def old_bill() -> str:
        return "old"

    def new_bill(rate: int = 3) -> str:
        return f"at {rate}"

    old_bill.__name__ = new_bill.__name__ = "bill"
    first = open_engine(a_bill(old_bill, with_rate=False))
    theirs = waiting(first, "theirs")
    crash(store, first)
    second = open_engine(a_bill(new_bill, with_rate=True))
    second.signal(theirs, "go")
    assert second.follow(theirs).result(TIMEOUT_S).results["bill"] == "at 3"


@pytest.mark.parametrize("retired", [True, False])
def test_retired_code_runs_the_sagas_of_older_plans(store: Store, open_engine: OpenEngine, *, retired: bool) -> None:
    """And only these; without it they wait."""
    first = open_engine(an_order(with_audit=True))
    theirs = waiting(first, "theirs")
    crash(store, first)
    order = an_order()
    if retired:
        with order.retired():

            @order.step
            def audit(pay: str) -> str:
                return f"{pay}, audited by retired code"

            @order.compensates(audit)
            def unaudit() -> None: ...

    second = open_engine(order)
    second.signal(theirs, "go")
    shown_to_run(second, waiting(second, "ours"))
    assert set(state_of(store, "ours").results) == {"pay", "go"}
    if retired:
        assert second.follow(theirs).result(TIMEOUT_S).results["audit"] == "paid, audited by retired code"
    else:
        assert not has_happened(second, theirs, e.SagaTakenOver)

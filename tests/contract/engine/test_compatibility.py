"""Comparing the code with the log: counts that are right, and a verdict that is what then happens."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from saga_es.core import events as e
from saga_es.core.state import SagaStatus
from saga_es.definition.code import code_of, decoded
from saga_es.definition.requests import Participant
from saga_es.definition.saga import Saga
from saga_es.errors import StepRejected
from saga_es.runtime.calls.answers import Answer
from saga_es.runtime.calls.executor import Executor
from saga_es.runtime.calls.transport import Transport
from saga_es.runtime.compatibility import Comparing, Comparison, Group, Verdict, compare
from saga_es.store.log.codec import PLAN, SAGA
from saga_es.store.log.entries import Draft
from tests.conftest import AT, OpenEngine, Store
from tests.support.trips import has_happened, until


def a_trip(*, with_bill: bool = True, with_undoing: bool = True, with_more: bool = False) -> Saga:
    """A car, then somebody says go, then the bill, which is refused where they say so."""
    trip = Saga("trip")
    trip.request("car", KEEPER.get("/car"), compensation=KEEPER.delete("/car") if with_undoing else None)
    trip.wait_for("go", timeout_s=None)
    if with_bill:
        trip.step(compensation=None)(bill)
    if with_more:
        trip.step(compensation=None)(more)
    return trip


KEEPER = Participant("keeper")


class Car(Transport):
    """There is always a car, and it is always taken back."""

    def send(self, *_: Any) -> Answer:
        """All is well."""
        return Answer(200, {}, b"{}")


def bill(go: str) -> None:
    if go == "refuse":
        raise StepRejected("no money")


def more() -> None:
    """A step that older sagas do not know."""


def compared(store: Store, *code: Saga) -> Comparison:
    living = [decoded(known) for known in store.workers.codes().values() if known is not None]
    return compare(store.database, store.sagas, Comparing(code_of(code), living))


# ── The verdict is what then happens ─────────────────────────────────────────────────────────────────────

NO_BILL = "the code of step 'bill' is gone: saga 'trip' has no action for it"
NO_UNDO = (
    "the code of step 'car' is gone: saga 'trip' has no compensation for it "
    "(needed if the saga aborts, or an answer is lost)"
)


GOES_ON, COMPLETED = (Verdict.GOES_ON, ()), (SagaStatus.COMPLETED, None)


@pytest.mark.parametrize(
    ("changed", "told", "said", "end"),
    [
        ({}, GOES_ON, "go", COMPLETED),
        ({}, GOES_ON, "refuse", (SagaStatus.COMPENSATED, "no money")),
        ({"with_more": True}, GOES_ON, "go", COMPLETED),
        ({"with_bill": False}, (Verdict.STRANDED, (NO_BILL,)), "go", None),
        ({"with_undoing": False}, (Verdict.STRANDED, (NO_UNDO,)), "go", None),
    ],
)
def test_what_is_told_of_a_saga_is_what_becomes_of_it(
    store: Store, open_engine: OpenEngine, *, changed: dict[str, bool], told: Any, said: str, end: Any
) -> None:
    """A worker with the new code takes it over; or it waits, until a worker with the old code is back."""
    executor = partial(Executor, {"keeper": Car()})
    old, code = open_engine(a_trip(), executor=executor()), a_trip(**changed)
    saga_id = old.start("trip").saga_id
    until(lambda: has_happened(old, saga_id, e.WaitStarted))
    old.close()
    (version,) = compared(store, code).versions
    (group,) = version.groups
    assert (group.verdict, group.missing) == told
    assert version.is_present is (not changed)
    new = open_engine(code, executor=executor())
    new.signal(saga_id, "go", said)
    if end is None:
        assert new.start("trip", saga_id="later").saga_id == "later"
        new.signal("later", "go", said)
        assert new.follow("later").result(10).status is SagaStatus.COMPLETED
        assert end_of(store, saga_id) is None
        assert open_engine(a_trip(), executor=executor()).follow(saga_id).result(10).status is SagaStatus.COMPLETED
    else:
        assert until(lambda: end_of(store, saga_id)) == end


def end_of(store: Store, saga_id: str) -> tuple[SagaStatus, str | None] | None:
    state = store.sagas.find(saga_id)
    return (state.status, state.error) if state is not None and state.status.ended else None


# ── Counting ─────────────────────────────────────────────────────────────────────────────────────────────


def write(store: Store, plan: Saga, names: list[str], *events: e.SagaEvent) -> None:
    """Sagas of a definition, all as far as these events."""
    started = e.SagaStarted(plan.name, plan.plan_id, {}, "w-1")
    store.write(*(Draft(name, SAGA, 0, (started, *events), AT) for name in names))


def record_plan(store: Store, plan: Saga) -> None:
    store.write(Draft(plan.plan_id, PLAN, 0, (e.PlanRecorded(plan.plan),), AT))


CAR: tuple[e.SagaEvent, ...] = (e.StepStarted("car", 1), e.StepCompleted("car"))
WAITS = (*CAR, e.WaitStarted("go"))
PAID: tuple[e.SagaEvent, ...] = (*WAITS, e.StepCompleted("go"), e.StepStarted("bill", 1), e.StepCompleted("bill"))


def groups_of(comparison: Comparison) -> list[tuple[bool, Verdict, int]]:
    return [(version.is_present, g.verdict, g.sagas) for version in comparison.versions for g in version.groups]


def test_no_unfinished_sagas_all_go_on(store: Store) -> None:
    """There is nothing to tell."""
    assert compared(store, a_trip()) == Comparison(goes_on=True, versions=[])


def test_versions_and_what_becomes_of_their_sagas_are_counted(store: Store) -> None:
    """The present version first, then the others; of each, those that go on, and those that do not, and why."""
    old, present = a_trip(with_more=True), a_trip(with_bill=False)
    for plan in (old, present):
        record_plan(store, plan)
    write(store, old, [f"old-{n}" for n in range(130)], *WAITS)
    write(store, old, ["paid-1", "paid-2"], *PAID)
    write(store, present, ["new-1", "new-2"], *WAITS)
    found = compared(store, present)
    assert not found.goes_on
    no_more = NO_BILL.replace("bill", "more")
    first, second = found.versions
    assert (first.saga, first.plan_id, first.is_present, first.sagas) == ("trip", present.plan_id, True, 2)
    assert (second.plan_id, second.is_present, second.sagas) == (old.plan_id, False, 132)
    assert groups_of(found) == [
        (True, Verdict.GOES_ON, 2),
        (False, Verdict.STRANDED, 130),
        (False, Verdict.STRANDED, 2),
    ]
    assert [group.missing for group in second.groups] == [(NO_BILL, no_more), (no_more,)]


def test_a_few_ids_of_a_group_are_told(store: Store) -> None:
    """Their number does not grow with that of the sagas."""
    old = a_trip()
    record_plan(store, old)
    write(store, old, [f"s-{n:03}" for n in range(120)], *WAITS)
    (version,) = compared(store, a_trip(with_bill=False)).versions
    (group,) = version.groups
    assert (group.sagas, group.saga_ids) == (120, [f"s-{n:03}" for n in (119, 118, 117, 116, 115)])


def test_a_saga_that_has_ended_is_not_counted(store: Store, open_engine: OpenEngine) -> None:
    """Whatever is gone: it needs no code any more."""
    engine = open_engine(a_trip(with_bill=False), executor=Executor({"keeper": Car()}))
    handle = engine.start("trip")
    engine.signal(handle.saga_id, "go", "go")
    assert handle.result(10).status is SagaStatus.COMPLETED
    assert compared(store).versions == []


def test_sagas_of_a_definition_that_is_gone_wait(store: Store) -> None:
    """Workers that do not know it leave them alone."""
    record_plan(store, a_trip())
    write(store, a_trip(), ["s-1"], *WAITS)
    other = Saga("other")
    other.delay("nap", 1.0)
    (version,) = compared(store, other).versions
    assert version.groups == [Group(Verdict.STRANDED, ("no saga 'trip' is defined here",), 1, ["s-1"])]
    assert not version.is_present


def test_a_saga_whose_code_a_living_worker_has_waits_for_that_version(store: Store, open_engine: OpenEngine) -> None:
    """It is no obstacle while that worker lives, and is stranded when it has gone."""
    old = open_engine(a_trip(), executor=Executor({"keeper": Car()}))
    saga_id = old.start("trip").saga_id
    until(lambda: has_happened(old, saga_id, e.WaitStarted))

    def told() -> tuple[bool, Verdict, tuple[str, ...], list[str]]:
        found = compared(store, a_trip(with_bill=False))
        ((group,),) = [version.groups for version in found.versions]
        return found.goes_on, group.verdict, group.missing, group.saga_ids

    assert told() == (False, Verdict.WAITS, (NO_BILL,), [saga_id])
    old.close()
    assert told() == (False, Verdict.STRANDED, (NO_BILL,), [saga_id])


def test_a_saga_that_cannot_be_read_is_told_apart(store: Store) -> None:
    """Its plan is not in the log, say; the others are judged all the same."""
    code = a_trip()
    record_plan(store, code)
    write(store, code, ["s-1"], *WAITS)
    lost: dict[str, Any] = {"saga": "trip", "plan_id": "plan-lost", "input": {}, "worker": "w-1"}
    store.write(Draft("s-2", SAGA, 0, (e.SagaStarted(**lost),), AT))
    found = compared(store, code)
    assert groups_of(found) == [(True, Verdict.GOES_ON, 1), (False, Verdict.UNREADABLE, 1)]
    unreadable = found.versions[1].groups[0]
    assert unreadable.saga_ids == ["s-2"]
    assert "plan-lost" in unreadable.missing[0]
    assert not found.goes_on

"""A worker that drains runs what no other worker can run, and leaves everything else to the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from saga_es.client import Client
from saga_es.core import events as e
from saga_es.core.state import SagaStatus
from saga_es.definition.saga import Saga
from saga_es.runtime.calls.executor import Executor
from saga_es.runtime.engine import Engine
from saga_es.runtime.limits import Limits
from tests.conftest import OpenEngine, Store
from tests.contract.engine.test_versions import TIMEOUT_S, an_order, state_of, waiting
from tests.support.trips import crash, has_happened, until

Drain = Callable[[Saga], Engine]


@pytest.fixture
def drain(store: Store) -> Iterator[Drain]:
    """Opens engines that drain."""
    with ExitStack() as opened:

        def open_one(definition: Saga) -> Engine:
            engine = Engine(store, Executor(), [definition], limits=Limits(drains=True))
            opened.callback(engine.close, grace_s=1.0)
            return engine.open()

        yield open_one


def old() -> Saga:
    """The version that is drained: it has a step that the new one lacks, and all code of the new one."""
    return an_order(with_audit=True)


def new() -> Saga:
    return an_order()


def test_what_no_other_worker_can_run_is_run_and_what_one_can_is_left(
    store: Store, open_engine: OpenEngine, drain: Drain
) -> None:
    """Whether it has begun or not; and what is left is taken when that worker is gone."""
    begun = open_engine(new())
    waiting(begun, "common")
    crash(store, begun)
    client = Client(store, [new()])
    unbegun = [client.start("order").saga_id for _ in range(10)]  # some of them this worker would claim at once
    before = open_engine(old(), recovers=False)
    waiting(before, "needs-old")
    crash(store, before)
    able = open_engine(new(), recovers=False)  # it lives, and takes nothing: what others leave to it stays
    drained = drain(old())
    until(lambda: has_happened(drained, "needs-old", e.SagaTakenOver))  # the youngest: the others were looked at
    assert {state_of(store, saga_id).status for saga_id in unbegun} == {SagaStatus.PENDING}
    assert state_of(store, "common").owner == begun.worker_id
    able.close()
    for saga_id in ("common", *unbegun, "needs-old"):
        drained.signal(saga_id, "go")
        assert drained.follow(saga_id).result(TIMEOUT_S).status is SagaStatus.COMPLETED


def test_workers_that_drain_leave_no_saga_to_each_other(store: Store, open_engine: OpenEngine, drain: Drain) -> None:
    """One of them takes it, and the log says which."""
    drained = [drain(old()), drain(old())]
    open_engine(new(), recovers=False)
    before = open_engine(old(), recovers=False)
    saga_id = waiting(before, "s-1")
    crash(store, before)
    until(lambda: has_happened(drained[0], saga_id, e.SagaTakenOver))
    assert state_of(store, saga_id).owner in {engine.worker_id for engine in drained}

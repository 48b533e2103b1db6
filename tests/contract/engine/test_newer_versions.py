"""A saga that a newer version has gone on with: workers of this version leave it alone, and go on with the others."""

from __future__ import annotations

from typing import Any, get_args

import msgspec

from saga_es.core import events as e
from saga_es.core.state import SagaStatus
from saga_es.definition.saga import Saga
from saga_es.runtime.engine import Engine
from saga_es.store.admin.versions import unreadable
from saga_es.store.drivers.finding import Finding
from saga_es.store.log.codec import SAGA, Codec
from saga_es.store.log.entries import Draft
from saga_es.store.log.log import Log
from saga_es.store.ports import Written
from saga_es.store.views.kinds import Views
from saga_es.store.writer import Writer
from tests.conftest import AT, OpenEngine, Store
from tests.support.logged import captured_logs
from tests.support.trips import crash, has_happened, until

TIMEOUT_S = 20
LEFT_ALONE = "a saga cannot be read and is left alone"


class StepBlessed(msgspec.Struct, frozen=True):
    """An event of the future."""

    step: str


def order() -> Saga:
    saga = Saga("order")
    saga.wait_for("go", timeout_s=None)

    @saga.step(compensation=None)
    def ship() -> str:
        return "shipped"

    return saga


def waiting(engine: Engine, saga_id: str) -> str:
    """A saga of the engine that waits for its signal."""
    engine.start("order", saga_id=saga_id)
    until(lambda: has_happened(engine, saga_id, e.WaitStarted))
    return saga_id


def goes_on(engine: Engine, saga_id: str) -> None:
    engine.signal(saga_id, "go")
    assert engine.follow(saga_id).result(TIMEOUT_S).status is SagaStatus.COMPLETED


def blessed(store: Store, saga_id: str) -> None:
    """A newer version goes on with a saga, and notifies its owner."""
    codec = Codec({SAGA: (*get_args(e.SagaEvent), StepBlessed)})
    writer = Writer(store.database, Log(store.database, codec), Views([]))
    at = len(types(store, saga_id))
    draft = Draft(saga_id, SAGA, at, (StepBlessed("ship"),), AT, notifies=True)
    assert writer.write([writer.prepare(draft)]) == [Written()]


def types(store: Store, saga_id: str) -> list[str]:
    """The types of the events in the stream, readable or not."""
    return [entry.type for entry in store.log.entries_of([saga_id])[saga_id]]


def told(lines: list[dict[str, Any]], saga_id: str) -> int:
    return sum(line["event"] == LEFT_ALONE and line["saga_id"] == saga_id for line in lines)


def test_an_owner_lets_a_saga_alone_that_a_newer_version_has_gone_on_with(
    store: Store, open_engine: OpenEngine
) -> None:
    """It says so once, adds nothing to the saga, and its other sagas go on."""
    engine = open_engine(order())
    theirs, ours = waiting(engine, "theirs"), waiting(engine, "ours")
    with captured_logs() as lines:
        blessed(store, theirs)
        before = types(store, theirs)
        until(lambda: told(lines, theirs))
        goes_on(engine, ours)
        goes_on(engine, waiting(engine, "another"))
        assert told(lines, theirs) == 1
    assert types(store, theirs) == before
    assert engine.alive


def test_a_worker_takes_over_no_saga_that_it_cannot_read_and_takes_over_the_others(
    store: Store, open_engine: OpenEngine
) -> None:
    """It looks at it once, whatever is sent to the saga; the saga is as it was."""
    first = open_engine(order())
    theirs, ours = waiting(first, "theirs"), waiting(first, "ours")
    crash(store, first)
    blessed(store, theirs)
    before = types(store, theirs)
    with captured_logs() as lines:
        engine = open_engine(order())
        goes_on(engine, ours)
        until(lambda: told(lines, theirs))
        goes_on(engine, waiting(engine, "another"))
        assert told(lines, theirs) == 1
    assert types(store, theirs) == before


def test_the_doctor_names_the_sagas_that_only_a_newer_version_can_read(store: Store, open_engine: OpenEngine) -> None:
    """And asks for a worker of that version, as long as none is at work."""
    assert list(unreadable(store.database)) == [
        Finding("newer events", "ok", "this version can read every unfinished saga")
    ]
    waiting(open_engine(order()), "theirs")
    blessed(store, "theirs")
    (finding,) = unreadable(store.database)
    at = len(types(store, "theirs"))
    assert finding.verdict == "warning"
    assert "1 sagas have events of a newer version" in finding.found
    assert f"theirs (event {at}, StepBlessed): start a worker of that version" in finding.found

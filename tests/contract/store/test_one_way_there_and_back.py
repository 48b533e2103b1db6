"""PostgreSQL: a batch goes there and back once, whatever it writes, and is prepared when it has come a few times.

What is counted are the messages of the protocol, on all connections, as the driver's own trace has them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from psycopg.pq import Trace

from saga_es.core import events as e
from saga_es.core.plan import Plan, StepPlan, plan_id
from saga_es.store.database import Database
from saga_es.store.log.codec import SAGA
from saga_es.store.log.entries import Draft
from saga_es.store.ports import Written
from saga_es.store.tables import saga_bells, saga_events
from saga_es.store.views.saga_view import sagas
from tests.conftest import AT, Store

pytestmark = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)

PREPARED_AFTER = 5
"""Executions of a text after which psycopg prepares it, unless told otherwise."""

TRIP = Plan("trip", (StepPlan(name="car", title="Car"),))


class Wire:
    """What went over the connections of a store since it was asked last."""

    def __init__(self, file: Path) -> None:
        self._written = file.open("w")
        self._read = file.open()

    def trace(self, connection: Any, _record: object) -> None:
        """Have it write down its messages."""
        connection.pgconn.trace(self._written.fileno())
        connection.pgconn.set_trace_flags(Trace.SUPPRESS_TIMESTAMPS)

    def passed(self) -> list[str]:
        """The names of the messages, in order."""
        lines = self._read.read().splitlines()  # F: to the server, B: from it; other lines go on with an SQL text
        return [line.split("\t")[2] for line in lines if line.startswith(("F\t", "B\t"))]

    def close(self) -> None:
        """Close the file."""
        self._written.close()
        self._read.close()


@pytest.fixture
def wire(tmp_path: Path) -> Iterator[Wire]:
    """Nothing has passed on it yet."""
    made = Wire(tmp_path / "wire")
    yield made
    made.close()


@pytest.fixture
def traced(store: Store, wire: Wire) -> Iterator[Store]:
    """A store on the migrated database, whose writer is connected; all that it sends is traced."""
    database = Database(store.database.url.render_as_string(hide_password=False))
    sa.event.listen(database.engine, "connect", wire.trace)
    made = Store.at(database)
    made.write(start("the first"))
    wire.passed()
    yield made
    database.close()


def start(saga_id: str) -> Draft:
    """The log, the view of sagas, and a notification: something for each of them."""
    begun = (e.SagaStarted("trip", plan_id(TRIP), {"n": 1}, "w1"), e.StepStarted("car", 1))
    return Draft(saga_id, SAGA, 0, begun, AT, notifies=True)


def test_log_views_and_notifications_are_written_in_one_way_there_and_back(traced: Store, wire: Wire) -> None:
    """With the commit, and nothing is read before: one synchronization, and the server is ready once."""
    assert traced.write(start("a"), start("b"), start("c")) == [Written()] * 3
    passed = wire.passed()
    assert passed.count("Execute") == passed.count("Sync") == passed.count("ReadyForQuery") == 1
    with traced.database.reading() as connection:
        writers: list[set[str]] = [
            set(connection.scalars(sa.select(sa.literal_column("xmin::text")).where(key.in_(["a", "b", "c"]))))
            for key in (saga_events.c.stream_id, sagas.c.saga_id, saga_bells.c.saga_id)
        ]
    assert [len(of_table) for of_table in writers] == [1, 1, 1]
    assert len(set.union(*writers)) == 1  # the transaction is the same for all three


def test_a_batch_that_comes_again_and_again_is_prepared_however_long_it_is(traced: Store, wire: Wire) -> None:
    """From then on the server takes no text apart: neither for one saga, nor for five."""
    for number in range(PREPARED_AFTER):
        traced.write(start(f"before-{number}"))
    assert "Parse" in wire.passed()
    for length in range(1, 6):
        traced.write(*(start(f"{length}-{n}") for n in range(length)))
        passed = wire.passed()
        assert "Parse" not in passed
        assert passed.count("Execute") == passed.count("Sync") == passed.count("ReadyForQuery") == 1

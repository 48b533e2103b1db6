"""PostgreSQL: a batch touches the rows it is about, however many there are beside them."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from saga_es.core import events as e
from saga_es.core.plan import Plan, StepPlan, plan_id
from saga_es.store.database import Database
from saga_es.store.log.codec import SAGA
from saga_es.store.log.entries import Draft
from saga_es.store.ports import Written
from tests.conftest import AT, Store

pytestmark = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)

TRIP = Plan("trip", (StepPlan(name="car", title="Car"), StepPlan(name="hotel", title="Hotel")))

READ_ALONG = "SELECT coalesce(sum(seq_tup_read), 0) FROM pg_stat_user_tables WHERE relname IN ('sagas', 'saga_events')"


def start(saga_id: str) -> Draft:
    begun = (e.SagaStarted("trip", plan_id(TRIP), {"n": 1}, "w1"), e.StepStarted("car", 1))
    return Draft(saga_id, SAGA, 0, begun, AT)


def next_step(saga_id: str) -> Draft:
    return Draft(saga_id, SAGA, 2, (e.StepCompleted("car"), e.StepStarted("hotel", 1)), AT)


def test_a_batch_reads_no_saga_that_it_is_not_about(store: Store) -> None:
    """A plan that is kept from when there were few sagas, or made from old numbers, would read them all each time."""
    database = Database(store.database.url.render_as_string(hide_password=False))
    writer = Store.at(database)
    ids = [f"saga-{number}" for number in range(400)]
    for place in range(0, len(ids), 20):
        assert writer.write(*map(start, ids[place : place + 20])) == [Written()] * 20
    for id_ in ids[:20]:
        assert writer.write(next_step(id_)) == [Written()]
    assert writer.write(*map(next_step, ids[20:100])) == [Written()] * 80
    database.close()  # with its connections, the server counts what they did
    with store.database.reading() as connection:
        assert connection.scalar(sa.text(READ_ALONG)) == 0

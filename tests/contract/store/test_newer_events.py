"""A log that a newer version has written to: what this one cannot read it says, and goes on with the rest."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
import pytest

from saga_es.core import events as e
from saga_es.core.plan import plan_id
from saga_es.core.upcasters import Upcasters
from saga_es.errors import UnreadableEvent
from saga_es.store.log.codec import PLAN, SAGA, Codec
from saga_es.store.log.entries import Draft, Recorded, Unreadable
from saga_es.store.log.log import Log
from saga_es.store.ports import Written
from saga_es.store.queries.past import story_at, views_at
from saga_es.store.schema_lock import schema_lock
from saga_es.store.views.kinds import Views
from saga_es.store.views.rebuild import rebuild
from saga_es.store.writer import Writer
from tests.conftest import AT, Store
from tests.support.story import ABC

PLAN_ID = plan_id(ABC)
NEW_SCHEMA: Upcasters = {(SAGA, "StepCompleted", 1): lambda fields: fields}


class StepBlessed(msgspec.Struct, frozen=True):
    """An event of the future."""

    step: str


def newer(store: Store, upcasters: Upcasters | None = None) -> Writer:
    """The writer of a version that knows more; its views are not ours."""
    codec = Codec({SAGA: (*get_args(e.SagaEvent), StepBlessed)}, upcasters=upcasters)
    return Writer(store.database, Log(store.database, codec), Views([]))


def write(writer: Writer, saga_id: str, at: int, *events: Any) -> None:
    draft = Draft(saga_id, SAGA, at, events, AT)
    assert writer.write([writer.prepare(draft)]) == [Written()]


@pytest.fixture
def begun(store: Store) -> str:
    """A saga whose first step is called."""
    (prepared,) = [Draft(id_, PLAN, 0, (recorded,), AT) for id_, recorded in store.sagas.unrecorded([ABC])]
    store.write(prepared)
    write(store.writer, "s-1", 0, e.SagaStarted("order", PLAN_ID, {}, "w1"), e.StepStarted("a", 1))
    return "s-1"


def test_a_saga_is_told_up_to_what_cannot_be_read_and_the_rest_is_listed(store: Store, begun: str) -> None:
    """The story ends where it is not understood; what came after is shown, but not believed."""
    write(newer(store), begun, 2, StepBlessed("a"))
    write(store.writer, begun, 3, e.StepCompleted("a", 1))

    story, told = story_at(store.sagas, begun)
    assert (story.version, story.steps[0].status) == (2, "IN_PROGRESS")
    assert [(unread.version, unread.type) for unread in story.unreadable] == [(3, "StepBlessed")]
    assert "no such event" in story.unreadable[0].why
    assert [type(found) for found in told] == [Recorded, Recorded, Unreadable, Recorded]

    earlier, _ = story_at(store.sagas, begun, 2)
    assert earlier.unreadable == []
    with pytest.raises(UnreadableEvent):
        store.sagas.find(begun)


def test_the_views_of_the_past_are_made_without_what_cannot_be_read(store: Store, begun: str) -> None:
    """Another saga's row is there and right; this one's knows what was understood."""
    write(newer(store), begun, 2, StepBlessed("a"))
    write(store.writer, "s-2", 0, e.SagaStarted("order", PLAN_ID, {}, "w1"), e.SagaCompleted())
    with views_at(store.log, store.views, store.log.last_position()) as connection:
        rows = connection.exec_driver_sql("SELECT saga_id, status FROM sagas ORDER BY saga_id").all()
    assert [tuple(row) for row in rows] == [("s-1", "IN_PROGRESS"), ("s-2", "COMPLETED")]


def test_a_replay_leaves_out_what_it_cannot_read_and_says_so(store: Store, begun: str) -> None:
    """All views are made anew; in them is what was understood, of the saga itself and of the others."""
    write(newer(store), begun, 2, StepBlessed("a"), StepBlessed("b"))
    write(store.writer, "s-2", 0, e.SagaStarted("order", PLAN_ID, {}, "w1"), e.SagaCompleted())
    with schema_lock(store.database) as connection:
        rebuilding = rebuild(connection, store.database, store.log, store.views)
    assert rebuilding.unread == {"saga/StepBlessed": 2}
    assert [rebuilt.failed for rebuilt in rebuilding.views] == [None, None]
    with store.database.reading() as connection:
        rows = connection.exec_driver_sql("SELECT saga_id, status FROM sagas ORDER BY saga_id").all()
    assert [tuple(row) for row in rows] == [("s-1", "IN_PROGRESS"), ("s-2", "COMPLETED")]


def test_an_event_of_a_newer_schema_is_not_taken_for_one_of_ours(store: Store, begun: str) -> None:
    """Its type is known and its fields would fit; what it means there is not known here."""
    write(newer(store, NEW_SCHEMA), begun, 2, e.StepCompleted("a", 1))
    story, _ = story_at(store.sagas, begun)
    assert story.version == 2
    assert "schema 2" in story.unreadable[0].why


def test_a_saga_of_which_nothing_can_be_read_is_an_error_that_says_why(store: Store) -> None:
    """There is no story without a beginning."""
    write(newer(store), "s-3", 0, StepBlessed("a"))
    with pytest.raises(UnreadableEvent, match="StepBlessed"):
        story_at(store.sagas, "s-3")

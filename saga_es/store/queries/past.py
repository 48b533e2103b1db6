"""The past: the story of a saga at a version, the views at a position.

A version costs one stream. A position costs the whole log up to it: no view keeps its past, so each is made again from
the first event on, in a database of its own that is removed after it was read.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.pool import StaticPool

from saga_es.core.state import SagaState
from saga_es.errors import NoSuchPosition, NoSuchVersion, TooMuchPast, UnreadableEvent
from saga_es.store.log.codec import SAGA
from saga_es.store.log.entries import Entry, Recorded, Unreadable
from saga_es.store.log.log import Log
from saga_es.store.queries.story import SagaStory, Unread, story
from saga_es.store.sagas import Sagas
from saga_es.store.views.kinds import Views

CHUNK = 1000


PastEvent = Recorded | Unreadable
"""An event in the life of a stream, decoded if possible."""


class Life(NamedTuple):
    """A saga at one version.

    Attributes:
        state: The fold of the history.
        history: Its events up to the first that this version cannot read.
        events: All its events up to the version, readable or not.
        unread: The events among them that cannot be read.
        latest: The version that it has reached meanwhile.
    """

    state: SagaState
    history: Sequence[Recorded]
    events: Sequence[PastEvent]
    unread: Sequence[Unread]
    latest: int


def story_at(sagas: Sagas, saga_id: str, version: int | None = None) -> tuple[SagaStory, Sequence[PastEvent]]:
    """The story of a saga, at present or after its first `version` events; and those events.

    An event that this version cannot read ends the story, but not the events. The errors are those of `life_at`.
    """
    life = life_at(sagas, saga_id, version)
    return story(life.state, life.history, life.unread), life.events


def life_at(sagas: Sagas, saga_id: str, version: int | None = None) -> Life:
    """The state and the events of a saga, at present or after its first `version` events.

    Raises:
        NotFound: There is no such saga.
        SagaArchived: It was archived.
        NoSuchVersion: It has fewer events.
        UnreadableEvent: Not even its start can be read.
        StoreUnavailable: The database did not answer.
    """
    whole = sagas.log.entries_of([saga_id])[saga_id]
    if not whole or whole[0].category != SAGA:
        raise sagas.absent(saga_id)
    if version is not None and version > len(whole):
        raise NoSuchVersion(saga_id, version, len(whole))
    events = sagas.log.decode_all(whole[:version])
    unread = [
        Unread(found.entry.version, found.entry.type, found.why) for found in events if isinstance(found, Unreadable)
    ]
    history = [found for found in events[: unread[0].version - 1 if unread else None] if isinstance(found, Recorded)]
    state = sagas.folded(history)
    if state is None:
        raise UnreadableEvent(SAGA, unread[0].type, unread[0].why)
    return Life(state, history, events, unread, len(whole))


@contextmanager
def views_at(log: Log, views: Views, position: int, most_events: int | None = None) -> Iterator[Connection]:
    """The views after the event at a position and all events before it (0: empty).

    They lack archived events. On PostgreSQL and MySQL a transaction may commit after one with a higher position, so the
    last moments before the present may look different a moment later.

    Args:
        log: The log they are made from.
        views: The views to make.
        position: Inclusive; it need not be the position of an event.
        most_events: How many events may be folded: about 30,000 take a second. None: any number.

    Yields:
        A connection to an SQLite database that holds these views only; its file has no name, so that a crash leaves
        nothing behind, and memory stays flat.

    Raises:
        NoSuchPosition: The log does not reach that position.
        TooMuchPast: It would take more events.
        StoreUnavailable: The database did not answer.
    """
    last = log.last_position()
    if position > last:
        raise NoSuchPosition(position, last)
    if most_events is not None and log.reaches(most_events, position):
        raise TooMuchPast(position, most_events)
    scratch = sa.create_engine("sqlite://", creator=lambda: sqlite3.connect(""), poolclass=StaticPool)
    try:
        with scratch.connect() as connection:
            for view in views:
                view.create(connection)
            log = log.without_keys()
            for entries in _chunks(log, position):
                views.apply_to_all(
                    connection, [found for found in log.decode_all(entries) if isinstance(found, Recorded)]
                )
            yield connection
    finally:
        scratch.dispose()


def _chunks(log: Log, position: int) -> Iterator[list[Entry]]:
    after = 0
    while entries := log.entries(after_position=after, until_position=position, limit=CHUNK):
        yield entries
        after = entries[-1].position

"""Looking back: the story of a saga as it was at a version, the views as they were at a position.

A version costs the stream of one saga. A position costs the whole log up to there: no view keeps its own past, so
each is made once more from the first event on, in a database of its own that is gone when it was looked at.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.pool import StaticPool

from saga_es.errors import NoSuchPosition, NoSuchVersion, TooMuchPast, UnreadableEvent
from saga_es.store.log.codec import SAGA
from saga_es.store.log.entries import Entry, Recorded, Unreadable
from saga_es.store.log.log import Log
from saga_es.store.queries.story import SagaStory, Unread, story
from saga_es.store.sagas import Sagas
from saga_es.store.views.kinds import Views

CHUNK = 1000


Told = Recorded | Unreadable
"""What there is to tell of a moment in the life of a stream."""


def story_at(sagas: Sagas, saga_id: str, version: int | None = None) -> tuple[SagaStory, Sequence[Told]]:
    """The story of a saga as of now, or after its first events, so many as the version says; and those events.

    An event that this version cannot read ends the story, but not what is told.

    Raises:
        NotFound: There is no such saga.
        SagaArchived: It was taken out of the log.
        NoSuchVersion: It has not so many events.
        UnreadableEvent: Not even its start can be read.
        StoreUnavailable: The database did not answer.
    """
    whole = sagas.log.entries_of([saga_id])[saga_id]
    if not whole or whole[0].category != SAGA:
        raise sagas.absent(saga_id)
    if version is not None and version > len(whole):
        raise NoSuchVersion(saga_id, version, len(whole))
    told = sagas.log.told(whole[:version])
    unread = [
        Unread(found.entry.version, found.entry.type, found.why) for found in told if isinstance(found, Unreadable)
    ]
    history = [found for found in told[: unread[0].version - 1 if unread else None] if isinstance(found, Recorded)]
    state = sagas.folded(history)
    if state is None:
        raise UnreadableEvent(SAGA, unread[0].type, unread[0].why)
    return story(state, history, unread), told


@contextmanager
def views_at(log: Log, views: Views, position: int, most_events: int | None = None) -> Iterator[Connection]:
    """The views as they were once the event at a position, and all before it, were in the log (0: empty).

    What an archive has taken out of the log is not in them. On PostgreSQL and MySQL a transaction may commit behind a
    higher position than its own, so the last moments before now may look otherwise a moment later.

    Args:
        log: What they are made from.
        views: Which.
        position: Inclusive; it need not be that of an event.
        most_events: How many events may be folded for it: about 30,000 take a second. None: any number.

    Yields:
        A connection to an SQLite database that has these views and nothing else; in a file without a name, which a
        crash leaves nothing of, so that memory stays flat.

    Raises:
        NoSuchPosition: The log does not reach so far.
        TooMuchPast: It would take more events than that.
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
            for entries in _chunks(log, position):
                views.apply_to_all(connection, [found for found in log.told(entries) if isinstance(found, Recorded)])
            yield connection
    finally:
        scratch.dispose()


def _chunks(log: Log, position: int) -> Iterator[list[Entry]]:
    after = 0
    while entries := log.entries(after_position=after, until_position=position, limit=CHUNK):
        yield entries
        after = entries[-1].position

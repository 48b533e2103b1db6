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

from saga_es.errors import NoSuchPosition, NoSuchVersion, NotFound, TooMuchPast
from saga_es.store.log import Entry, Log, Recorded
from saga_es.store.sagas import Sagas
from saga_es.store.story import SagaStory, story
from saga_es.store.views import Views

CHUNK = 1000


def story_at(sagas: Sagas, saga_id: str, version: int | None = None) -> tuple[SagaStory, Sequence[Recorded]]:
    """The story of a saga as of now, or after its first events, so many as the version says; and those events.

    Raises:
        NotFound: There is no such saga.
        NoSuchVersion: It has not so many events.
        StoreUnavailable: The database did not answer.
    """
    whole = sagas.log.read(saga_id)
    history = whole[:version]
    state = sagas.folded(history)
    if state is None:
        raise NotFound(saga_id)
    if version is not None and version > len(whole):
        raise NoSuchVersion(saga_id, version, len(whole))
    return story(state, history), history


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
                views.apply_to_all(connection, [log.decode(entry) for entry in entries])
            yield connection
    finally:
        scratch.dispose()


def _chunks(log: Log, position: int) -> Iterator[list[Entry]]:
    after = 0
    while entries := log.entries(after_position=after, until_position=position, limit=CHUNK):
        yield entries
        after = entries[-1].position

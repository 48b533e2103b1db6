"""Inline views, applied so that none can stop the log: a view that refuses an event is behind from then on.

The event is in the log and the other views have it. The view takes up no more events: it is made anew by a replay,
which clears the mark in the transaction that puts the new table in service. Until then the mark is looked at in each
transaction, behind the append, which is ordered with that of the replay. So no event is missed after it.

Owns: that a mark says which event a view lacks first, and why. Refuses: to hide that the transaction itself has failed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from saga_es.errors import ProjectionFailed
from saga_es.logs import logger
from saga_es.store.drivers.driver import driver_of
from saga_es.store.drivers.error_codes import ErrorCodes, reason
from saga_es.store.log.entries import Recorded
from saga_es.store.tables import saga_events
from saga_es.store.views import checkpoints
from saga_es.store.views.checkpoints import Failed
from saga_es.store.views.kinds import Projection, sort_out

LONGEST_REASON = 500


def apply_where_possible(
    connection: Connection,
    views: Iterable[Projection],
    events: Sequence[Recorded],
    waiting: AbstractContextManager[None],
) -> frozenset[str]:
    """Apply events, which this transaction has just appended, to each view that is not behind, and takes them.

    Args:
        connection: In the transaction that appends.
        views: The inline views.
        events: The events.
        waiting: Limits, while it is open, how long a view is waited for.

    Returns:
        The names of all views that are behind now.
    """
    behind = checkpoints.behind(connection)
    more: dict[str, Failed] = {}
    with waiting:
        for view, concerned in sort_out([view for view in views if view.name not in behind], events):
            failed = _refused(connection, view, concerned)
            if failed is not None:
                more[view.name] = failed
    for name, failed in sorted(more.items()):  # in one order, so that two transactions do not deadlock
        checkpoints.mark_behind(connection, name, failed)
        logger.error("a view is behind, and is made anew", view=name, **_said(failed))
    return frozenset(behind) | frozenset(more)


def _said(failed: Failed) -> dict[str, object]:
    return {
        "position": failed.position,
        "type": failed.type,
        "stream_id": failed.stream_id,
        "reason": failed.error,
        "cure": "if it stays behind, mend what the reason names, then run `saga-es replay`",
    }


def ends_transaction(connection: Connection, error: Exception) -> bool:
    """Whether nothing can be done in the transaction after an error: it is rolled back, or its connection is lost."""
    if not isinstance(error, DBAPIError):
        return False
    errors = _errors(connection)
    return error.connection_invalidated or errors.code(error.orig) in errors.rolled_back


def _errors(connection: Connection) -> ErrorCodes:
    return driver_of(connection.dialect).errors


def _refused(connection: Connection, view: Projection, events: Sequence[Recorded]) -> Failed | None:
    """The event that a view refuses, and why; None if it takes all. What was written for a refused event is undone."""
    error = _error_of(connection, view, events)
    if error is None:
        return None
    is_its_values = not isinstance(error, DBAPIError) or _errors(connection).is_about_values(error)
    culprit, why = _culprit(connection, view, events, error) if is_its_values else (events[0], error)
    return _failed(connection, culprit, why)


def _culprit(
    connection: Connection, view: Projection, events: Sequence[Recorded], error: Exception
) -> tuple[Recorded, Exception]:
    """The first event that a view refuses by itself; the last one if it takes each alone."""
    with connection.begin_nested() as attempt:
        for event in events:
            its_own = _error_of(connection, view, [event])
            if its_own is not None:
                attempt.rollback()
                return event, its_own
        attempt.rollback()
    return events[-1], error


def _error_of(connection: Connection, view: Projection, events: Sequence[Recorded]) -> Exception | None:
    try:
        with connection.begin_nested():
            view.apply(connection, events)
    except Exception as error:
        if ends_transaction(connection, error):
            raise
        return error
    return None


def _failed(connection: Connection, event: Recorded, error: Exception) -> Failed:
    place = (saga_events.c.stream_id == event.stream_id) & (saga_events.c.version == event.version)
    position = connection.scalar(sa.select(saga_events.c.position).where(place)) or 0
    why = error.why if isinstance(error, ProjectionFailed) else reason(error)
    return Failed(position, type(event.event).__name__, event.stream_id, plain_reason(why))


def refused(failure: ProjectionFailed) -> Failed:
    """A failure as it is recorded."""
    return Failed(failure.position or 0, failure.event_type, failure.stream_id, plain_reason(failure.why))


def plain_reason(why: str) -> str:
    """A reason that every database stores, whatever its encoding."""
    return why.encode("ascii", "backslashreplace").decode().replace("\0", "\\x00")[:LONGEST_REASON]

"""How fast the log grows, and when the disk is full at this rate."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from saga_es.store.admin.amounts import DAY_S, HOUR_S, lasting, size
from saga_es.store.database import Database
from saga_es.store.drivers.driver import driver_of
from saga_es.store.drivers.finding import Finding
from saga_es.store.drivers.size import LogSize
from saga_es.store.tables import saga_events

WINDOW = timedelta(days=7)
"""The rate is that of the last week, so that nights and week-ends count as they come."""

TOO_YOUNG_S = HOUR_S
"""A log of less than this says nothing about a day."""

FULL_SOON_DAYS = 30.0
"""A disk that is full within this time is worth a look."""

_SUBJECT = "growth"
_position, _recorded_at = saga_events.c.position, saga_events.c.recorded_at


class Growth(msgspec.Struct, frozen=True):
    """What the log was seen to do.

    Attributes:
        size: The room that it takes.
        events: The events in it.
        lately: Those of them that were recorded in the window.
        window_s: The length of the window: a week, or the age of the log.
    """

    size: LogSize
    events: int
    lately: int
    window_s: float

    @property
    def events_a_day(self) -> float:
        """The events that a day adds."""
        return self.lately * DAY_S / self.window_s

    @property
    def bytes_a_day(self) -> float:
        """The bytes that a day adds, if its events are as large as those in the log."""
        return self.events_a_day * self.size.log_bytes / self.events


def growth(database: Database, now: datetime) -> Finding:
    """How fast the log grows, and when the disk is full at this rate."""
    with database.snapshot() as connection:
        found = measure(connection, now)
    return Finding(_SUBJECT, "ok", "the log is empty") if found is None else judge(found)


def measure(connection: Connection, now: datetime) -> Growth | None:
    """Measure the log, without reading all of it; None when it is empty."""
    first, last = connection.execute(sa.select(sa.func.min(_position), sa.func.max(_position))).one()
    if first is None:
        return None
    oldest = _at(connection, first)[1]
    since = max(oldest, now - WINDOW)
    start = _first_since(connection, since, first, last)
    lately = connection.scalar(sa.select(sa.func.count()).where(_position >= start)) or 0
    room = driver_of(connection.dialect).log_size(connection)
    events = room.events
    if events is None:
        events = connection.scalar(sa.select(sa.func.count()).select_from(saga_events)) or 0
    return Growth(room, max(events, lately, 1), lately, (now - since).total_seconds())


def _at(connection: Connection, position: int) -> tuple[int, datetime]:
    """The first event at or after a position: its position, and when it was recorded."""
    query = sa.select(_position, _recorded_at).where(_position >= position).order_by(_position).limit(1)
    row = connection.execute(query).one()
    return row[0], row[1]


def _first_since(connection: Connection, since: datetime, first: int, last: int) -> int:
    """The position from which on events were recorded at or after a time: positions and times grow together."""
    while first < last:
        middle = (first + last) // 2
        position, at = _at(connection, middle)
        if at >= since:
            last = middle
        else:
            first = position + 1
    return first


def judge(found: Growth) -> Finding:
    """The finding about what was measured."""
    holds = f"the log has {found.events} events in {size(found.size.log_bytes)}"
    if found.window_s < TOO_YOUNG_S:
        return Finding(_SUBJECT, "ok", f"{holds}, all of the last {lasting(found.window_s)}: too young for a rate")
    if not found.lately:
        return Finding(_SUBJECT, "ok", f"{holds}, none of the last {lasting(found.window_s)}")
    rate = f"{found.events_a_day:.0f} events a day, or {size(found.bytes_a_day)}"
    grew = f"{holds}, and grew in the last {lasting(found.window_s)} by {rate}"
    free = found.size.free_bytes
    if free is None:
        return Finding(_SUBJECT, "ok", f"{grew}; the database does not say what is free on {found.size.disk}")
    days = free / found.bytes_a_day
    when = f"{size(free)} are free on {found.size.disk}: it is full in {lasting(days * DAY_S)} at this rate"
    is_soon = days < FULL_SOON_DAYS
    cure = "; archive sagas that have ended (`saga-es archive`), or take a larger disk" if is_soon else ""
    return Finding(_SUBJECT, "warning" if is_soon else "ok", f"{grew}; {when}{cure}")

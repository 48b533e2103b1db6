"""What the doctor says when several versions of saga_es share the database."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

import sqlalchemy as sa

from saga_es.core import events as e
from saga_es.core.state import UNFINISHED
from saga_es.core.upcasters import UPCASTERS, present_schema
from saga_es.store.database import Database
from saga_es.store.drivers.finding import Finding
from saga_es.store.log.codec import SAGA
from saga_es.store.revision import HEAD, number
from saga_es.store.tables import saga_events, saga_workers
from saga_es.store.views import mixed
from saga_es.store.views.saga_view import sagas

SHOWN = 3
"""The workers and sagas that are named."""

COUNTED = 1000
"""The most events that are looked for."""

KNOWN = sorted(kind.__name__ for kind in get_args(e.SagaEvent))


def versions(database: Database) -> Iterator[Finding]:
    """The workers of earlier versions, and the views that lack what such workers do not write."""
    with database.reading() as connection:
        earlier, views = sorted(mixed.earlier_workers(connection)), sorted(mixed.marks(connection))
    lacking = f"the view {' and '.join(map(repr, views))} lacks what an earlier version does not write"
    if earlier:
        shown = ", ".join(earlier[:SHOWN]) + (", …" if len(earlier) > SHOWN else "")
        anew = f"; {lacking}, and is made anew when they have gone" if views else ""
        yield Finding("versions", "ok", f"{len(earlier)} workers of an earlier version: {shown}{anew}")
    elif views:
        cure = "a worker makes it anew within a minute; if its role may not make tables, run `saga-es db upgrade`"
        yield Finding("versions", "warning", f"{lacking}: {cure}")
    else:
        yield Finding("versions", "ok", "no worker is of an earlier version")


def unreadable(database: Database) -> Iterator[Finding]:
    """The unfinished sagas with events that only a newer version can read."""
    is_newer = saga_events.c.type.not_in(KNOWN) | (saga_events.c.schema > present_schema(SAGA, UPCASTERS))
    unfinished = sagas.c.status.in_([status.value for status in sorted(UNFINISHED)])
    query = (
        sa.select(sagas.c.saga_id, saga_events.c.type, saga_events.c.version)
        .join(saga_events, saga_events.c.stream_id == sagas.c.saga_id)
        .where(unfinished, is_newer)
        .limit(COUNTED)
    )
    with database.reading() as connection:
        rows = connection.execute(query).all()
        newer = connection.scalar(sa.select(sa.func.count()).where(saga_workers.c.migration > number(HEAD)))
    if not rows:
        yield Finding("newer events", "ok", "this version can read every unfinished saga")
        return
    first = {row.saga_id: f"{row.saga_id} (event {row.version}, {row.type})" for row in reversed(rows)}
    shown = ", ".join(sorted(first.values())[:SHOWN])
    many = f"{len(first)}{' or more' if len(rows) == COUNTED else ''} sagas"
    cure = "" if newer else ": start a worker of that version"
    words = f"{many} have events of a newer version, whose workers go on with them, such as {shown}{cure}"
    yield Finding("newer events", "ok" if newer else "warning", words)

"""Views forget whole streams, and remember them: the rows that their events made are removed and put back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from saga_es.store.log.entries import Recorded
from saga_es.store.views.kinds import Additions, Projection, View, sort_out


def forget(connection: Connection, views: Iterable[Projection], events: Sequence[Recorded]) -> None:
    """Remove the rows that these events made; they must be all events of their streams.

    Tallies are not changed, nor are views of the application's own kinds: `saga-es replay` makes them anew.
    """
    for view in views:
        concerned = [event for event in events if event.category in view.categories]
        match view:
            case View() if concerned:
                _delete(
                    connection,
                    view.table,
                    [{view.key.name: event.stream_id} for event in concerned if event.version == 1],
                )
            case Additions() if concerned:
                keys = [column.name for column in view.table.primary_key.columns]
                rows = [{key: row[key] for key in keys} for row in view.added(concerned)]
                _delete(connection, view.table, rows)
            case _:
                pass


def remember(connection: Connection, views: Iterable[Projection], events: Sequence[Recorded]) -> None:
    """Put back what `forget` removed; also in asynchronous views, which have passed the positions of these events."""
    for view, concerned in sort_out([view for view in views if isinstance(view, View | Additions)], events):
        view.apply(connection, concerned)


def _delete(connection: Connection, table: sa.Table, keys: list[dict[str, object]]) -> None:
    if keys:
        is_it = [column == sa.bindparam(f"this_{column.name}") for column in table.primary_key.columns]
        rows = [{f"this_{name}": value for name, value in key.items()} for key in keys]
        connection.execute(sa.delete(table).where(*is_it), rows)

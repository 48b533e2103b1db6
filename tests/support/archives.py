"""Archiving and importing, and what stands where."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from saga_es.store.archive.archiving import Archiving, Progress
from saga_es.store.archive.families import Over, families_over
from saga_es.store.archive.importing import Brought, By, Importing
from saga_es.store.log.codec import SAGA
from saga_es.store.log.entries import Entry
from saga_es.store.tables import saga_archives
from saga_es.store.views.saga_view import sagas
from saga_es.store.views.tags import saga_tags
from tests.conftest import AT, Store
from tests.support.shelves import OVER

NOW = AT + timedelta(days=30)
GONE = {"completed", "compensated", "whole", "whole/a"}
STAY = {"failed", "running", "late", "torn", "torn/a"}


def archived(store: Store, folder: Path, over: Over = OVER, **options: Any) -> Progress:
    """Archive what is over; how far it came."""
    archiving = Archiving(store.database, store.sagas, store.views, over, folder, **options)
    return [Progress(), *archiving.archive(families_over(store.database, over), NOW)][-1]


def imported(store: Store, path: Path, **options: Any) -> Brought:
    """Import a bundle; what was brought."""
    return [
        Brought(),
        *Importing(store.database, store.log, store.sagas, store.views, By("ada", "a look"), **options).bring(path),
    ][-1]


def in_the_log(store: Store) -> set[str]:
    """The ids of the sagas in the log."""
    return {entry.stream_id for entry in store.log.entries() if entry.category == SAGA}


def in_views(store: Store) -> dict[str, list[Any]]:
    """The rows of the built-in views."""
    with store.database.reading() as connection:
        return {
            table.name: [
                tuple(row) for row in connection.execute(sa.select(table).order_by(*table.primary_key.columns))
            ]
            for table in (sagas, saga_tags)
        }


def stones(store: Store) -> dict[str, str]:
    """The archive of each stream that was taken out."""
    with store.database.reading() as connection:
        return {row.stream_id: row.archive for row in connection.execute(sa.select(saga_archives))}


def by_stream(store: Store) -> dict[str, list[Entry]]:
    """The rows of the log, by stream."""
    streams: dict[str, list[Entry]] = {}
    for entry in store.log.entries():
        streams.setdefault(entry.stream_id, []).append(entry)
    return streams

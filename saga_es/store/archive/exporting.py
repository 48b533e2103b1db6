"""Exporting: one saga as a bundle, with the sagas that run as its steps and their plans."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import IO

from saga_es.core import events as e
from saga_es.store.archive.bundle import Writing
from saga_es.store.log.codec import SAGA
from saga_es.store.log.entries import Recorded
from saga_es.store.ports import Log
from saga_es.store.sagas import Sagas, plans_of


def export(sagas: Sagas, saga_id: str, file: IO[bytes], now: datetime) -> None:
    """Write a bundle of one saga, with its events exactly as in the log.

    Raises:
        NotFound: There is no such saga.
        SagaArchived: It was archived.
        StoreUnavailable: The database did not answer.
    """
    log = sagas.log
    entries = log.entries_of([saga_id])[saga_id]
    if not entries or entries[0].category != SAGA:
        raise sagas.absent(saga_id)
    family = list(_family(log, saga_id))
    writing = Writing(file, now)
    for stream_id in (*dict.fromkeys(plan_id for plan_id in _plans(log, family)), *family):
        if stream := log.entries_of([stream_id])[stream_id]:
            writing.add(stream)
    writing.end()


def export_all(sagas: Sagas, saga_ids: Iterable[str], file: IO[bytes], now: datetime) -> None:
    """Write a bundle of many sagas and their plans, each once; a saga that is gone meanwhile is left out.

    Raises:
        StoreUnavailable: The database did not answer.
    """
    log, writing, written = sagas.log, Writing(file, now), set[str]()
    for saga_id in saga_ids:
        if saga_id not in written:
            new = [id_ for id_ in dict.fromkeys(_plans(log, [saga_id])) if id_ not in written]
            for stream_id in (*new, saga_id):
                if stream := log.entries_of([stream_id])[stream_id]:
                    writing.add(stream)
                    written.add(stream_id)
    writing.end()


def _family(log: Log, saga_id: str) -> Iterator[str]:
    """The saga and its descendants; an event that cannot be decoded is skipped."""
    yield saga_id
    for found in log.decode_all(log.entries_of([saga_id])[saga_id]):
        match found:
            case Recorded(event=e.ChildStarted(saga_id=child)):
                yield from _family(log, child)
            case _:
                pass


def _plans(log: Log, family: list[str]) -> Iterator[str]:
    for saga_id in family:
        found = log.decode_all(log.entries_of([saga_id])[saga_id])
        yield from plans_of([recorded for recorded in found if isinstance(recorded, Recorded)])

"""Archiving: finished sagas move from the log to a file.

Owns: that nothing is lost. Before a saga is removed, it is in a file that was synced, read back and checked hash by
hash. The transaction that removes it also records the name of the file. If the process is killed at any moment, every
saga is in the log or in an archive that the log names, and the next archiving continues with the rest.
"""

from __future__ import annotations

import gzip
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from itertools import count, islice
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
from sqlalchemy.exc import IntegrityError

from saga_es.errors import BadBundle, UnreadableEvent
from saga_es.store.archive.archives import take_out
from saga_es.store.archive.bundle import Writing, streams_in
from saga_es.store.archive.families import Family, Over
from saga_es.store.database import Database
from saga_es.store.log.chain import Head
from saga_es.store.log.codec import SAGA
from saga_es.store.log.entries import Entry
from saga_es.store.own_files import OWNERS
from saga_es.store.publishers import publishers
from saga_es.store.sagas import Sagas, plans_of
from saga_es.store.schema_lock import schema_lock
from saga_es.store.views import checkpoints
from saga_es.store.views.forgetting import forget
from saga_es.store.views.kinds import Views

AT_ONCE = 50
"""Families that are read, and removed, in one transaction; appends wait meanwhile."""

MOST_IN_A_FILE = 20_000
"""Sagas in one archive; more sagas go into further archives."""


NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL
"""A file that was not there: neither another's file nor a link is written through."""


class Progress(msgspec.Struct):
    """How far the archiving is.

    Attributes:
        sagas: Removed from the log.
        moved_on: Not removed, because events were appended to them after they were written to the archive.
    """

    files: list[str] = []
    sagas: int = 0
    events: int = 0
    moved_on: int = 0


class Archiving:
    """Writes archives, and removes from the log what they hold.

    Args:
        over: Which sagas are archived.
        folder: Where the archives are written.
        keep_in_views: Whether views keep the rows of archived sagas until the next replay.
    """

    def __init__(
        self, database: Database, sagas: Sagas, views: Views, over: Over, folder: Path, *, keep_in_views: bool = False
    ) -> None:
        self._database = database
        self._sagas = sagas
        self._log = sagas.log
        self._views = views
        self._over = over
        self._folder = folder
        self._keep_in_views = keep_in_views

    def archive(self, families: Iterator[Family], now: datetime) -> Iterator[Progress]:
        """Write families into one archive after another, and remove from the log what each archive holds.

        Yields:
            How far it is, after each archive and each transaction.

        Raises:
            BadBundle: A file differs from what was read, or the log changed meanwhile; nothing of it was removed.
            OSError: A file cannot be written.
            ProjectionFailed: A view failed while it forgot an event; its families are still in the log.
        """
        progress = Progress()
        while True:
            path, written, heads = self._write(families, now)
            if not written:
                path.unlink()
                return
            _check(path, heads)
            progress.files.append(path.name)
            yield from self._take_out(path, written, now, progress)

    def _write(self, families: Iterator[Family], now: datetime) -> tuple[Path, list[Family], dict[str, Head]]:
        """Write an archive and sync it; return the families in it, in order, and the heads of their sagas."""
        written: list[Family] = []
        heads: dict[str, Head] = {}
        path, partial = _begun(self._folder, now)
        with _synced(path, partial) as file:
            writing = Writing(file, now)
            plans: set[str] = set()
            passed = self._passed_by_views()
            while len(heads) < MOST_IN_A_FILE and (some := list(islice(families, AT_ONCE))):
                streams = self._log.entries_of([saga_id for family in some for saga_id in family])
                for family in some:
                    needed = [self._plans_of(streams[saga_id], passed) for saga_id in family]
                    if not all(needed):
                        continue
                    for plan_id in sorted({plan_id for some_plans in needed for plan_id in some_plans} - plans):
                        writing.add(self._log.entries_of([plan_id])[plan_id])
                        plans.add(plan_id)
                    written.append(family)
                    for saga_id in family:
                        writing.add(streams[saga_id])
                        heads[saga_id] = Head(streams[saga_id][-1].version, streams[saga_id][-1].hash)
            writing.end()
        return path, written, heads

    def _passed_by_views(self) -> float:
        """The position that every view that follows the log, and every publisher, has passed."""
        following = {view.name for view in self._views if view.follows}
        with self._database.reading() as connection:
            stands = [at.position for name, at in checkpoints.read(connection).items() if name in following]
            stands += [publisher.position for publisher in publishers(connection)]
        return min(stands, default=math.inf)

    def _plans_of(self, entries: list[Entry], passed: float) -> set[str]:
        """The ids of a saga's plans; none unless it is over in the log, too, and all views passed its end."""
        try:
            history = [self._log.decode(entry) for entry in entries]
            state = self._sagas.folded(history)
        except UnreadableEvent:
            return set()
        is_over = state and state.status in self._over.statuses and entries[-1].recorded_at < self._over.before
        return set(plans_of(history)) if is_over and entries[-1].position <= passed else set()

    def _take_out(self, path: Path, written: list[Family], now: datetime, progress: Progress) -> Iterator[Progress]:
        sagas = (entries for entries in streams_in(path) if entries[0].category == SAGA)
        families = (list(islice(sagas, len(family))) for family in written)
        while some := list(islice(families, AT_ONCE)):
            try:
                self._transact(some, path, now, progress)
            except IntegrityError:
                for family in some:  # one saga has moved on: only its family stays
                    try:
                        self._transact([family], path, now, progress)
                    except IntegrityError:
                        progress.moved_on += len(family)
            yield progress

    def _transact(self, families: list[list[list[Entry]]], path: Path, now: datetime, progress: Progress) -> None:
        streams = [entries for family in families for entries in family]
        with (
            schema_lock(self._database),
            self._database.writing() as connection,
        ):  # not during a replay
            take_out(connection, streams, path.name, now)
            if not self._keep_in_views:
                forget(connection, self._views, [self._log.decode(entry) for entries in streams for entry in entries])
        progress.sagas += len(streams)
        progress.events += sum(map(len, streams))


def _check(path: Path, heads: dict[str, Head]) -> None:
    """Read an archive back from the disk, check every hash, and compare its ends with the log's."""
    read = {
        entries[0].stream_id: Head(entries[-1].version, entries[-1].hash)
        for entries in streams_in(path)
        if entries[0].category == SAGA
    }
    if read != heads:
        raise BadBundle(str(path), f"{len(heads)} sagas were written, but what was read back differs")


def _begun(folder: Path, now: datetime) -> tuple[Path, BinaryIO]:
    """A free path, and its partial file to write to; processes that archive into one folder get different paths."""
    for number in count(1):
        path = folder / f"saga-archive-{now:%Y%m%dT%H%M%SZ}-{number:03}.ndjson.gz"
        with suppress(FileExistsError):  # another process writes it, or was killed while writing
            partial = os.fdopen(os.open(_partial(path), NEW, OWNERS), "wb")
            if not path.exists():  # only the process that made the partial file gives it this name
                return path, partial
            partial.close()
            _partial(path).unlink()
    raise AssertionError


def _partial(path: Path) -> Path:
    return path.with_name(path.name + ".part")


@contextmanager
def _synced(path: Path, partial: BinaryIO) -> Iterator[Any]:
    """A compressed file to write to; it gets its name when all of it is on the disk, never before."""
    try:
        with partial:
            with gzip.GzipFile(fileobj=partial, mode="wb", compresslevel=6) as packed:
                yield packed
            partial.flush()
            os.fsync(partial.fileno())
    except BaseException:
        _partial(path).unlink()  # it would take the rest of a full disk
        raise
    _partial(path).rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)

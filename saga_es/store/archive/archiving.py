"""Archiving: finished sagas leave the log for a file.

Owns: that nothing is lost. What leaves the log stands first in a file that was synced, read back and checked hash by
hash; it leaves in transactions that also say in which file it is. Killed at any moment, every saga is in the log or in
an archive that the log names, and the next run goes on with those that are still there.
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
from saga_es.store.sagas import Sagas
from saga_es.store.schema_lock import schema_lock
from saga_es.store.views import checkpoints
from saga_es.store.views.forgetting import forget
from saga_es.store.views.kinds import Views

AT_ONCE = 50
"""Families read together, and taken out together: for so long whoever appends has to wait."""

MOST_IN_A_FILE = 20_000
"""Sagas in one archive; the next go into the next."""


class Progress(msgspec.Struct):
    """How far an archiving has come.

    Attributes:
        sagas: Taken out of the log.
        moved_on: Not taken out, because they went on after they had been written to the archive.
    """

    files: list[str] = []
    sagas: int = 0
    events: int = 0
    moved_on: int = 0


class Archiving:
    """Writes archives, and takes out of the log what they hold.

    Args:
        over: What is archived.
        folder: Where the archives are written to.
        keep_in_views: Whether views go on showing what is archived, until they are made anew.
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
        """Write families into one archive after the other, and take out of the log what each holds.

        Yields:
            How far it has come, again and again.

        Raises:
            BadBundle: What a file holds is not what was read, or was changed in the log; nothing of it was taken out.
            OSError: A file cannot be written.
            ProjectionFailed: A view failed on an event that it was to forget; its families are in the log still.
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
        """Write an archive, whole and synced; the families in it, in order, and the heads of their sagas."""
        written: list[Family] = []
        heads: dict[str, Head] = {}
        path, part = _begun(self._folder, now)
        with _synced(path, part) as file:
            writing = Writing(file, now)
            plans: set[str] = set()
            passed = self._passed_by_views()
            while len(heads) < MOST_IN_A_FILE and (some := list(islice(families, AT_ONCE))):
                streams = self._log.entries_of([saga_id for family in some for saga_id in family])
                for family in some:
                    needed = {self._plan_of(streams[saga_id], passed) for saga_id in family}
                    if None in needed:
                        continue
                    for plan_id in sorted(filter(None, needed - plans)):
                        writing.add(self._log.entries_of([plan_id])[plan_id])
                        plans.add(plan_id)
                    written.append(family)
                    for saga_id in family:
                        writing.add(streams[saga_id])
                        heads[saga_id] = Head(streams[saga_id][-1].version, streams[saga_id][-1].hash)
            writing.end()
        return path, written, heads

    def _passed_by_views(self) -> float:
        """The position that every view that follows has passed; what is behind it they have yet to take up."""
        following = {view.name for view in self._views if view.follows}
        with self._database.reading() as connection:
            stands = [at.position for name, at in checkpoints.read(connection).items() if name in following]
        return min(stands, default=math.inf)

    def _plan_of(self, entries: list[Entry], passed: float) -> str | None:
        """The id of a saga's plan, if the log, too, says that the saga is over, and all views know it."""
        try:
            state = self._sagas.folded([self._log.decode(entry) for entry in entries])
        except UnreadableEvent:
            return None
        is_over = state and state.status in self._over.statuses and entries[-1].recorded_at < self._over.before
        return state.plan_id if state and is_over and entries[-1].position <= passed else None

    def _take_out(self, path: Path, written: list[Family], now: datetime, progress: Progress) -> Iterator[Progress]:
        sagas = (entries for entries in streams_in(path) if entries[0].category == SAGA)
        families = (list(islice(sagas, len(family))) for family in written)
        while some := list(islice(families, AT_ONCE)):
            try:
                self._transact(some, path, now, progress)
            except IntegrityError:
                for family in some:  # one saga has moved on: only its own family must stay for that
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
        ):  # not while views are made anew from the log
            take_out(connection, streams, path.name, now)
            if not self._keep_in_views:
                forget(connection, self._views, [self._log.decode(entry) for entries in streams for entry in entries])
        progress.sagas += len(streams)
        progress.events += sum(map(len, streams))


def _check(path: Path, heads: dict[str, Head]) -> None:
    """Read an archive back from the disk, every hash of it, and see that it ends where the log did."""
    read = {
        entries[0].stream_id: Head(entries[-1].version, entries[-1].hash)
        for entries in streams_in(path)
        if entries[0].category == SAGA
    }
    if read != heads:
        raise BadBundle(str(path), f"{len(heads)} sagas were written, and what is read back is not what they are")


def _begun(folder: Path, now: datetime) -> tuple[Path, BinaryIO]:
    """A path that is free, and its part to write to; of all who archive into a folder at once, each gets another."""
    for number in count(1):
        path = folder / f"saga-archive-{now:%Y%m%dT%H%M%SZ}-{number:03}.ndjson.gz"
        with suppress(FileExistsError):  # somebody else writes it, or was killed over it
            part = _part(path).open("xb")
            if not path.exists():  # nor will it: only who made the part gives it the name
                return path, part
            part.close()
            _part(path).unlink()
    raise AssertionError


def _part(path: Path) -> Path:
    return path.with_name(path.name + ".part")


@contextmanager
def _synced(path: Path, part: BinaryIO) -> Iterator[Any]:
    """A compressed file to write to, which is there under its name once all of it is on the disk, and never before."""
    try:
        with part:
            with gzip.GzipFile(fileobj=part, mode="wb", compresslevel=6) as packed:
                yield packed
            part.flush()
            os.fsync(part.fileno())
    except BaseException:
        _part(path).unlink()  # of a full disk it would take what is left
        raise
    _part(path).rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)

"""Participants that survive every kill: what was done stands in an SQLite file of their own, under the call's key.

Each call is one transaction, as in a service that takes part as it should. The effect comes first and the answer later,
so that a kill can fall in between. The first thing a call does is to look whether the log holds its intent.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

from saga_es.errors import StepRejected, StepUnavailable

TABLES = """
CREATE TABLE calls (saga_id TEXT, step TEXT, direction TEXT, key TEXT, is_intended INTEGER);
CREATE TABLE effects (key TEXT PRIMARY KEY, saga_id TEXT, step TEXT, done INTEGER, undone INTEGER);
CREATE INDEX calls_by_key ON calls (key);
"""

REFUSED, BUSY, LOST = "refused", "busy", "lost"

IsIntended = Callable[[str, str, str], bool]
"""Whether the log holds an intent of this saga, for this step, in this direction."""


class DurableLedger:
    """What arrived and what stands, in a file that any number of processes write to.

    Args:
        path: The file.
        is_intended: How to look into the log.
        pace_s: The longest that a call takes before and after its effect.
    """

    def __init__(self, path: Path, is_intended: IsIntended, pace_s: float = 0.012) -> None:
        self._path = path
        self._is_intended = is_intended
        self._pace_s = pace_s
        self._dice = Random()

    def act(self, saga_id: str, step: str, key: str, mishap: str | None) -> dict[str, Any]:
        """Do it once, answer the same each time; `mishap` is what becomes of the first call."""
        count = self._arrived(saga_id, step, "action", key)
        if mishap == REFUSED:
            raise StepRejected(f"{step} was asked to refuse")
        if mishap == BUSY and count == 1:
            raise StepUnavailable(f"{step} is busy")
        with self._writing() as connection:
            if self._was_undone(connection, key):
                raise StepRejected("it was undone before it came")
            connection.execute(
                "INSERT INTO effects VALUES (?, ?, ?, 1, 0) ON CONFLICT DO NOTHING", (key, saga_id, step)
            )
        self._dawdle()
        if mishap == LOST and count == 1:
            raise ConnectionError(f"the answer of {step} is lost")
        return {"booked": key}

    def undo(self, saga_id: str, step: str, key: str, action_key: str, mishap: str | None) -> None:
        """Undo it, or see to it that it never will be done."""
        count = self._arrived(saga_id, step, "compensation", key)
        if mishap == BUSY and count == 1:
            raise StepUnavailable(f"{step} is busy")
        with self._writing() as connection:
            connection.execute(
                "INSERT INTO effects VALUES (?, ?, ?, 0, 1) ON CONFLICT DO UPDATE SET undone = 1",
                (action_key, saga_id, step),
            )
        self._dawdle()
        if mishap == LOST and count == 1:
            raise ConnectionError(f"the answer of undoing {step} is lost")

    def _arrived(self, saga_id: str, step: str, direction: str, key: str) -> int:
        """Write the call down; how many there were under its key."""
        is_intended = self._is_intended(saga_id, step, direction)
        self._dawdle()
        with self._writing() as connection:
            connection.execute("INSERT INTO calls VALUES (?, ?, ?, ?, ?)", (saga_id, step, direction, key, is_intended))
            count: int = connection.execute("SELECT count(*) FROM calls WHERE key = ?", (key,)).fetchone()[0]
        return count

    def _was_undone(self, connection: sqlite3.Connection, key: str) -> bool:
        found = connection.execute("SELECT undone FROM effects WHERE key = ?", (key,)).fetchone()
        return found is not None and bool(found[0])

    def _dawdle(self) -> None:
        time.sleep(self._dice.uniform(0, self._pace_s))

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with opened(self._path) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")


def made(path: Path) -> Path:
    """The file, with its tables; to be made before anybody writes to it."""
    with opened(path) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(TABLES)
    return path


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """The ledger's file; what was written survives the death of a process, though not a power cut."""
    connection = sqlite3.connect(path, timeout=30, isolation_level=None)
    connection.execute("PRAGMA synchronous = OFF")
    try:
        yield connection
    finally:
        connection.close()

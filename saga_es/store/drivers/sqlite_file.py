"""Whether the paths of an SQLite database still lead to the files that are open: the main file, its log, their index.

A file that was deleted, moved or replaced stays open, and accepts commits that nobody finds again. They must not be
acknowledged: a process that opens the path next does not see them.
"""

from __future__ import annotations

import os
import threading
from typing import Any

from saga_es.errors import StoreUnavailable

Identity = tuple[int, int] | None
"""Device and inode; None where there is no file."""


class SqliteFile:
    """The files that the connections of this process have open.

    The main file is the one that the first connection opened. SQLite makes `-wal` and `-shm` with the first connection
    of any process and removes them with the last one, so they stay the same while a connection of this process is open.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connections = 0
        self._identities: dict[str, Identity] = {}

    def opened(self, cursor: Any) -> None:
        """Record that a connection was opened; the first one says which files are meant."""
        with self._lock:
            self._connections += 1
            if self._connections > 1:
                return
            path = str(cursor.execute("PRAGMA database_list").fetchone()[2])
            cursor.execute("SELECT count(*) FROM sqlite_master").fetchone()  # now SQLite has opened the log
            main = self._identities.get(path) or _identity(path)
            self._identities = {path: main, **{f"{path}{end}": _identity(f"{path}{end}") for end in ("-wal", "-shm")}}

    def closed(self) -> None:
        """A connection was closed. With the last one, SQLite may remove its log: only the main file stays watched."""
        with self._lock:
            self._connections -= 1
            if not self._connections:
                path, identity = next(iter(self._identities.items()))
                self._identities = {path: identity}

    def check(self) -> None:
        """Check that the paths still lead to those files.

        Raises:
            StoreUnavailable: A path does not; it does again once the file is back in its place.
        """
        for path, identity in self._identities.items():
            try:  # as `_identity` has it, without the call: this comes before and after every commit
                stat = os.stat(path)  # noqa: PTH116
                found: Identity = (stat.st_dev, stat.st_ino)
            except OSError:
                found = None
            if found != identity:
                what = "gone" if found is None else "another file than the open one"
                raise StoreUnavailable(f"{path} is {what}; put the file back, or restart this process")


def _identity(path: str) -> Identity:
    try:
        stat = os.stat(path)  # noqa: PTH116 (before every commit: a `Path` takes twice as long)
    except OSError:
        return None
    return stat.st_dev, stat.st_ino

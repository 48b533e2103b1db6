"""Whether the path of an SQLite database still leads to the file that is open.

A file that was deleted, moved or replaced stays open, and takes commits that nobody finds again. They must not be
acknowledged: whoever opens the path next does not see them.
"""

from __future__ import annotations

import os
from typing import Any

from saga_es.errors import StoreUnavailable


class SqliteFile:
    """The file that the first connection opened; of other databases, nothing."""

    def __init__(self) -> None:
        self._path = ""
        self._identity: tuple[int, int] | None = None

    def opened(self, cursor: Any) -> None:
        """A connection has been opened: the first one says which file is meant."""
        if self._identity is None:
            self._path = str(cursor.execute("PRAGMA database_list").fetchone()[2])
            self._identity = _identity(self._path)

    def check(self) -> None:
        """Make sure that the path leads to it.

        Raises:
            StoreUnavailable: It does not; once the file is back in its place, it does again.
        """
        if self._identity is None:
            return
        found = _identity(self._path)
        if found != self._identity:
            what = "gone" if found is None else "another file than the one that is open"
            raise StoreUnavailable(f"{self._path} is {what}; put the file back, or restart this process")


def _identity(path: str) -> tuple[int, int] | None:
    try:
        stat = os.stat(path)  # noqa: PTH116 (before every commit: a `Path` takes twice as long)
    except OSError:
        return None
    return stat.st_dev, stat.st_ino

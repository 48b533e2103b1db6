"""SQLite: whether its settings and its version let saga_es keep its promises."""

from __future__ import annotations

import re
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy.engine import URL, Connection

from saga_es.store.drivers.finding import Finding
from saga_es.store.drivers.size import LogSize

WAL_RESET_FIXED = (3, 51, 3)
WAL_RESET_BACKPORTS = {(3, 44): 6, (3, 50): 7}
"""https://www.sqlite.org/wal.html#walresetbug"""


def examine(connection: Connection) -> Iterator[Finding]:
    """Examine the settings that our promises depend on."""
    yield Finding("database", "ok", f"SQLite {sqlite3.sqlite_version}")
    yield Finding("isolation", "ok", "serializable: one writer at a time")
    encoding = connection.exec_driver_sql("PRAGMA encoding").scalar_one()
    yield Finding("charset", "ok", f"encoding={encoding}")
    journal = connection.exec_driver_sql("PRAGMA journal_mode").scalar_one()
    synchronous = connection.exec_driver_sql("PRAGMA synchronous").scalar_one()
    is_safe = journal == "wal" and synchronous >= 2  # noqa: PLR2004 (FULL)
    words = f"journal_mode={journal}, synchronous={synchronous}"
    cure = "" if is_safe else ": a power cut may lose what was acknowledged; saga_es asks for wal and 2 (FULL)"
    yield Finding("durability", "ok" if is_safe else "fault", words + cure)
    yield from _examine_file(Path(connection.engine.url.database or ""))


def _examine_file(path: Path) -> Iterator[Finding]:
    mode = path.stat().st_mode & 0o777 if path.is_file() else 0
    if mode & 0o077:
        others = f"{path} has mode {mode:04o}: others may read or change inputs and results"
        yield Finding("file", "warning", f"{others}; chmod 600 it, unless a group is meant to")


def examine_writers(url: URL, writers: int) -> Iterator[Finding]:
    """Examine whether this many processes may write at once."""
    version = sqlite3.sqlite_version
    if not has_wal_reset_fault(version):
        return
    cure = "take 3.51.3 or newer (or 3.50.7, 3.44.6), or write from one process only"
    about = f"SQLite {version} has the WAL-reset fault: two processes that write at once may, rarely, damage the file"
    now = f"{writers} workers write to {url.database}" if writers > 1 else "one writer now"
    yield Finding("WAL reset", "fault" if writers > 1 else "warning", f"{about}; {now}; {cure}")


def log_size(connection: Connection) -> LogSize:
    """The size of the whole file, which has the log and the views, and what is free on its disk."""
    pages, unused, page = (
        int(connection.exec_driver_sql(f"PRAGMA {name}").scalar_one())
        for name in ("page_count", "freelist_count", "page_size")
    )
    folder = Path(connection.engine.url.database or "").absolute().parent
    free = shutil.disk_usage(folder).free
    return LogSize((pages - unused) * page, free_bytes=free + unused * page, disk=f"the disk of {folder}")


def has_wal_reset_fault(version: str) -> bool:
    """Whether this SQLite may, rarely, damage a file that two connections write and checkpoint at the same instant."""
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:3])
    major, minor, patch = (*numbers, 0, 0)[:3]
    is_backported = patch >= WAL_RESET_BACKPORTS.get((major, minor), 1_000_000)
    return (3, 7, 0) <= (major, minor, patch) < WAL_RESET_FIXED and not is_backported

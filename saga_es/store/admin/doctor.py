"""The doctor: whether this database, as it is set up, lets the promises be kept; and how its workers are.

Each finding is one line with the numbers and, where something is wrong, the cure. A `fault` breaks a promise: a crash
may lose what was acknowledged, or sagas stand still. A `warning` is worth a look.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from typing import Literal

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from saga_es.core.state import UNFINISHED
from saga_es.store.admin import migrate
from saga_es.store.database import Database
from saga_es.store.tables import saga_events, saga_workers
from saga_es.store.views import checkpoints
from saga_es.store.views.saga_view import sagas
from saga_es.store.workers import Process, Workers, database_now

Verdict = Literal["ok", "warning", "fault"]

LATE_S = 60.0
"""The age from which on a saga that waits for a worker is worth a look."""

CLOCK_OFF_S = 5.0


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at.

    Attributes:
        subject: What was looked at.
        found: How it is; with the cure where something is wrong.
    """

    subject: str
    verdict: Verdict
    found: str


def examine(database: Database, workers: Workers, host_s: float) -> list[Finding]:
    """Look at everything.

    Args:
        database: Which one.
        workers: Who is at work there.
        host_s: The time by this host's clock, in seconds since 1970.

    Raises:
        StoreUnavailable: It did not answer at all.
    """
    findings: list[Finding] = []
    with database.reading() as connection:
        findings += _server(connection, database.kind)
        is_migrated = migrate.current(connection) == migrate.head()
    findings.append(_migration(database))
    findings.append(_clock(workers, host_s))
    if is_migrated:
        findings += _living(database, workers)
        findings.append(_oldest(database))
        findings += _following(database)
        findings += _sqlite_fault(database, len(workers.heartbeats())) if database.kind == "sqlite" else []
    return findings


# ── The server ───────────────────────────────────────────────────────────────────────────────────────────


def _server(connection: Connection, kind: str) -> Iterator[Finding]:
    match kind:
        case "sqlite":
            yield from _sqlite(connection)
        case "postgresql":
            yield from _postgresql(connection)
        case _:
            yield from _mysql(connection)


def _sqlite(connection: Connection) -> Iterator[Finding]:
    yield Finding("database", "ok", f"SQLite {sqlite3.sqlite_version}")
    yield Finding("isolation", "ok", "serializable: one writer at a time")
    journal = connection.exec_driver_sql("PRAGMA journal_mode").scalar_one()
    synchronous = connection.exec_driver_sql("PRAGMA synchronous").scalar_one()
    is_safe = journal == "wal" and synchronous >= 2  # noqa: PLR2004 (FULL)
    words = f"journal_mode={journal}, synchronous={synchronous}"
    cure = "" if is_safe else ": a power cut may lose what was acknowledged; saga_es asks for wal and 2 (FULL)"
    yield Finding("durability", "ok" if is_safe else "fault", words + cure)


def _postgresql(connection: Connection) -> Iterator[Finding]:
    settings = _rows(connection, "SELECT name, setting FROM pg_settings")
    yield Finding("database", "ok", f"PostgreSQL {settings['server_version']}")
    yield Finding("isolation", "ok", f"{settings['transaction_isolation']}; versions decide, so each level will do")
    standby = settings.get("transaction_read_only") == "on"
    if standby:
        cure = "it takes no writes; name all servers, and ?target_session_attrs=read-write"
        yield Finding("writable", "fault", f"transaction_read_only=on: {cure}")
    for name, bad, why in (
        ("fsync", ("off",), "a crash of the server may lose or damage everything; turn it on"),
        ("synchronous_commit", ("off",), "a crash of the server may lose what was acknowledged; turn it on"),
        (
            "full_page_writes",
            ("off",),
            "a power cut may damage the database; turn it on, unless the disk writes pages whole",
        ),
    ):
        yield _setting(name, settings.get(name, "?"), bad, why)
    names = settings.get("synchronous_standby_names", "")
    if names and settings.get("synchronous_commit") in {"local", "off"}:
        why = f"synchronous_standby_names={names}, and synchronous_commit does not wait for it"
        yield Finding("standby", "warning", f"{why}: a failover may lose what was acknowledged; set it to on")


def _mysql(connection: Connection) -> Iterator[Finding]:
    settings = {name.lower(): value for name, value in _rows(connection, "SHOW VARIABLES").items()}
    yield Finding("database", "ok", f"{_product(settings)} {settings['version']}")
    isolation = settings.get("transaction_isolation", settings.get("tx_isolation", "?"))
    yield Finding("isolation", "ok", f"{isolation.lower()}; versions decide, so each level will do")
    if settings.get("read_only", "OFF") in {"ON", "1"}:
        yield Finding("writable", "fault", "read_only=ON: it takes no writes; connect to the primary")
    flush = settings.get("innodb_flush_log_at_trx_commit", "?")
    why = "a crash may lose what was acknowledged; set it to 1"
    yield Finding(
        "durability", "ok" if flush == "1" else "fault", _told("innodb_flush_log_at_trx_commit", flush, "1", why)
    )
    doublewrite = settings.get("innodb_doublewrite", "?")
    yield _setting("innodb_doublewrite", doublewrite, ("OFF", "0"), "a power cut may damage the database; turn it on")
    if settings.get("log_bin", "OFF") in {"ON", "1"}:
        binlog = settings.get("sync_binlog", "?")
        why = "a crash may lose from the binary log, and so from replicas, what was acknowledged; set it to 1"
        yield Finding("binary log", "ok" if binlog == "1" else "warning", _told("sync_binlog", binlog, "1", why))


def _product(settings: dict[str, str]) -> str:
    return "MariaDB" if "mariadb" in settings["version"].lower() else "MySQL"


def _setting(name: str, value: str, bad: tuple[str, ...], why: str) -> Finding:
    return Finding(
        "durability", "fault" if value in bad else "ok", f"{name}={value}" + (f": {why}" if value in bad else "")
    )


def _told(name: str, value: str, good: str, why: str) -> str:
    return f"{name}={value}" if value == good else f"{name}={value}: {why}"


def _rows(connection: Connection, query: str) -> dict[str, str]:
    return {str(row[0]): str(row[1]) for row in connection.exec_driver_sql(query)}


# ── SQLite's WAL-reset fault ─────────────────────────────────────────────────────────────────────────────

WAL_RESET_FIXED = (3, 51, 3)
WAL_RESET_BACKPORTS = {(3, 44): 6, (3, 50): 7}
"""https://www.sqlite.org/wal.html#walresetbug"""


def has_wal_reset_fault(version: str) -> bool:
    """Whether this SQLite may, rarely, damage a file that two connections write and checkpoint at the same instant."""
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:3])
    major, minor, patch = (*numbers, 0, 0)[:3]
    is_backported = patch >= WAL_RESET_BACKPORTS.get((major, minor), 1_000_000)
    return (3, 7, 0) <= (major, minor, patch) < WAL_RESET_FIXED and not is_backported


def _sqlite_fault(database: Database, writers: int) -> Iterator[Finding]:
    version = sqlite3.sqlite_version
    if not has_wal_reset_fault(version):
        return
    cure = "take 3.51.3 or newer (or 3.50.7, 3.44.6), or write from one process only"
    about = f"SQLite {version} has the WAL-reset fault: two processes that write at once may, rarely, damage the file"
    now = f"{writers} workers write to {database.url.database}" if writers > 1 else "one writer now"
    yield Finding("WAL reset", "fault" if writers > 1 else "warning", f"{about}; {now}; {cure}")


# ── What is ours ─────────────────────────────────────────────────────────────────────────────────────────


def _migration(database: Database) -> Finding:
    at, head = migrate.found(database), migrate.head()
    if at == head:
        return Finding("migration", "ok", f"at {at}")
    return Finding("migration", "fault", f"at {at or 'none'}, this version needs {head}: run `saga-es db upgrade`")


def _clock(workers: Workers, host_s: float) -> Finding:
    off_s = host_s - workers.now_s()
    is_off = abs(off_s) > CLOCK_OFF_S
    about = f"this host's clock is {off_s:+.1f} s from the database's"
    why = ": workers go by the database's, but logs and certificates do not; run NTP" if is_off else ""
    return Finding("clock", "warning" if is_off else "ok", about + why)


def _living(database: Database, workers: Workers) -> Iterator[Finding]:
    silent = (database_now() - saga_workers.c.heartbeat_at).label("silent_s")
    with database.reading() as connection:
        rows = connection.execute(sa.select(saga_workers, silent).order_by(saga_workers.c.worker_id)).all()
        running = _running(connection)
    gone = [
        row for row in rows if row.silent_s > workers.lease_s or Process(row.host, row.pid, row.pid_started).is_gone()
    ]
    alive = [row for row in rows if row not in gone]
    told = ", ".join(
        f"{row.worker_id} ({row.host.partition('/')[0]}, {running.get(row.worker_id, 0)} sagas)" for row in alive
    )
    yield Finding("workers", "ok", f"{len(alive)} alive" + (f": {told}" if told else ""))
    if gone:
        names = ", ".join(row.worker_id for row in gone)
        yield Finding("workers", "warning", f"{len(gone)} gone, and not taken over yet: {names}")


def _running(connection: Connection) -> dict[str, int]:
    unfinished = sagas.c.status.in_([status.value for status in sorted(UNFINISHED)])
    count = sa.func.count().label("sagas")
    rows = connection.execute(sa.select(sagas.c.owner, count).where(unfinished).group_by(sagas.c.owner))
    return {row.owner: row.sagas for row in rows if row.owner is not None}


def _oldest(database: Database) -> Finding:
    """Sagas that no living worker owns; how long the oldest has waited for one."""
    living = sa.select(saga_workers.c.worker_id)
    unfinished = sagas.c.status.in_([status.value for status in sorted(UNFINISHED)])
    waiting = unfinished & (sagas.c.owner.is_(None) | sagas.c.owner.not_in(living))
    query = sa.select(sa.func.count(), sa.func.min(sagas.c.updated_at)).where(waiting)
    with database.reading() as connection:
        count, oldest = connection.execute(query).one()
        now_s = connection.execute(sa.select(database_now())).scalar_one()
    if not count:
        return Finding("waiting", "ok", "no saga waits for a worker")
    age_s = max(0.0, now_s - oldest.timestamp())
    told = f"{count} sagas wait for a worker, the oldest for {age_s:.0f} s"
    cure = ": start `saga-es worker` with their definitions, or raise --sagas-at-once" if age_s > LATE_S else ""
    return Finding("waiting", "warning" if age_s > LATE_S else "ok", told + cure)


def _following(database: Database) -> Iterator[Finding]:
    """Each view that follows the log: how far behind it is, or what it does not get past."""
    with database.reading() as connection:
        last = connection.execute(sa.select(sa.func.coalesce(sa.func.max(saga_events.c.position), 0))).scalar_one()
        found = checkpoints.read(connection)
    for name, checkpoint in sorted(found.items()):
        failed = checkpoint.pending.failed
        if failed is None:
            behind = max(0, last - checkpoint.position)
            how_far = f"{behind} positions behind" if behind else "level with"
            yield Finding("following views", "ok", f"{name!r} is {how_far} the log")
        else:
            at = f"position {failed.position}, {failed.type} of stream {failed.stream_id!r}"
            cure = "mend its function and restart the workers, then it goes on by itself"
            yield Finding("following views", "warning", f"{name!r} stands still at {at}: {failed.error}; {cure}")

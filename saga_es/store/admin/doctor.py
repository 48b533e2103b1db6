"""The doctor: whether the settings of this database let saga_es keep its promises, and how the workers are.

Each finding is one line with the numbers and, where something is wrong, the cure. A `fault` breaks a promise: a crash
may lose what was acknowledged, or sagas stand still. A `warning` is worth a look.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from saga_es.core.state import UNFINISHED
from saga_es.store import revision
from saga_es.store.admin import migrate
from saga_es.store.admin.growth import growth
from saga_es.store.admin.troubled import failed, retried
from saga_es.store.admin.versions import unreadable, versions
from saga_es.store.database import Database
from saga_es.store.drivers.finding import Finding
from saga_es.store.log.log import Log
from saga_es.store.process import Process
from saga_es.store.publishers import publishers
from saga_es.store.tables import saga_events, saga_workers
from saga_es.store.views import checkpoints
from saga_es.store.views.saga_view import sagas
from saga_es.store.workers import Workers, database_now

LATE_S = 60.0
"""A saga that has waited longer than this for a worker is worth a look."""

CLOCK_OFF_S = 5.0


def examine(
    database: Database, workers: Workers, log: Log, host_s: float, *, measures_growth: bool = True
) -> list[Finding]:
    """Examine the settings, the migration, the clock, the workers, the sagas that need a person, the log and the views.

    Args:
        database: The database to examine.
        workers: The workers of that database.
        log: The log in that database.
        host_s: The time by this host's clock, in seconds since 1970.
        measures_growth: Whether the events are counted, which takes the longer the more there are.

    Raises:
        StoreUnavailable: The database did not answer at all.
    """
    findings: list[Finding] = []
    with database.reading() as connection:
        findings += database.driver.examine(connection)
        is_migrated = revision.suits(revision.current(connection))
    findings.append(_migration(database))
    findings.append(_clock(workers, host_s))
    if is_migrated:
        findings += _living(database, workers)
        findings += versions(database)
        findings += unreadable(database)
        findings.append(_oldest(database))
        now = datetime.fromtimestamp(workers.now_s(), UTC)
        findings += failed(database, now)
        findings += retried(database, log, now)
        if measures_growth:
            findings.append(growth(database, now))
        findings += _following(database)
        findings += _behind(database)
        findings += _publishers(database)
        findings += database.driver.examine_writers(database.url, len(workers.heartbeats()))
    return findings


# ── What is ours ─────────────────────────────────────────────────────────────────────────────────────────


def _migration(database: Database) -> Finding:
    at, head = migrate.found(database), migrate.head()
    if at == head:
        return Finding("migration", "ok", f"at {at}")
    if revision.suits(at):
        return Finding("migration", "ok", f"at {at}, of a newer version; this one knows {head}, and works beside it")
    if revision.is_newer(at):
        return Finding("migration", "fault", f"at {at}, of a newer version; this one knows {head}: upgrade saga_es")
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
    shown = ", ".join(
        f"{row.worker_id} ({row.host.partition('/')[0]}, {running.get(row.worker_id, 0)} sagas)" for row in alive
    )
    yield Finding("workers", "ok", f"{len(alive)} alive" + (f": {shown}" if shown else ""))
    if gone:
        names = ", ".join(row.worker_id for row in gone)
        yield Finding("workers", "warning", f"{len(gone)} gone, and not taken over yet: {names}")


def _running(connection: Connection) -> dict[str, int]:
    unfinished = sagas.c.status.in_([status.value for status in sorted(UNFINISHED)])
    count = sa.func.count().label("sagas")
    rows = connection.execute(sa.select(sagas.c.owner, count).where(unfinished).group_by(sagas.c.owner))
    return {row.owner: row.sagas for row in rows if row.owner is not None}


def _oldest(database: Database) -> Finding:
    """How many sagas no living worker owns, and how long the oldest has waited."""
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
    shown = f"{count} sagas wait for a worker, the oldest for {age_s:.0f} s"
    cure = ": start `saga-es worker` with their definitions, or raise --sagas-at-once" if age_s > LATE_S else ""
    return Finding("waiting", "warning" if age_s > LATE_S else "ok", shown + cure)


def _following(database: Database) -> Iterator[Finding]:
    """For each view that follows the log: how far behind it is, or the event at which it fails."""
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


def _behind(database: Database) -> Iterator[Finding]:
    """The inline views that lack events: their readers see too little."""
    with database.reading() as connection:
        found = checkpoints.behind(connection)
    for name, checkpoint in sorted(found.items()):
        failed = checkpoint.pending.behind
        assert failed is not None, "it is what makes a view behind"
        at = f"position {failed.position}, {failed.type} of stream {failed.stream_id!r}"
        cure = "mend what it names, and run `saga-es replay`; the workers try it, too"
        yield Finding("inline views", "warning", f"{name!r} is behind since {at}: {failed.error}; {cure}")


def _publishers(database: Database) -> Iterator[Finding]:
    """For each publisher: how far behind it is, or why the last delivery failed."""
    with database.reading() as connection:
        found = publishers(connection)
    for publisher in found:
        if publisher.held.error is None:
            yield Finding("publishers", "ok", f"{publisher.name!r} is {publisher.lag} positions behind the log")
        else:
            cure = "it is tried again by itself"
            why = f"{publisher.held.error}; {cure}"
            yield Finding("publishers", "warning", f"{publisher.name!r} fails, {publisher.lag} positions behind: {why}")

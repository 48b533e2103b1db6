"""`saga-es doctor`: what it looks at, what it says of each, and how it exits."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa

from saga_es.core import events as e
from saga_es.errors import ProjectionFailed
from saga_es.store.admin import migrate
from saga_es.store.admin.doctor import examine
from saga_es.store.database import Database
from saga_es.store.drivers import mysql_settings
from saga_es.store.drivers.columns import key_text
from saga_es.store.drivers.finding import Finding
from saga_es.store.drivers.sqlite_settings import has_wal_reset_fault
from saga_es.store.log.codec import SAGA
from saga_es.store.log.entries import Draft, Recorded
from saga_es.store.process import Process
from saga_es.store.tables import saga_workers
from saga_es.store.views.catch_up import CatchUp
from saga_es.store.views.kinds import Change, View, Views
from saga_es.store.workers import database_now
from saga_es.store.writer import Writer
from tests.conftest import NOTE, Store, note_draft
from tests.e2e.conftest import run_cli


def shout(recorded: Recorded) -> Change:
    if recorded.event.text == "silence":
        raise ValueError("nobody shouts that")
    return {"text": recorded.event.text.upper()}


SHOUTS = View(
    sa.Table("shouts", sa.MetaData(), sa.Column("note_id", key_text(64), primary_key=True), sa.Column("text", sa.Text)),
    NOTE,
    shout,
    follows=True,
)

ELSEWHERE = Process("another-machine/boot/space", 1, "1")


def findings_of(store: Store, off_s: float = 0.0) -> dict[str, list[Finding]]:
    found: dict[str, list[Finding]] = {}
    for finding in examine(store.database, store.workers, store.log, store.workers.now_s() + off_s):
        found.setdefault(finding.subject, []).append(finding)
    return found


def test_a_sound_database_has_no_fault(store: Store, database_url: str) -> None:
    """On each database, as it comes out of the box; the command exits 0, and prints the same as JSON."""
    found = findings_of(store)
    assert {"database", "isolation", "durability", "migration", "clock", "workers", "waiting"} <= set(found)
    assert [f for some in found.values() for f in some if f.verdict == "fault"] == []
    done = run_cli("doctor", "--database-url", database_url, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["verdict"] in {"ok", "warning"}
    of_process = {"code", "participants", "variables"}
    assert {*found, *of_process} == {
        finding["subject"] for finding in msgspec.convert(told["findings"], list[dict[str, str]])
    }


def test_a_database_that_is_not_migrated_is_exit_8(database: Database, database_url: str) -> None:
    """With the cure, and with what can be said all the same; a look makes no SQLite file."""
    done = run_cli("doctor", "--database-url", database_url)
    assert done.returncode == 8
    assert "saga-es db upgrade" in done.stdout + done.stderr
    if database.driver.name == "sqlite":
        assert not Path(database.url.database or "").exists()


def test_a_database_that_is_away_is_exit_8() -> None:
    """As for every command."""
    assert run_cli("doctor", "--database-url", "postgresql://nobody@127.0.0.1:9/none").returncode == 8


def test_workers_are_counted_with_what_they_run(store: Store) -> None:
    """Those that are gone and not buried yet are named."""
    store.workers.beat("w-here", Process.this())
    store.workers.beat("w-there", ELSEWHERE)
    store.workers.beat("w-late", ELSEWHERE)
    late = saga_workers.c.worker_id == "w-late"
    with store.database.writing() as connection:
        connection.execute(sa.update(saga_workers).where(late).values(heartbeat_at=database_now() - 11))
    now = datetime.now(UTC)
    store.write(Draft("s-1", SAGA, 0, (e.SagaStarted("trip", "plan-1", {}, "w-there"),), now))
    alive, gone = findings_of(store)["workers"]
    assert alive.found.startswith("2 alive: w-here (")
    assert "w-there (another-machine, 1 sagas)" in alive.found
    assert gone == Finding("workers", "warning", "1 gone, and not taken over yet: w-late")


def test_a_saga_that_waits_too_long_for_a_worker_is_a_warning(store: Store) -> None:
    """With its age, by the database's clock; a minute is not too long."""
    now = datetime.fromtimestamp(store.workers.now_s(), UTC)
    store.write(Draft("s-1", SAGA, 0, (e.SagaStarted("trip", "plan-1", {}, None),), now - timedelta(seconds=30)))
    (young,) = findings_of(store)["waiting"]
    assert (young.verdict, young.found.split(",")[0]) == ("ok", "1 sagas wait for a worker")
    store.write(Draft("s-2", SAGA, 0, (e.SagaStarted("trip", "plan-1", {}, "gone"),), now - timedelta(hours=1)))
    (old,) = findings_of(store)["waiting"]
    assert (old.verdict, old.found.partition(" s:")[0]) == ("warning", old.found.partition(" s:")[0])
    assert "2 sagas wait for a worker, the oldest for 360" in old.found
    assert "saga-es worker" in old.found


def test_a_view_that_stands_still_is_a_warning(store: Store) -> None:
    """With the event that it fails on, and why; one that follows is told with how far behind it is."""
    assert "following views" not in findings_of(store)
    migrate.upgrade(store.database, store.log, Views([SHOUTS]))
    store.write(note_draft("n-1", "a", "b"))
    follower = CatchUp(store.database, store.log, SHOUTS)
    (behind,) = findings_of(store)["following views"]
    assert (behind.verdict, behind.found) == ("ok", "'shouts' is 2 positions behind the log")
    follower.step()
    (level,) = findings_of(store)["following views"]
    assert (level.verdict, level.found) == ("ok", "'shouts' is level with the log")
    store.write(note_draft("n-2", "silence"))
    with pytest.raises(ProjectionFailed):
        follower.step()
    (stands,) = findings_of(store)["following views"]
    assert stands.verdict == "warning"
    assert "'shouts' stands still" in stands.found
    assert "NoteWritten of stream 'n-2'" in stands.found
    assert "nobody shouts that" in stands.found


def test_an_inline_view_that_is_behind_is_a_warning(store: Store) -> None:
    """With the event that it lacks first, the reason and the cure."""
    assert "inline views" not in findings_of(store)
    views = Views([replace(SHOUTS, follows=False)])
    store.make(*views)
    writer = Writer(store.database, store.log, views)
    writer.write([writer.prepare(note_draft("n-1", "silence"))])
    (found,) = findings_of(store)["inline views"]
    assert found.verdict == "warning"
    assert "'shouts' is behind since position" in found.found
    assert "NoteWritten of stream 'n-1'" in found.found
    assert "nobody shouts that" in found.found
    assert "saga-es replay" in found.found


@pytest.mark.parametrize(("off_s", "verdict"), [(0.0, "ok"), (4.0, "ok"), (-3600.0, "warning"), (3600.0, "warning")])
def test_a_clock_that_is_off_is_a_warning(store: Store, off_s: float, verdict: str) -> None:
    """For workers do not go by it."""
    (clock,) = findings_of(store, off_s)["clock"]
    assert clock.verdict == verdict
    assert f"{off_s / 1:+.0f}"[:2] in clock.found or verdict == "ok"


# ── Settings that break promises ─────────────────────────────────────────────────────────────────────────


@pytest.fixture
def server(store: Store) -> Iterator[Callable[[str], list[Finding]]]:
    """Looks at the server after a change that only our own session sees."""

    def look(change: str) -> list[Finding]:
        with store.database.engine.connect() as connection:
            driver = connection.connection.driver_connection
            assert driver is not None
            driver.execute(change)  # before SQLAlchemy begins a transaction
            return list(store.database.driver.examine(connection))

    yield look
    store.database.engine.dispose()  # the change goes with the session


def faults(findings: list[Finding]) -> list[str]:
    return [finding.found.partition(":")[0] for finding in findings if finding.verdict == "fault"]


def test_settings_that_break_a_promise_are_faults(store: Store, server: Callable[[str], list[Finding]]) -> None:
    """Each with the name, the value and the cure."""
    match store.database.driver.name:
        case "postgresql":
            assert faults(server("SET synchronous_commit = off")) == ["synchronous_commit=off"]
            assert faults(server("SET default_transaction_read_only = on")) == []
            assert faults(server("SET transaction_read_only = on")) == ["transaction_read_only=on"]
        case "sqlite":
            assert faults(server("PRAGMA synchronous = OFF")) == ["journal_mode=wal, synchronous=0"]
        case _:
            pass  # MariaDB's are the whole server's: see below


@pytest.mark.parametrize(
    ("settings", "faulty", "doubtful"),
    [
        ({"innodb_flush_log_at_trx_commit": "1", "log_bin": "OFF"}, [], []),
        ({"innodb_flush_log_at_trx_commit": "2", "log_bin": "OFF"}, ["innodb_flush_log_at_trx_commit=2"], []),
        ({"innodb_flush_log_at_trx_commit": "0", "log_bin": "ON", "sync_binlog": "0"},
         ["innodb_flush_log_at_trx_commit=0"], ["sync_binlog=0"]),
        ({"innodb_flush_log_at_trx_commit": "1", "log_bin": "ON", "sync_binlog": "1", "read_only": "ON"},
         ["read_only=ON"], []),
        ({"innodb_flush_log_at_trx_commit": "1", "innodb_doublewrite": "OFF"}, ["innodb_doublewrite=OFF"], []),
    ],
)  # fmt: skip
def test_mysqls_settings(settings: dict[str, str], faulty: list[str], doubtful: list[str]) -> None:
    """They are the whole server's, which other tests use: so what it says of itself is said for it here."""
    said = {"version": "10.11.6-MariaDB", "tx_isolation": "REPEATABLE-READ", **settings}
    findings = list(mysql_settings.judge(said))
    assert findings[0] == Finding("database", "ok", "MariaDB 10.11.6-MariaDB")
    assert faults(findings) == faulty
    assert [f.found.partition(":")[0] for f in findings if f.verdict == "warning"] == doubtful


# ── SQLite's WAL-reset fault ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("version", "has_it"),
    [
        *(("3.6.23", False), ("3.7.0", True), ("3.40.1", True), ("3.44.5", True), ("3.44.6", False), ("3.45.0", True)),
        *(("3.50.6", True), ("3.50.7", False), ("3.51.0", True), ("3.51.2", True), ("3.51.3", False)),
        *(("3.52.0", False), ("3.53.4", False), ("4.0.0", False)),
    ],
)
def test_which_versions_have_the_wal_reset_fault(version: str, has_it: bool) -> None:  # noqa: FBT001 (a table)
    """From 3.7.0 to 3.51.2, but for the two that it was mended in later."""
    assert has_wal_reset_fault(version) is has_it


def test_the_wal_reset_fault_is_a_fault_when_more_than_one_process_writes(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one it is a warning; with a version that is mended it is not spoken of; on servers neither."""
    monkeypatch.setattr(sqlite3, "sqlite_version", "3.40.1")
    store.workers.beat("w-1", Process.this())
    verdicts = [[finding.verdict for finding in findings_of(store).get("WAL reset", [])]]
    store.workers.beat("w-2", Process.this())
    verdicts.append([finding.verdict for finding in findings_of(store).get("WAL reset", [])])
    monkeypatch.setattr(sqlite3, "sqlite_version", "3.51.3")
    verdicts.append([finding.verdict for finding in findings_of(store).get("WAL reset", [])])
    assert verdicts == ([["warning"], ["fault"], []] if store.database.driver.name == "sqlite" else [[], [], []])


def test_a_fault_is_exit_1(tmp_path: Path) -> None:
    """And printed like everything else, to stdout: two workers on one SQLite file of a version that has the fault."""
    url = f"sqlite:///{tmp_path / 'saga.sqlite'}"
    store = Store.at(Database(url))
    migrate.upgrade(store.database, store.log, store.views)
    for name in ("w-1", "w-2"):
        store.workers.beat(name, Process.this())
    script = "import sqlite3, sys; sqlite3.sqlite_version = '3.40.1'; from saga_es.cli import main; main(sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", script, "doctor", "--database-url", url],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    store.database.close()
    assert done.returncode == 1, done.stderr
    assert "2 workers write to" in done.stdout

"""Verification of a real log: nothing is said of one that is whole, and all is said of one that was tampered with."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from saga_es import Saga, StepRejected
from saga_es.core import events as e
from saga_es.core.state import SagaStatus
from saga_es.store.archive.archiving import Archiving
from saga_es.store.archive.exporting import export
from saga_es.store.archive.families import Over, families_over
from saga_es.store.archive.importing import By, Importing
from saga_es.store.log.chain import Head, chain
from saga_es.store.log.codec import IMPORT, SAGA
from saga_es.store.log.entries import Draft, prepare
from saga_es.store.log.streams import CHUNK, count, heads
from saga_es.store.ports import Written
from saga_es.store.proof.seal import Seal, write_seal
from saga_es.store.proof.signing import PrivateKey, PublicKey, make_keys
from saga_es.store.proof.verify import verify_archives, verify_seal, verify_streams
from saga_es.store.tables import saga_archives, saga_events
from saga_es.store.views.comparing import compare
from saga_es.store.views.kinds import Views
from saga_es.store.writer import Writer
from tests.conftest import AT, TIMEOUT_S, OpenEngine, Store, note_draft
from tests.support.altered import altered

order = Saga("order")


@order.step(compensation=None)
def payment(input: dict[str, int]) -> dict[str, int]:  # noqa: A002 (the name it is asked for by)
    """Takes the money."""
    return {"paid": input["amount"]}


@order.step(compensation=None)
def shipment(input: dict[str, int]) -> None:  # noqa: A002 (the same)
    """Refuses what is too heavy."""
    if input["amount"] > 100:
        raise StepRejected("too heavy")


def said(store: Store, stream_id: str | None = None) -> list[str]:
    """What verification says of the log."""
    with store.database.snapshot() as connection:
        return [str(rule) for rule in verify_streams(connection, store.sagas, lambda _: None, stream_id)]


def tamper(store: Store, *statements: sa.Executable) -> None:
    """Change the log as somebody could who may drop triggers."""
    with store.database.engine.begin() as connection:
        match store.database.driver.name:
            case "sqlite":
                names = connection.scalars(sa.text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).all()
            case "postgresql":
                connection.exec_driver_sql("ALTER TABLE saga_events DISABLE TRIGGER USER")
                names = []
            case _:
                mine = "SELECT trigger_name FROM information_schema.triggers WHERE trigger_schema = database()"
                names = connection.scalars(sa.text(mine)).all()
        for name in names:
            connection.exec_driver_sql(f"DROP TRIGGER {name}")
        for statement in statements:
            connection.execute(statement)


@pytest.fixture
def whole(store: Store, open_engine: OpenEngine) -> Store:
    """A log with sagas that completed and sagas that aborted, and long streams beside."""
    engine = open_engine(order)
    handles = [engine.start(order, {"amount": amount}, saga_id=f"s-{amount}") for amount in (1, 20, 500)]
    assert [handle.result(TIMEOUT_S).status for handle in handles] == ["COMPLETED", "COMPLETED", "COMPENSATED"]
    store.write(note_draft("long", *range(CHUNK * 2 + 7)), note_draft("short", "☃"), note_draft("Short", "a"))
    return store


def test_a_log_that_is_whole_has_nothing_to_be_said(whole: Store) -> None:
    """Of none of its streams, also where they do not end with a chunk."""
    assert said(whole) == []
    looked_at: list[int] = []
    with whole.database.snapshot() as connection:
        list(verify_streams(connection, whole.sagas, looked_at.append))
        assert sum(looked_at) == count(connection) > CHUNK * 2


EDITS = {
    "data": (saga_events.c.data, '{"paid": 99}'),
    "type": (saga_events.c.type, "StepSkipped"),
    "category": (saga_events.c.category, "sage"),
    "schema": (saga_events.c.schema, 2),
    "recorded_at": (saga_events.c.recorded_at, AT),
    "hash": (saga_events.c.hash, "f" * 64),
}


@pytest.mark.parametrize("column", EDITS)
def test_an_edit_is_found_where_it_is(whole: Store, column: str) -> None:
    """In any column: the event is named."""
    changed, value = EDITS[column]
    here = (saga_events.c.stream_id == "s-20") & (saga_events.c.version == 3)
    tamper(whole, sa.update(saga_events).where(here).values({changed: value}))
    assert any(line.startswith("stream s-20 at version 3: ") for line in said(whole))
    assert all(line.startswith("stream s-20 at version ") for line in said(whole))
    assert said(whole, "s-20") == said(whole)
    assert said(whole, "s-1") == []


def test_a_gap_is_found(whole: Store) -> None:
    """The versions that are missing are named."""
    gone = (saga_events.c.stream_id == "long") & saga_events.c.version.between(501, 502)
    tamper(whole, sa.delete(saga_events).where(gone))
    assert said(whole) == ["stream long at version 503: versions 501 to 502 are missing"]


def test_a_saga_that_breaks_the_rules_of_sagas_is_found(whole: Store) -> None:
    """Also when its chain is whole: it was appended by something that knows no rules."""
    version = whole.log.read("s-1")[-1].version
    whole.write(Draft("s-1", SAGA, version, (e.SagaCompleted(),), AT))
    assert [line.partition(":")[0] for line in said(whole)] == [f"stream s-1 at version {version + 1}"]


def test_an_event_that_cannot_be_read_is_found_and_stops_nothing(whole: Store) -> None:
    """A type that this version does not know, written with a proper hash."""
    past_the_views = Writer(whole.database, whole.log, Views([]))
    prepared = past_the_views.prepare(Draft("s-2", SAGA, 0, (e.SagaCompleted(),), AT))
    assert past_the_views.write([altered(prepared, type="SagaInvented")]) == [Written()]
    (line,) = said(whole)
    assert "s-2 at version 1" in line
    assert "SagaInvented" in line


def test_it_holds_while_a_load_runs(whole: Store, open_engine: OpenEngine) -> None:
    """Sagas come and go meanwhile; what is looked at is one moment, in which nothing is half there."""
    engine = open_engine(order)
    over = threading.Event()

    def load() -> None:
        number = 1000
        while not over.is_set():
            number += 1
            engine.start(order, {"amount": number % 150}, saga_id=f"s-{number}").result(TIMEOUT_S)

    loading = threading.Thread(target=load)
    loading.start()
    try:
        assert [said(whole) + differences(whole) for _ in range(5)] == [[]] * 5
    finally:
        over.set()
        loading.join()


# ── Seals ────────────────────────────────────────────────────────────────────────────────────────────────


def seal(store: Store, folder: Path) -> Seal:
    """A seal of the log as it is."""
    public = make_keys(folder / "key")
    with store.database.snapshot() as connection, (folder / "seal").open("wb") as file:
        write_seal(heads(connection), file, PrivateKey(folder / "key"), AT)
    return Seal(folder / "seal", PublicKey(public))


def lost(store: Store, sealed: Seal) -> list[str]:
    """What is said of the sealed streams."""
    with store.database.snapshot() as connection:
        return [str(rule) for rule in verify_seal(connection, sealed, lambda _: None)]


def archive(store: Store, stream_id: str) -> Head:
    """Take a stream out of the log by the one permitted way."""
    last = store.log.entries(stream_id)[-1]
    row = {"stream_id": stream_id, "version": last.version, "hash": last.hash, "archive": "a", "archived_at": AT}
    with store.database.writing() as connection:
        connection.execute(sa.insert(saga_archives), row)
        connection.execute(sa.delete(saga_events).where(saga_events.c.stream_id == stream_id))
    return Head(last.version, last.hash)


def test_it_reads_one_state_of_the_log_whatever_is_appended_meanwhile(whole: Store) -> None:
    """On each database: a stream that goes on between two queries would look broken."""
    with whole.database.snapshot() as connection:
        before = count(connection, None)
        whole.write(note_draft("later", "x"))
        assert count(connection, None) == before
    with whole.database.snapshot() as connection:
        assert count(connection, None) == before + 1


def test_the_heads_are_those_of_every_stream_in_the_order_of_bytes(whole: Store) -> None:
    """The same on every database, whatever its language; archived streams are among them."""
    gone = archive(whole, "short")
    with whole.database.snapshot() as connection:
        found = list(heads(connection))
    names = [name for name, _ in found]
    assert names == sorted(names, key=str.encode)
    assert {"Short", "short", "long", "s-1", "s-20", "s-500"} <= set(names)
    assert dict(found)["short"] == gone
    assert all(whole.log.entries(n)[-1].hash == head.hash for n, head in found if n != "short")


def test_what_went_on_or_was_archived_since_is_fine(whole: Store, tmp_path: Path) -> None:
    """A seal says nothing against time passing."""
    sealed = seal(whole, tmp_path)
    assert lost(whole, sealed) == []
    archive(whole, "s-1")
    whole.write(note_draft("short", "b", expected_version=1), note_draft("new", "c"))
    assert lost(whole, sealed) == []
    assert said(whole) == []


def test_what_the_chain_cannot_show_the_seal_does(whole: Store, tmp_path: Path) -> None:
    """A tail cut off, a stream removed, a past written anew: each with its stream, and each of them whole in itself."""
    sealed = seal(whole, tmp_path)
    forged = prepare(note_draft("short", "☀"), whole.codec).rows
    chain(forged, {})
    tamper(
        whole,
        sa.delete(saga_events).where(saga_events.c.stream_id == "long", saga_events.c.version > 1000),
        sa.delete(saga_events).where(saga_events.c.stream_id == "s-20"),
        sa.update(saga_events)
        .where(saga_events.c.stream_id == "short")
        .values(data=forged[0]["data"], hash=forged[0]["hash"], recorded_at=AT),
    )
    assert said(whole) == []
    assert sorted(lost(whole, sealed)) == [
        f"stream long at version {CHUNK * 2 + 7}: it was sealed at this version, but ends at version 1000",
        "stream s-20 at version 6: it was sealed, and is gone",
        "stream short at version 1: its hash differs from the sealed hash: the stream was rewritten",
    ]


# ── With the views, and with archives ────────────────────────────────────────────────────────────────────


def differences(store: Store) -> list[str]:
    """What is said of the views."""
    compared = compare(store.database, store.log, store.views, lambda _position, _last: None)
    return [str(difference) for comparison in compared for difference in comparison.lines()]


@pytest.mark.parametrize("keep_in_views", [False, True])
def test_archives_come_and_go_and_all_is_whole(whole: Store, tmp_path: Path, keep_in_views: bool) -> None:  # noqa: FBT001
    """After archiving, and after the import: the log, the views, and what was sealed before."""
    sealed = seal(whole, tmp_path)
    log = whole.log.entries()
    later = datetime.now(UTC) + timedelta(days=1)
    over = Over(later, (SagaStatus.COMPLETED, SagaStatus.COMPENSATED))
    archiving = Archiving(
        whole.database, whole.sagas, whole.views, over, tmp_path / "files", keep_in_views=keep_in_views
    )
    (tmp_path / "files").mkdir()
    *_, done = archiving.archive(families_over(whole.database, over), later)
    assert done.sagas == 3
    assert (said(whole), lost(whole, sealed), differences(whole)) == ([], [], [])
    assert missing(whole, tmp_path / "files") == []
    for name in done.files:
        list(Importing(whole.database, whole.log, whole.sagas, whole.views, By("ada")).bring(tmp_path / "files" / name))
    assert (said(whole), lost(whole, sealed), differences(whole)) == ([], [], [])
    assert [entry for entry in whole.log.entries() if entry.category != IMPORT] == log


def missing(store: Store, folder: Path) -> list[str]:
    """What is said of the archives."""
    with store.database.snapshot() as connection:
        return [str(rule) for rule in verify_archives(connection, folder, lambda _: None)]


def test_an_archive_that_does_not_hold_what_it_should_is_told(whole: Store, tmp_path: Path) -> None:
    """A stream that was archived by hand, in a file that never was; and in one that is another's."""
    archive(whole, "short")
    assert missing(whole, tmp_path) == [
        f"{tmp_path / 'a'}: it cannot be read: [Errno 2] No such file or directory: '{tmp_path / 'a'}'"
    ]
    with (tmp_path / "a").open("wb") as file:
        export(whole.sagas, "s-1", file, AT)
    assert missing(whole, tmp_path) == [
        f"stream short at version 1: it is archived in {tmp_path / 'a'}, which does not hold it"
    ]

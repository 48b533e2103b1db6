"""Finished sagas leave the log for a file and come back from it, and nothing is lost on the way."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from saga_es.core import events as e
from saga_es.core.state import SagaStatus
from saga_es.errors import BadBundle, ImportRefused, ProjectionFailed
from saga_es.store.admin import migrate
from saga_es.store.archive import archiving as archiving_module
from saga_es.store.archive.archiving import Archiving, Progress
from saga_es.store.archive.bundle import Writing, streams_in
from saga_es.store.archive.exporting import export
from saga_es.store.archive.families import Over, count_over, families_over
from saga_es.store.archive.importing import Brought, By, Importing
from saga_es.store.database import Database
from saga_es.store.log.chain import chain
from saga_es.store.log.codec import IMPORT, SAGA
from saga_es.store.log.entries import Draft, Entry, Recorded
from saga_es.store.log.imports import import_of
from saga_es.store.ports import Written
from saga_es.store.publishers import Publishers
from saga_es.store.tables import saga_archives
from saga_es.store.views import checkpoints
from saga_es.store.views.kinds import Additions, View, Views
from saga_es.store.views.saga_view import sagas
from saga_es.store.views.tags import saga_tags
from tests.conftest import AT, Store
from tests.support.shelves import DONE, OVER, fill, saga

NOW = AT + timedelta(days=30)
GONE = {"completed", "compensated", "whole", "whole/a"}
STAY = {"failed", "running", "late", "torn", "torn/a"}


@pytest.fixture
def shelf(store: Store) -> Store:
    fill(store)
    return store


def archived(store: Store, folder: Path, over: Over = OVER, **options: Any) -> Progress:
    archiving = Archiving(store.database, store.sagas, store.views, over, folder, **options)
    return [Progress(), *archiving.archive(families_over(store.database, over), NOW)][-1]


def imported(store: Store, path: Path, **options: Any) -> Brought:
    return [
        Brought(),
        *Importing(store.database, store.log, store.sagas, store.views, By("ada", "a look"), **options).bring(path),
    ][-1]


def in_the_log(store: Store) -> set[str]:
    return {entry.stream_id for entry in store.log.entries() if entry.category == SAGA}


def in_views(store: Store) -> dict[str, list[Any]]:
    with store.database.reading() as connection:
        return {
            table.name: [
                tuple(row) for row in connection.execute(sa.select(table).order_by(*table.primary_key.columns))
            ]
            for table in (sagas, saga_tags)
        }


def stones(store: Store) -> dict[str, str]:
    with store.database.reading() as connection:
        return {row.stream_id: row.archive for row in connection.execute(sa.select(saga_archives))}


# ── Archiving ────────────────────────────────────────────────────────────────────────────────────────────


def test_what_is_over_leaves_the_log_and_the_views_for_a_file(shelf: Store, tmp_path: Path) -> None:
    """Families only as a whole; what left is in the file as it stood, and the log names the file."""
    before = {entries[0].stream_id: entries for entries in by_stream(shelf).values()}
    done = archived(shelf, tmp_path)

    assert (done.sagas, done.events, done.moved_on) == (4, 13, 0)
    assert in_the_log(shelf) == STAY
    assert {row[0] for table in in_views(shelf).values() for row in table} == STAY
    (path,) = tmp_path.glob("saga-archive-*")
    assert done.files == [path.name]
    assert stones(shelf) == dict.fromkeys(GONE, path.name)
    read = {entries[0].stream_id: entries for entries in streams_in(path)}
    assert {stream_id: read[stream_id] for stream_id in GONE} == {stream_id: before[stream_id] for stream_id in GONE}
    assert {entries[0].category for stream_id, entries in read.items() if stream_id not in GONE} == {"plan"}


def by_stream(store: Store) -> dict[str, list[Entry]]:
    streams: dict[str, list[Entry]] = {}
    for entry in store.log.entries():
        streams.setdefault(entry.stream_id, []).append(entry)
    return streams


def test_failed_sagas_leave_only_when_they_are_meant(shelf: Store, tmp_path: Path) -> None:
    """Somebody may yet want to retry them."""
    over = Over(OVER.before, (*OVER.statuses, SagaStatus.FAILED))
    assert count_over(shelf.database, over) == 6, "with the torn family's parent"
    assert archived(shelf, tmp_path, over).sagas == 5
    assert in_the_log(shelf) == STAY - {"failed"}


def test_a_second_run_has_nothing_to_do_and_leaves_no_file(shelf: Store, tmp_path: Path) -> None:
    """Nor a part of one."""
    archived(shelf, tmp_path)
    assert archived(shelf, tmp_path) == Progress()
    assert len(list(tmp_path.glob("saga-archive-*"))) == 1


def test_many_sagas_fill_several_files_in_the_order_of_their_age(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each file is taken out of the log before the next is begun, so memory stays flat."""
    monkeypatch.setattr(archiving_module, "MOST_IN_A_FILE", 100)
    fill(store)
    for number in range(160):
        saga(store, f"more-{number}", *DONE)
    done = archived(store, tmp_path)
    assert (done.sagas, len(done.files)) == (164, 2)
    assert in_the_log(store) == STAY


def after_the_file_is_written(monkeypatch: pytest.MonkeyPatch, act: Callable[[Path], object]) -> None:
    check = archiving_module._check

    def act_and_check(path: Path, heads: Any) -> None:
        act(path)
        check(path, heads)

    monkeypatch.setattr(archiving_module, "_check", act_and_check)


def test_a_saga_that_goes_on_meanwhile_stays_with_its_family(
    shelf: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its child must not be gone when it wants to undo it; the others leave."""
    reopened = e.SagaReopened("COMPENSATING", "ada", "a typo", NOW, "no")

    def go_on(_path: Path) -> None:
        assert shelf.write(Draft("whole", SAGA, 3, (reopened,), NOW)) == [Written()]

    after_the_file_is_written(monkeypatch, go_on)
    done = archived(shelf, tmp_path)
    assert (done.sagas, done.moved_on) == (2, 2)
    assert in_the_log(shelf) == STAY | {"whole", "whole/a"}
    assert set(stones(shelf)) == {"completed", "compensated"}


def test_a_file_that_is_not_what_was_written_takes_nothing_out(
    shelf: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that lies is found out before anything is lost."""
    after_the_file_is_written(monkeypatch, lambda path: path.write_bytes(path.read_bytes()[:-20]))
    with pytest.raises(BadBundle):
        archived(shelf, tmp_path)
    assert in_the_log(shelf) == STAY | GONE
    assert stones(shelf) == {}


def test_a_view_that_fails_while_it_forgets_is_named_and_nothing_leaves(shelf: Store, tmp_path: Path) -> None:
    """With the event it failed on; `--keep-in-views` archives all the same."""
    table = sa.Table("ends", sa.MetaData(), sa.Column("saga_id", sa.String(64), primary_key=True))

    def rows(_recorded: Recorded) -> list[dict[str, Any]]:
        raise ValueError("no idea")

    views = Views([*shelf.views, Additions(table, SAGA, rows)])
    archiving = Archiving(shelf.database, shelf.sagas, views, OVER, tmp_path)
    with pytest.raises(ProjectionFailed, match=r"'ends' failed on the event SagaStarted .*no idea"):
        [*archiving.archive(families_over(shelf.database, OVER), NOW)]
    assert in_the_log(shelf) == STAY | GONE
    assert stones(shelf) == {}


def test_views_go_on_showing_what_is_archived_where_that_is_wanted(shelf: Store, tmp_path: Path) -> None:
    """The lists are as they were, the log is not."""
    before = in_views(shelf)
    archived(shelf, tmp_path, keep_in_views=True)
    assert in_views(shelf) == before
    assert in_the_log(shelf) == STAY


def test_what_a_following_view_has_yet_to_take_up_stays(shelf: Store, tmp_path: Path) -> None:
    """It would never learn of it; when it has, the saga leaves."""
    table = sa.Table("ends", sa.MetaData(), sa.Column("saga_id", sa.String(64), primary_key=True))
    view = View(table, SAGA, lambda _: {}, follows=True)
    with shelf.database.writing() as connection:
        view.create(connection)
        checkpoints.begin(connection, "ends", shelf.log.entries("completed")[-1].position)
    archiving = Archiving(shelf.database, shelf.sagas, Views([*shelf.views, view]), OVER, tmp_path)
    assert [*archiving.archive(families_over(shelf.database, OVER), NOW)][-1].sagas == 1
    assert in_the_log(shelf) == STAY | GONE - {"completed"}
    with shelf.database.writing() as connection:
        checkpoints.begin(connection, "ends", shelf.log.last_position())
    assert [*archiving.archive(families_over(shelf.database, OVER), NOW)][-1].sagas == 3


def test_what_a_publisher_has_not_told_stays_in_the_log(shelf: Store, tmp_path: Path) -> None:
    """Until it has told it, or is forgotten."""
    publishers = Publishers(shelf.database)
    assert publishers.hold("webhook", "here") is not None
    publishers.move("webhook", 0)
    assert archived(shelf, tmp_path).sagas == 0
    publishers.forget("webhook")
    assert archived(shelf, tmp_path).sagas > 0


def test_two_who_archive_at_the_same_moment_write_files_of_their_own(
    shelf: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither into that of the other, also where it is not finished; a part that was left is left alone."""
    left = tmp_path / f"saga-archive-{NOW:%Y%m%dT%H%M%SZ}-001.ndjson.gz.part"
    left.write_bytes(b"somebody writes here")
    end, others = Writing.end, list[Progress]()

    def let_the_other_pass(writing: Writing) -> None:
        monkeypatch.setattr(Writing, "end", end)
        others.append(archived(shelf, tmp_path))
        end(writing)

    monkeypatch.setattr(Writing, "end", let_the_other_pass)
    mine, (other,) = archived(shelf, tmp_path), others
    assert left.read_bytes() == b"somebody writes here"
    assert (other.sagas, mine.sagas, mine.moved_on) == (4, 0, 4)
    assert not set(mine.files) & set(other.files)
    assert stones(shelf) == dict.fromkeys(GONE, other.files[0])
    assert {entries[0].stream_id for entries in streams_in(tmp_path / other.files[0])} >= GONE


def test_a_file_that_cannot_be_finished_does_not_stay(
    shelf: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full as it is; and nothing leaves the log."""

    def fail(_file: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        archived(shelf, tmp_path)
    assert not list(tmp_path.glob("saga-archive-*"))
    assert in_the_log(shelf) == STAY | GONE


# ── Importing ────────────────────────────────────────────────────────────────────────────────────────────


def without_imports(store: Store) -> list[Entry]:
    return [entry for entry in store.log.entries() if entry.category != IMPORT]


def imports(store: Store) -> dict[str, list[e.SagaImported]]:
    """What the log says of how each saga came into it; a stream of its own for each."""
    found: dict[str, list[e.SagaImported]] = {}
    for entry in store.log.entries():
        if entry.category == IMPORT:
            event = store.log.decode(entry).event
            assert entry.stream_id == import_of(event.saga_id)
            found.setdefault(event.saga_id, []).append(event)
    return found


@pytest.mark.parametrize("keep", [False, True])
def test_what_was_archived_comes_back_as_if_nothing_had_been(shelf: Store, tmp_path: Path, keep: bool) -> None:  # noqa: FBT001
    """To the same positions, with the same hashes and rows; a second import finds all there."""
    log, views = shelf.log.entries(), in_views(shelf)
    archived(shelf, tmp_path, keep_in_views=keep)
    (path,) = tmp_path.glob("saga-archive-*")

    brought = imported(shelf, path)
    assert (brought.back, brought.new, brought.events) == (4, 0, 13)
    assert without_imports(shelf) == log
    assert in_views(shelf) == views
    assert stones(shelf) == {}
    known = imports(shelf)
    assert known.keys() == GONE
    again = imported(shelf, path)
    assert (again.back, again.new, again.events) == (0, 0, 0)
    assert (without_imports(shelf), imports(shelf)) == (log, known)


@pytest.fixture
def other(tmp_path: Path) -> Store:
    """Another installation, with something of its own in the log."""
    made = Store.at(Database(f"sqlite:///{tmp_path / 'other.sqlite'}"))
    migrate.upgrade(made.database, made.log, made.views)
    fill(made)
    return made


def bundle_of(store: Store, saga_id: str, folder: Path) -> Path:
    path = folder / "bundle.ndjson"
    with path.open("wb") as file:
        export(store.sagas, saga_id, file, NOW)
    return path


def test_a_saga_is_exported_with_its_family_and_plans_and_read_elsewhere(
    store: Store, other: Store, tmp_path: Path
) -> None:
    """Its events have new places there, at the end, and the hashes they had."""
    fill(store)
    saga(store, "wanted", *DONE)
    path = bundle_of(store, "wanted", tmp_path)
    last = other.log.last_position()
    brought = imported(other, path)
    assert (brought.new, brought.there) == (1, 1), "its plan was there"
    entries = other.log.entries("wanted")
    assert [entry.hash for entry in entries] == [entry.hash for entry in store.log.entries("wanted")]
    assert all(entry.position > last for entry in entries)
    assert any(row[0] == "wanted" for row in in_views(other)["sagas"])
    saga(other, "next", *DONE)
    assert other.log.entries("next"), "the log goes on behind them"

    both = {entries[0].stream_id for entries in streams_in(bundle_of(store, "whole", tmp_path))}
    assert {"whole", "whole/a"} < both
    assert len(both) == 4, "with the plans of both"


def test_each_import_of_a_saga_is_an_event_with_the_file_and_the_person(store: Store, tmp_path: Path) -> None:
    """Of a saga from elsewhere, and of one that comes back, each time; the saga's own stream has nothing of it."""
    fill(store)
    path = bundle_of(store, "completed", tmp_path)
    fresh = Store.at(Database(f"sqlite:///{tmp_path / 'fresh.sqlite'}"))
    migrate.upgrade(fresh.database, fresh.log, fresh.views)
    imported(fresh, path)
    sha256, head = sha256_of(path), store.log.entries("completed")[-1]
    assert imports(fresh)["completed"] == [
        e.SagaImported("completed", 4, head.hash, "bundle.ndjson", sha256, "ada", "a look", foreign=True)
    ]
    archived(fresh, tmp_path)
    (archive,) = tmp_path.glob("saga-archive-*")
    imported(fresh, archive)
    back = e.SagaImported("completed", 4, head.hash, archive.name, sha256_of(archive), "ada", "a look")
    assert imports(fresh)["completed"][1:] == [back]
    assert [entry.hash for entry in fresh.log.entries("completed")] == [
        entry.hash for entry in store.log.entries("completed")
    ]


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("category", [IMPORT, "note", "event"])
def test_only_sagas_and_plans_are_imported(store: Store, tmp_path: Path, category: str) -> None:
    """Whose record came under a key of tomorrow would have answered tomorrow's call; nothing of the file comes in."""
    fill(store)
    saga(store, "wanted", *DONE)
    rows: list[dict[str, Any]] = [
        {
            "position": 1,
            "stream_id": "forged",
            "category": category,
            "version": 1,
            "type": "RecordRegistered",
            "data": "{}",
            "recorded_at": AT,
            "schema": 1,
        }
    ]
    chain(rows, {})
    path = tmp_path / "bundle.ndjson"
    with path.open("wb") as file:
        writing = Writing(file, NOW)
        writing.add(store.log.entries("wanted"))
        writing.add([Entry(**{"text" if name == "data" else name: value for name, value in rows[0].items()})])
        writing.end()
    before = store.log.entries()
    with pytest.raises(ImportRefused, match=f"'{category}', and only sagas and their plans"):
        imported(store, path)
    assert store.log.entries() == before


def test_a_saga_that_has_not_ended_is_imported_only_when_that_is_meant(
    store: Store, other: Store, tmp_path: Path
) -> None:
    """A worker there would run it a second time."""
    fill(store)
    saga(store, "alive")
    path = bundle_of(store, "alive", tmp_path)
    with pytest.raises(ImportRefused, match="IN_PROGRESS"):
        imported(other, path)
    assert "alive" not in in_the_log(other)
    imported(other, path, unfinished=True)
    assert "alive" in in_the_log(other)


def test_another_saga_of_the_same_name_is_never_mixed_with_ours(store: Store, other: Store, tmp_path: Path) -> None:
    """One that has only gone on since is ours, and passed over."""
    fill(store)
    saga(store, "twin", *DONE)
    path = bundle_of(store, "twin", tmp_path)
    store.write(Draft("twin", SAGA, 4, (e.SagaReopened("COMPENSATING", "ada", "why", NOW),), NOW))
    assert imported(store, path).there == 2

    saga(other, "twin")
    with pytest.raises(ImportRefused, match="other events"):
        imported(other, path)


def test_a_changed_file_brings_in_nothing_at_all(shelf: Store, tmp_path: Path) -> None:
    """Its first sagas are whole, but it is read to its end before."""
    archived(shelf, tmp_path)
    (path,) = tmp_path.glob("saga-archive-*")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(BadBundle):
        imported(shelf, path)
    assert in_the_log(shelf) == STAY

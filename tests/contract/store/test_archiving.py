"""Finished sagas leave the log for a file, and nothing is lost on the way."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from saga_es.core import events as e
from saga_es.core.state import SagaStatus
from saga_es.errors import BadBundle, ProjectionFailed
from saga_es.store.archive import archiving as archiving_module
from saga_es.store.archive.archives import take_out
from saga_es.store.archive.archiving import Archiving, Progress
from saga_es.store.archive.bundle import Writing, streams_in
from saga_es.store.archive.families import Over, count_over, families_over
from saga_es.store.log.codec import SAGA
from saga_es.store.log.entries import Draft, Recorded
from saga_es.store.ports import Written
from saga_es.store.publishers import Publishers
from saga_es.store.views import checkpoints
from saga_es.store.views.kinds import Additions, View, Views
from saga_es.store.views.saga_view import sagas
from tests.conftest import Store
from tests.support.archives import GONE, NOW, STAY, archived, by_stream, in_the_log, in_views, stones
from tests.support.shelves import DONE, OVER, fill, saga


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


def test_a_saga_that_has_ended_by_the_view_alone_stays(shelf: Store, tmp_path: Path) -> None:
    """What cannot be undone is decided by the log, not by a row that somebody changed."""
    with shelf.database.writing() as connection:
        ended = {"status": SagaStatus.COMPLETED.value}
        connection.execute(sa.update(sagas).where(sagas.c.saga_id == "running").values(ended))
    assert count_over(shelf.database, OVER) == 6
    assert archived(shelf, tmp_path).sagas == len(GONE)
    assert in_the_log(shelf) == STAY


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


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_nothing_leaves_the_log_during_a_replay(shelf: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Archiving holds the schema lock, as a replay does, while it removes: the new tables would lack or keep rows."""
    removed: list[str] = []

    def removes(connection: Any, streams: list[Any], *arguments: Any) -> None:
        with Path(f"{shelf.database.url.database}-turn").open("w") as lock, pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        removed.extend(entries[0].stream_id for entries in streams)
        take_out(connection, streams, *arguments)

    monkeypatch.setattr(archiving_module, "take_out", removes)
    archived(shelf, tmp_path)
    assert set(removed) == GONE


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

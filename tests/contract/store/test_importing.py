"""Sagas come into the log from a file: back from an archive, or from another log."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from saga_es.core import events as e
from saga_es.errors import BadBundle, ImportRefused
from saga_es.store.admin import migrate
from saga_es.store.archive.bundle import Writing, streams_in
from saga_es.store.archive.exporting import export
from saga_es.store.database import Database
from saga_es.store.drivers.columns import key_text
from saga_es.store.log.chain import chain
from saga_es.store.log.codec import IMPORT, SAGA
from saga_es.store.log.entries import Draft, Entry
from saga_es.store.log.imports import import_of
from saga_es.store.views.catch_up import CatchUp, Step
from saga_es.store.views.kinds import View, Views
from tests.conftest import AT, Store
from tests.support.archives import GONE, NOW, STAY, archived, imported, in_the_log, in_views, stones
from tests.support.shelves import DONE, fill, saga


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


def test_an_archive_of_another_saga_of_the_same_name_does_not_come_back(
    store: Store, other: Store, tmp_path: Path
) -> None:
    """This log has archived it with another end: what comes back must be what has left, to the last hash."""
    fill(store)
    saga(store, "twin", *DONE)
    archived(store, tmp_path)
    saga(other, "twin", e.StepStarted("a", 1), e.StepCompleted("a", 1), e.SagaCompleted())
    with pytest.raises(ImportRefused, match="archived it with another end"):
        imported(store, bundle_of(other, "twin", tmp_path))
    assert "twin" not in in_the_log(store)
    assert "twin" in stones(store)


def test_what_comes_back_is_in_views_that_follow_the_log_too(shelf: Store, tmp_path: Path) -> None:
    """They have passed its positions, and would never look there again."""
    table = sa.Table(
        "shown", sa.MetaData(), sa.Column("saga_id", key_text(64), primary_key=True), sa.Column("n", sa.BigInteger)
    )
    view = View(table, SAGA, lambda _: {"n": 1}, follows=True)
    views = Views([*shelf.views, view])
    migrate.upgrade(shelf.database, shelf.log, views)
    following, follower = replace(shelf, views=views), CatchUp(shelf.database, shelf.log, view)
    while follower.step() is Step.ADVANCED:
        pass
    assert shown(shelf, table) == STAY | GONE
    archived(following, tmp_path)
    assert shown(shelf, table) == STAY
    (path,) = tmp_path.glob("saga-archive-*")
    imported(following, path)
    assert shown(shelf, table) == STAY | GONE


def shown(store: Store, table: sa.Table) -> set[str]:
    """The sagas that a view shows."""
    with store.database.reading() as connection:
        return set(connection.scalars(sa.select(table.c.saga_id)))


def test_a_changed_file_brings_in_nothing_at_all(shelf: Store, tmp_path: Path) -> None:
    """Its first sagas are whole, but it is read to its end before."""
    archived(shelf, tmp_path)
    (path,) = tmp_path.glob("saga-archive-*")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(BadBundle):
        imported(shelf, path)
    assert in_the_log(shelf) == STAY

"""Views are made anew while they are read and written to, and at no moment is one seen that is not whole."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa

from saga_es.errors import StoreUnavailable
from saga_es.store.admin import migrate
from saga_es.store.log.entries import Draft, Recorded
from saga_es.store.schema_lock import schema_lock
from saga_es.store.views import building, checkpoints, kinds, rebuild
from saga_es.store.views.building import Builder
from saga_es.store.views.catch_up import CatchUp, Step
from saga_es.store.views.checkpoints import Pending
from saga_es.store.views.kinds import Additions, Tally, View, Views
from saga_es.store.views.rebuild import build_until, not_as_written, settle_swaps
from tests.conftest import AT, NOTE, NoteErased, Store, note_draft
from tests.support.kept_views import (
    ALL,
    LETTERS,
    NOTES,
    WORDS,
    Kept,
    all_rows,
    differences,
    letters,
    names,
    note_row,
    rows,
)


@pytest.fixture
def kept(store: Store) -> Kept:
    """A store that keeps the three views, with a log of some length."""
    made = Kept(store, *ALL)
    for number in range(40):
        made.write(note_draft(f"n-{number}", "abc", "b"), note_draft(f"m-{number}", "c"))
    made.write(Draft("n-7", NOTE, 2, (NoteErased(),), AT))
    return made


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A log of a hundred events is as a long one."""
    monkeypatch.setattr(building, "CHUNK", 7)
    monkeypatch.setattr(building, "NEAR", 3)
    monkeypatch.setattr(rebuild, "PAUSE_S", 0.01)


# ── What comes out ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.usefixtures("small_steps")
def test_views_are_rebuilt_as_they_were(kept: Kept) -> None:
    """Rows, names of tables, indexes and constraints are the same; nothing else is left; the numbers are told."""
    store = kept.store
    before, named = all_rows(store), names(store)
    assert named["notes"][:2] == ["ix_notes_colour", "notes_newest"]
    for _ in range(2):  # what the second one finds is what the first one left
        rebuilding = store.make(*ALL)
        assert all_rows(store) == before
        assert names(store) == named
        assert [(rebuilt.table, rebuilt.rows) for rebuilt in rebuilding.views] == [
            ("notes", 79),
            ("words", 120),
            ("letters", 3),
        ]
        assert (rebuilding.events, rebuilding.position) == (121, store.log.last_position())


@pytest.mark.usefixtures("small_steps")
def test_tables_that_somebody_dropped_or_spoilt_are_whole_again(kept: Kept) -> None:
    """Whatever stands there, or does not: after a replay it is the fold of the log."""
    store = kept.store
    before = all_rows(store)
    with store.database.writing() as connection:
        connection.execute(sa.delete(NOTES.table).where(NOTES.table.c.note_id < "n-2"))
        connection.execute(sa.update(LETTERS.table).values(times=7))
        WORDS.table.drop(connection)
    assert [view.view.name for view in differences(store, *ALL)] == ["notes", "words", "letters"]
    store.make(*ALL)
    assert all_rows(store) == before
    assert differences(store, *ALL) == []


def test_a_writer_goes_on_as_if_nothing_had_been(kept: Kept) -> None:
    """A connection that has prepared its statements for the old tables writes to the new ones."""
    for round_ in range(8):
        kept.write(note_draft(f"again-{round_}", "a"))
    kept.store.make(*ALL)
    for round_ in range(8):
        kept.write(note_draft(f"behind-{round_}", "a"), note_draft(f"again-{round_}", "b", expected_version=1))
    assert differences(kept.store, *ALL) == []
    assert len(rows(kept.store, NOTES.table)) == 79 + 16


@pytest.mark.usefixtures("small_steps")
def test_what_is_appended_meanwhile_is_in_the_new_view_and_readers_see_whole_views(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While somebody appends without a pause and somebody reads, views are rebuilt again and again."""
    monkeypatch.setattr(building, "CHUNK", 100)  # in steps of seven, nobody overtakes one who appends without a pause
    monkeypatch.setattr(building, "NEAR", 50)
    store, done = kept.store, threading.Event()
    appended: list[int] = []
    seen: list[tuple[int, int]] = []

    def append() -> None:
        while not done.is_set():
            kept.write(note_draft(f"live-{len(appended)}", "abc"))
            appended.append(1)

    def read() -> None:
        while not done.is_set():
            at_least = len(appended)
            with store.database.reading() as connection:
                count = sa.select(sa.func.count()).select_from(NOTES.table)
                seen.append((at_least, connection.scalar(count.where(NOTES.table.c.note_id.like("live-%"))) or 0))

    threads = [threading.Thread(target=append), threading.Thread(target=read)]
    for thread in threads:
        thread.start()
    for _ in range(4):
        store.make(*ALL)
    done.set()
    for thread in threads:
        thread.join()
    assert differences(store, *ALL) == []
    assert len(rows(store, NOTES.table)) == 79 + len(appended)
    assert seen
    assert all(at_least <= there for at_least, there in seen)


@pytest.mark.parametrize("database_url", ["postgresql", "mariadb"], indirect=True)
@pytest.mark.usefixtures("small_steps")
def test_a_position_that_commits_late_is_in_the_new_view(kept: Kept) -> None:
    """A slow transaction has its positions when the replay begins, and commits while it waits for it."""
    store = kept.store
    with store.database.writing() as slow:
        kept.writer.write_within(slow, kept.writer.prepare(note_draft("late", "abc")))
        kept.store.write_within(slow, note_draft("later", "x"))
        builder = threading.Thread(target=store.make, args=ALL)
        builder.start()
        builder.join(0.3)
        assert builder.is_alive()
    builder.join()
    assert [row[0] for row in rows(store, NOTES.table) if row[0].startswith("late")] == ["late", "later"]
    assert differences(store, *ALL) == []


@pytest.mark.parametrize("database_url", ["postgresql", "mariadb"], indirect=True)
def test_who_keeps_the_log_in_a_transaction_for_ever_is_not_waited_for_for_ever(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The replay says what is in its way, and all is as it was."""
    monkeypatch.setattr(rebuild, "TIMEOUT_S", 0.1)
    store, before = kept.store, all_rows(kept.store)
    with store.database.writing() as slow:
        store.write_within(slow, note_draft("slow", "x"))
        with pytest.raises(StoreUnavailable, match="the new views could not take their places"):
            store.make(*ALL)
        slow.rollback()
    assert all_rows(store) == before


# ── A view that fails ────────────────────────────────────────────────────────────────────────────────────


def _fails_on_late(recorded: Recorded) -> dict[str, Any] | None:
    if recorded.stream_id == "n-30":
        raise ValueError("no such luck")
    return note_row(recorded)


def _sets_what_no_column_takes(recorded: Recorded) -> dict[str, Any] | None:
    row = note_row(recorded)
    return row and {**row, "colour": {} if recorded.stream_id == "n-30" else None}


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("how", ["the function", "the database"])
def test_a_view_that_fails_names_the_event_and_stops_nobody_else(kept: Kept, how: str) -> None:
    """Its table stays what it was; the others are rebuilt."""
    store = kept.store
    too_long = View(
        NOTES.table, NOTE, lambda r: {**(note_row(r) or {}), "colour": None if r.stream_id != "n-30" else {}}
    )
    failing = View(NOTES.table, NOTE, _fails_on_late) if how == "the function" else too_long
    before = all_rows(store)
    with store.database.writing() as connection:
        connection.execute(sa.delete(WORDS.table))
        connection.execute(sa.delete(NOTES.table).where(NOTES.table.c.note_id == "n-1"))
    rebuilding = store.make(failing, WORDS, LETTERS)
    failed, *others = [rebuilt.failed for rebuilt in rebuilding.views]
    assert failed is not None
    wanted = next(entry for entry in store.log.entries("n-30"))
    assert (failed.view, failed.position, failed.stream_id, failed.event_type) == (
        "notes",
        wanted.position,
        "n-30",
        "NoteWritten",
    )
    assert others == [None, None]
    assert all_rows(store, WORDS, LETTERS) == before[1:]
    assert len(rows(store, NOTES.table)) == 78
    assert kinds.NEW not in " ".join(names(store))


def test_an_upgrade_goes_on_without_an_inline_view_that_fails(kept: Kept) -> None:
    """It is behind, with the reason; the next upgrade, with a function that does not fail, makes it."""
    with kept.store.database.writing() as connection:
        WORDS.table.drop(connection)
    broken = Additions(WORDS.table, NOTE, lambda r: [{"note_id": r.stream_id, "version": r.version, "word": None}])
    database, log = kept.store.database, kept.store.log
    for _ in range(2):
        assert migrate.upgrade(database, log, Views([NOTES, broken])) == []
        with database.reading() as connection:
            (behind,) = checkpoints.behind(connection).values()
        assert (behind.name, behind.pending.behind is not None) == ("words", True)
    assert migrate.upgrade(database, log, Views([NOTES, WORDS])) == ["words"]
    with database.reading() as connection:
        assert checkpoints.behind(connection) == {}
    assert differences(kept.store, WORDS) == []


# ── Interrupted ──────────────────────────────────────────────────────────────────────────────────────────


class _Killed(BaseException):
    """The process is no more."""


@contextmanager
def killed_at(monkeypatch: pytest.MonkeyPatch, thing: Any, name: str, *, after: bool = False) -> Iterator[None]:
    real: Callable[..., Any] = getattr(thing, name)

    def dies(*args: Any, **named: Any) -> Any:
        if after:
            real(*args, **named)
        raise _Killed

    with monkeypatch.context() as patch:
        patch.setattr(thing, name, dies)
        with pytest.raises(_Killed):
            yield


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    ("thing", "name"), [(Builder, "make_tables"), (Builder, "fill"), (rebuild, "_finish"), (rebuild, "_put_in_place")]
)
def test_interrupted_it_leaves_whole_views_and_the_next_one_clears_up(
    kept: Kept, monkeypatch: pytest.MonkeyPatch, thing: Any, name: str, *, after: bool
) -> None:
    """At each stage, before and after it."""
    store = kept.store
    before, named = all_rows(store), names(store)
    with killed_at(monkeypatch, thing, name, after=after):
        store.make(*ALL)
    assert all_rows(store) == before
    kept.write(note_draft("behind", "x"))
    assert differences(store, *ALL) == []
    store.make(*ALL)
    assert differences(store, *ALL) == []
    assert names(store) == named


FOLLOWING = Tally(LETTERS.table, NOTE, letters, follows=True)


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("after", [False, True])
def test_a_swap_and_the_checkpoint_are_one_also_when_interrupted(
    store: Store, monkeypatch: pytest.MonkeyPatch, *, after: bool
) -> None:
    """A following view goes on from where its table is: on MySQL, whoever comes next sees which of both it is."""
    kept = Kept(store, FOLLOWING)
    kept.write(*(note_draft(f"n-{number}", "abc") for number in range(30)))
    with killed_at(monkeypatch, rebuild, "_put_in_place", after=after):
        store.make(FOLLOWING)
    with store.database.reading() as connection:
        pending = checkpoints.read(connection)["letters"].pending
    swapped = store.database.driver.name == "mysql" and after
    assert (pending.swap is not None) == swapped
    assert CatchUp(store.database, store.log, FOLLOWING).step() == (Step.AT_THE_END if swapped else Step.ADVANCED)
    with schema_lock(store.database) as connection, connection.begin():
        settle_swaps(connection)
    with store.database.reading() as connection:
        checkpoint = checkpoints.read(connection)["letters"]
    assert checkpoint.pending == Pending()
    assert checkpoint.position == store.log.last_position()
    assert [row[1] for row in rows(store, LETTERS.table)] == [30] * 3


def test_a_swap_that_was_announced_and_did_not_take_place_is_taken_back(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when a replay is interrupted that has cleared what the first one left."""
    kept = Kept(store, FOLLOWING)
    kept.write(*(note_draft(f"n-{number}", "abc") for number in range(30)))
    with killed_at(monkeypatch, Builder, "fill", after=True):
        store.make(FOLLOWING)
    with store.database.writing() as connection:
        checkpoints.mark_swap(connection, "letters", 30)
    with killed_at(monkeypatch, Builder, "make_tables"):
        store.make(FOLLOWING)
    follower = CatchUp(store.database, store.log, FOLLOWING)
    assert [follower.step(), follower.step()] == [Step.ADVANCED, Step.AT_THE_END]
    assert [row[1] for row in rows(store, LETTERS.table)] == [30] * 3


# ── As of a position, and without doing it ───────────────────────────────────────────────────────────────


@pytest.mark.usefixtures("small_steps")
def test_views_as_of_a_position_stand_beside_those_in_service(kept: Kept) -> None:
    """Until the next replay; those in service are left alone."""
    store, before = kept.store, all_rows(kept.store)
    middle = store.log.entries("n-20")[0].position
    with schema_lock(store.database) as connection:
        for _ in range(2):
            built = build_until(connection, store.database, store.log, ALL, middle, lambda *_: None)
    assert [(rebuilt.table, rebuilt.rows) for rebuilt in built.views] == [
        ("notes__until", 41),
        ("words__until", 61),
        ("letters__until", 3),
    ]
    assert built.position == middle
    assert all_rows(store) == before
    assert differences(store, *ALL) == []
    until = sa.table("letters__until", *(sa.column(name) for name in ("letter", "times")))
    with store.database.reading() as connection:
        assert {row[0]: row[1] for row in connection.execute(sa.select(until))} == {"a": 21, "b": 41, "c": 41}
    store.make(*ALL)
    assert kinds.UNTIL not in " ".join(names(store))


@pytest.mark.usefixtures("small_steps")
def test_a_comparison_says_how_many_rows_differ_and_which(kept: Kept) -> None:
    """Rows that are missing, that are too many, and that are not what they should be; nothing is changed."""
    store, named = kept.store, names(kept.store)
    table = NOTES.table
    with store.database.writing() as connection:
        connection.execute(sa.delete(table).where(table.c.note_id == "n-1"))
        connection.execute(sa.insert(table).values(note_id="n-7", text="ghost", written_at=AT))
        connection.execute(sa.update(table).where(table.c.note_id == "n-2").values(text="B"))
        connection.execute(sa.update(table).where(table.c.note_id == "n-3").values(text="b "))
    (found,) = differences(store, *ALL)
    assert (found.view, found.rows, found.missing, found.surplus, found.different) == (NOTES, 79, 1, 1, 2)
    assert found.examples == ("n-1", "n-7", "n-2")
    assert names(store) == named
    with store.database.writing() as connection:
        table.drop(connection)
    assert [found.problem for found in differences(store, *ALL)] == ["there is no such table"]
    middle = store.log.entries("n-20")[0].position
    assert [found.surplus + found.different for found in differences(store, WORDS, LETTERS, until=middle)] == [59, 3]


# ── Which have to be made ────────────────────────────────────────────────────────────────────────────────


def test_a_view_that_begins_or_ceases_to_follow_is_made_anew(kept: Kept) -> None:
    """It would have missed what came meanwhile."""
    store = kept.store
    with store.database.reading() as connection:
        assert not_as_written(connection, ALL) == []
        assert not_as_written(connection, [NOTES, FOLLOWING]) == [FOLLOWING]
    assert migrate.upgrade(store.database, store.log, Views([FOLLOWING])) == ["letters"]
    with store.database.reading() as connection:
        assert checkpoints.read(connection)["letters"].position == store.log.last_position()
    assert migrate.upgrade(store.database, store.log, Views([LETTERS])) == ["letters"]
    with store.database.reading() as connection:
        assert checkpoints.read(connection) == {}
    assert differences(store, LETTERS) == []

"""A view that follows the log takes up each event once, in order, whoever else does the same, and stops alone."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa

from saga_es.errors import DefinitionError, ProjectionFailed
from saga_es.runtime import projector
from saga_es.runtime.projector import Projector
from saga_es.store.admin import migrate
from saga_es.store.drivers.columns import key_text
from saga_es.store.host_time import host_now
from saga_es.store.log.entries import Recorded
from saga_es.store.tables import saga_checkpoints
from saga_es.store.views import catch_up, checkpoints
from saga_es.store.views.catch_up import CatchUp, Step
from saga_es.store.views.checkpoints import Failed
from saga_es.store.views.comparing import compare
from saga_es.store.views.kinds import Additions, Projection, Tally, View, Views
from saga_es.store.writer import Writer
from tests.conftest import NOTE, TIMEOUT_S, NoteWritten, Store, note_draft
from tests.support.logged import spoilt_logs
from tests.support.trips import until

OTHER = "other"
LETTERS = sa.Table(
    "letters",
    sa.MetaData(),
    sa.Column("letter", key_text(1), primary_key=True),
    sa.Column("times", sa.BigInteger, nullable=False),
)


def letters(recorded: Recorded) -> Iterable[dict[str, Any]]:
    if isinstance(recorded.event, NoteWritten):
        yield from ({"letter": letter, "times": 1} for letter in recorded.event.text)


VIEW = Tally(LETTERS, NOTE, letters, follows=True)


@pytest.fixture
def follower(store: Store) -> CatchUp:
    """One process that keeps the view."""
    assert migrate.upgrade(store.database, store.log, Views([VIEW])) == ["letters"]
    return CatchUp(store.database, store.log, VIEW)


def counted(store: Store) -> dict[str, int]:
    with store.database.reading() as connection:
        return {row.letter: row.times for row in connection.execute(sa.select(LETTERS))}


def checkpoint(store: Store) -> checkpoints.Checkpoint:
    with store.database.reading() as connection:
        return checkpoints.read(connection)["letters"]


def to_the_end(follower: CatchUp) -> None:
    while follower.step() is Step.ADVANCED:
        pass


def test_a_view_follows_the_log(store: Store, follower: CatchUp) -> None:
    """What is appended is not in it, until it goes on; then once, and its checkpoint says how far it is."""
    assert follower.step() is Step.AT_THE_END
    store.write(note_draft("n-1", "ab", "b"), note_draft("n-2", "c"))
    assert counted(store) == {}
    assert [follower.step(2), follower.step(2), follower.step(2)] == [Step.ADVANCED, Step.ADVANCED, Step.AT_THE_END]
    assert counted(store) == {"a": 1, "b": 2, "c": 1}
    assert checkpoint(store).position == store.log.last_position()


def test_an_append_does_not_know_views_that_follow(store: Store, follower: CatchUp) -> None:
    """A process that knows the view appends without it, and without waiting for it."""
    writer = Writer(store.database, store.log, Views([VIEW]))
    writer.write([writer.prepare(note_draft("n-1", "a"))])
    assert counted(store) == {}
    follower.step()
    assert counted(store) == {"a": 1}


def test_many_processes_keep_one_view_and_count_each_event_once(store: Store, follower: CatchUp) -> None:
    """Four of them go on at once, in small steps, while two others append."""
    done = threading.Event()

    def follow(_: int) -> set[Step]:
        own = CatchUp(store.database, store.log, VIEW)
        seen: set[Step] = set()
        while not done.is_set() or Step.AT_THE_END not in seen:
            step = own.step(3)
            seen = {step} if done.is_set() else seen | {step}
        return seen

    def append(number: int) -> None:
        for version in range(20):
            store.write(note_draft(f"n-{number}", "ab", expected_version=version))

    with ThreadPoolExecutor(6) as threads:
        followers = [threads.submit(follow, number) for number in range(4)]
        for appending in [threads.submit(append, number) for number in range(2)]:
            appending.result(TIMEOUT_S)
        done.set()
        for following in followers:
            following.result(TIMEOUT_S)
    assert counted(store) == {"a": 40, "b": 40}
    assert follower.step() is Step.AT_THE_END


def test_who_comes_second_changes_nothing(store: Store, follower: CatchUp, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process went on between our reading of the checkpoint and our writing."""
    store.write(note_draft("n-1", "a"))
    other, take_up = CatchUp(store.database, store.log, VIEW), follower._take_up

    def late(*arguments: Any) -> Step:
        assert other.step() is Step.ADVANCED
        return take_up(*arguments)

    monkeypatch.setattr(follower, "_take_up", late)
    assert follower.step() is Step.OVERTAKEN
    assert counted(store) == {"a": 1}


def test_the_rows_and_the_checkpoint_are_written_together_or_not_at_all(
    store: Store, follower: CatchUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that dies between the two leaves neither, and the next applies the event once."""
    store.write(note_draft("n-1", "a"))
    with monkeypatch.context() as patch:
        patch.setattr(catch_up, "execute_many", dies)
        with pytest.raises(KeyboardInterrupt):
            follower.step()
    assert (checkpoint(store).position, counted(store)) == (0, {})
    to_the_end(follower)
    assert counted(store) == {"a": 1}


def dies(*_: Any) -> None:
    """As a process does that is told to end."""
    raise KeyboardInterrupt


def test_a_view_does_not_go_on_while_its_table_is_replaced(
    store: Store, follower: CatchUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The replay came between our reading of the checkpoint and our writing: the rows are in the new table already."""
    store.write(note_draft("n-1", "a"))
    take_up = follower._take_up

    def late(*arguments: Any) -> Step:
        with store.database.writing() as connection:
            checkpoints.mark_swap(connection, "letters", 1)
        return take_up(*arguments)

    monkeypatch.setattr(follower, "_take_up", late)
    assert follower.step() is Step.OVERTAKEN
    assert counted(store) == {}


def test_a_swap_that_was_interrupted_holds_a_view_up_for_a_moment_only(store: Store, follower: CatchUp) -> None:
    """Whoever replaced the table is gone: after a while the view finds out which table it has, and goes on."""
    store.write(note_draft("n-1", "a"), note_draft("n-2", "b"))
    with store.database.writing() as connection:
        checkpoints.mark_swap(connection, "letters", store.log.last_position() - 1)
    assert follower.step() is Step.AT_THE_END
    assert checkpoint(store).pending.swap is not None
    with store.database.writing() as connection:
        long_ago = {"updated_at": host_now() - 2 * catch_up.SWAP_TAKES}
        connection.execute(sa.update(saga_checkpoints).values(long_ago))
    to_the_end(follower)
    to_the_end(follower)
    assert counted(store) == {"b": 1}


@pytest.mark.parametrize("database_url", ["postgresql", "mariadb"], indirect=True)
def test_a_position_that_commits_late_is_taken_up(store: Store, follower: CatchUp) -> None:
    """A slow transaction commits behind a position that can be read already."""
    with store.database.writing() as slow:
        store.write_within(slow, note_draft("late", "a"))
        store.write(note_draft("early", "b"))
        assert follower.step() is Step.AT_THE_END
    assert follower.step() is Step.ADVANCED
    assert counted(store) == {"a": 1, "b": 1}


# ── An event that it fails on ────────────────────────────────────────────────────────────────────────────


def test_a_view_stops_at_an_event_that_it_fails_on(store: Store, follower: CatchUp) -> None:
    """All before it is taken up; what is written beside the checkpoint names it; a better function goes on."""
    texts = ["a"] * 20 + [7] + ["b"] * 20
    store.write(note_draft("n-1", *texts))
    at_fault = store.log.entries("n-1")[20]
    for _ in range(2):
        with pytest.raises(ProjectionFailed, match=f"NoteWritten \\(n-1@21, position {at_fault.position}\\)"):
            to_the_end(follower)
    assert counted(store) == {"a": 20}
    stands = checkpoint(store)
    assert stands.position == at_fault.position - 1
    why = "TypeError(\"'int' object is not iterable\")"
    assert stands.pending.failed == Failed(at_fault.position, "NoteWritten", "n-1", why)

    better = Tally(LETTERS, NOTE, lambda r: letters(r) if isinstance(r.event.text, str) else [], follows=True)
    assert CatchUp(store.database, store.log, better).step() is Step.ADVANCED
    assert counted(store) == {"a": 20, "b": 20}
    assert checkpoint(store).pending.failed is None


@pytest.mark.usefixtures("follower")
def test_what_the_database_does_not_take_stops_it_too(store: Store) -> None:
    """A key that is missing is no key."""
    store.write(note_draft("n-1", "a", "b"))
    bad = Tally(LETTERS, NOTE, lambda r: [{"letter": None if r.version == 2 else "a", "times": 1}], follows=True)
    failing = CatchUp(store.database, store.log, bad)
    with pytest.raises(ProjectionFailed, match="n-1@2"):
        to_the_end(failing)
    assert counted(store) == {"a": 1}


def test_one_that_fails_stops_no_other(store: Store) -> None:
    """The thread of a process goes on with the rest, and ends when it is told to."""
    broken = Tally(_table("broken"), NOTE, lambda r: [{"letter": r.event.nothing}], follows=True)
    views = Views([broken, VIEW])
    migrate.upgrade(store.database, store.log, views)
    following = Projector(CatchUp(store.database, store.log, view) for view in views)
    following.open()
    store.write(note_draft("n-1", "abc"))
    until(lambda: counted(store))
    failed = until(lambda: failure_of(store, "broken"))
    following.close()
    assert counted(store) == {"a": 1, "b": 1, "c": 1}
    assert failed is not None
    assert (failed.type, failed.stream_id) == ("NoteWritten", "n-1")


def test_one_whose_failure_cannot_be_logged_stops_no_other(store: Store) -> None:
    """The application may have set up any log."""

    def spoilt(*_: Any) -> Any:
        raise OSError("no space left on device")

    broken = Tally(_table("broken"), NOTE, lambda r: [{"letter": r.event.nothing}], follows=True)
    migrate.upgrade(store.database, store.log, Views([broken, VIEW]))
    store.write(note_draft("n-1", "a"))
    with spoilt_logs(spoilt):
        following = Projector(CatchUp(store.database, store.log, view) for view in (broken, VIEW))
        following.open()
        until(lambda: failure_of(store, "broken"))
        store.write(note_draft("n-2", "b"))
        until(lambda: counted(store) == {"a": 1, "b": 1})
        following.close()


class Stuck(CatchUp):
    """Whose step hears nothing from its database, until the test is over."""

    def __init__(self, store: Store) -> None:
        super().__init__(store.database, store.log, VIEW)
        self.has_begun, self.is_over = threading.Event(), threading.Event()

    def step(self, limit: int = 0) -> Step:
        """Wait."""
        del limit
        self.has_begun.set()
        self.is_over.wait()
        return Step.AT_THE_END


def test_a_step_that_does_not_end_is_not_waited_for(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that stops has to end, whatever its database does; the next one goes on from the checkpoint."""
    monkeypatch.setattr(projector, "CLOSE_TIMEOUT_S", 0.1)
    stuck = Stuck(store)
    views = Projector([stuck])
    views.open()
    assert stuck.has_begun.wait(TIMEOUT_S)
    closing = threading.Thread(target=views.close, daemon=True)
    closing.start()
    closing.join(TIMEOUT_S)
    assert not closing.is_alive()
    stuck.is_over.set()


def failure_of(store: Store, view: str) -> Failed | None:
    with store.database.reading() as connection:
        return checkpoints.read(connection)[view].pending.failed


def _table(name: str, *more: sa.Column[Any]) -> sa.Table:
    return sa.Table(
        name,
        sa.MetaData(),
        sa.Column("letter", key_text(1), primary_key=True),
        *(more or [sa.Column("times", sa.Integer)]),
    )


# ── Replay ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_replay_takes_the_checkpoint_with_it(store: Store, follower: CatchUp) -> None:
    """The view is as far as the log then, and goes on from there; it may be compared at any time before and after."""
    store.write(note_draft("n-1", "ab"))
    follower.step()
    store.write(note_draft("n-2", "bc"))

    def differs() -> list[bool]:
        return [not found.is_equal for found in compare(store.database, store.log, [VIEW], lambda *_: None)]

    assert differs() == [False]
    with store.database.writing() as connection:
        connection.execute(sa.update(LETTERS).values(times=7))
    assert differs() == [True]
    store.make(VIEW)
    assert counted(store) == {"a": 1, "b": 2, "c": 1}
    assert follower.step() is Step.AT_THE_END
    store.write(note_draft("n-3", "c"))
    assert follower.step() is Step.ADVANCED
    assert counted(store) == {"a": 1, "b": 2, "c": 2}
    assert differs() == [False]


# ── Mistakes ─────────────────────────────────────────────────────────────────────────────────────────────

TWO_KEYS = sa.Table("t", sa.MetaData(), *(sa.Column(name, sa.Integer, primary_key=True) for name in "ab"))
MISTAKES: dict[str, Any] = {
    "no primary key": lambda: Additions(sa.Table("t", sa.MetaData(), sa.Column("a", sa.Text)), NOTE, lambda _r: []),
    "one column": lambda: View(TWO_KEYS, NOTE, lambda _r: {}),
    "only a key": lambda: Tally(TWO_KEYS, NOTE, lambda _r: []),
    "count cents": lambda: Tally(_table("t", sa.Column("price", sa.Float)), NOTE, lambda _r: []),
    "foreign keys": lambda: Tally(_table("t", sa.Column("x", sa.ForeignKey(VIEW.table.c.letter))), NOTE, letters),
    "one of its own": lambda: Views([VIEW, VIEW]),
    "more than 40": lambda: Views([Tally(_table("t" * 41), NOTE, letters)]),
}


@pytest.mark.parametrize("said", MISTAKES)
def test_a_view_that_cannot_be_kept_is_refused_when_it_is_written(said: str) -> None:
    """Each mistake has a sentence that says what is wrong."""
    with pytest.raises(DefinitionError, match=said):
        MISTAKES[said]()


def test_a_view_reads_several_categories_in_the_order_of_the_log() -> None:
    """Events of both come to the function as they came to the log, and those of others do not."""
    seen: list[str] = []

    def note(recorded: Recorded) -> list[Any]:
        seen.append(recorded.stream_id)
        return []

    view: Projection = Tally(_table("t"), [NOTE, OTHER], note)
    recorded = [
        Recorded(stream_id, category, 1, NoteWritten("x"), None)  # type: ignore[arg-type]  # nobody looks at the time
        for stream_id, category in [("1", NOTE), ("2", OTHER), ("3", "third"), ("4", NOTE)]
    ]
    engine = sa.create_engine("sqlite://")
    with engine.connect() as connection:
        view.create(connection)
        Views([view]).apply(connection, recorded)
    engine.dispose()
    assert seen == ["1", "2", "4"]

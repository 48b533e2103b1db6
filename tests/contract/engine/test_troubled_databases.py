"""A database that is locked, full, read only, or in other trouble: sagas wait, and go on when it is over."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from saga_es.errors import StoreUnavailable
from saga_es.node.node import Node
from saga_es.node.settings import Settings
from saga_es.runtime.waiting.clock import SystemClock
from saga_es.store.database import Database
from saga_es.store.drivers import timeouts
from saga_es.store.views.saga_view import saga_view
from saga_es.store.views.tags import tag_view
from tests.conftest import TIMEOUT_S
from tests.support.trips import until
from tests.support.troubles import SAYS, full, locked, moved_away, read_only, replaced, says
from tests.torture.cutting import ABORTS, COMPLETES
from tests.torture.ledger import DurableLedger, made, opened
from tests.torture.lives import is_intended, journey_app
from tests.torture.reckoning import reckon

SAID = [(kind, code) for kind, codes in SAYS.items() for code in codes.values()]
NAMES = [f"{kind}: {name}" for kind, codes in SAYS.items() for name in codes]


class Held(DurableLedger):
    """Participants of which one holds its answer back."""

    def __init__(self, path: Path, node: Callable[[], Node]) -> None:
        super().__init__(path, lambda *intent: is_intended(node().store.log, *intent), pace_s=0)
        self.arrived, self.may_answer = threading.Event(), threading.Event()

    def act(self, saga_id: str, step: str, key: str, mishap: str | None) -> dict[str, Any]:
        """Do it, and answer when told to."""
        answer = super().act(saga_id, step, key, mishap)
        if (saga_id, step) == ("under-way", "seat"):
            self.arrived.set()
            assert self.may_answer.wait(TIMEOUT_S)
            answer["papers"] = "x" * 50_000  # so much that a file without room has none for it
        return answer


class Troubled:
    """A node whose database gets into trouble while one saga is under way and another is being started."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self._is_closed = False
        self._file = made(folder / "ledger.sqlite")
        self._ledger = Held(self._file, lambda: self.node)
        self.node = Node(Settings.load({"database_url": url, "lease_s": 400}, environ={}), journey_app(self._ledger))
        self.node.open()

    def close(self) -> None:
        """Let go of everything."""
        self._is_closed = True
        self._ledger.may_answer.set()
        self.node.close()

    def lives_through(self, trouble: AbstractContextManager[None], waits: Waits) -> None:
        """Both sagas end when it is over; as long as it lasts, nothing is called."""
        engine = self.node.engine
        engine.start("journey", COMPLETES, saga_id="before").result(TIMEOUT_S)
        under_way = engine.start("journey", ABORTS, saga_id="under-way")
        assert self._ledger.arrived.wait(TIMEOUT_S)
        with trouble:
            calls = self._calls()
            self._ledger.may_answer.set()
            waits.has_waited()
            started = threading.Thread(target=self._insist)
            started.start()
            waits.has_waited()
            assert self._calls() == calls, "nothing is called whose intent cannot be committed"
        started.join(TIMEOUT_S)
        assert under_way.result(TIMEOUT_S).status == "COMPENSATED"
        assert engine.follow("meanwhile").result(TIMEOUT_S).status == "COMPLETED"
        found = reckon(
            self.node.store.log,
            (saga_view, tag_view),
            self._file,
            dict.fromkeys(("before", "under-way", "meanwhile"), False),
        )
        assert found.faults == []

    def _insist(self) -> None:
        while not self._is_closed:
            try:
                self.node.engine.start("journey", COMPLETES, saga_id="meanwhile")
            except StoreUnavailable:
                continue
            return

    def _calls(self) -> int:
        with opened(self._file) as connection:
            count: int = connection.execute("SELECT count(*) FROM calls").fetchone()[0]
        return count


class Waits:
    """How often the engine waited for its database."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._count = 0
        sleep = SystemClock.sleep

        def counted(clock: SystemClock, seconds: float) -> None:
            self._count += 1
            sleep(clock, min(seconds, 0.05))

        monkeypatch.setattr(SystemClock, "sleep", counted)

    def has_waited(self) -> None:
        """Block until it has, once more."""
        before = self._count
        until(lambda: self._count > before)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> Waits:
    """Counts them; and nobody waits for a lock for longer than a second."""
    monkeypatch.setattr(timeouts, "LOCK_S", 1)
    return Waits(monkeypatch)


@pytest.fixture
def troubled(waits: Waits, database_url: str, tmp_path: Path) -> Iterator[Troubled]:
    """The node."""
    del waits  # before it opens
    made_one = Troubled(database_url, tmp_path)
    yield made_one
    made_one.close()


def test_a_database_that_somebody_else_has_locked(troubled: Troubled, waits: Waits) -> None:
    """Beyond all patience: every database gives up waiting after the same time, and the engine tries again."""
    troubled.lives_through(locked(troubled.url), waits)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("connection", ["_direct", "_lookup"])
def test_who_waits_for_an_answer_keeps_no_database_from_being_closed(database: Database, connection: str) -> None:
    """It is left to itself: a process that ends must not wait for what may never come."""
    closing = threading.Thread(target=database.close, daemon=True)
    with getattr(database, connection)._lock:  # as whoever waits has it
        closing.start()
        closing.join(TIMEOUT_S)
        assert not closing.is_alive()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_file_that_may_not_grow(troubled: Troubled, waits: Waits) -> None:
    """`database or disk is full`, by SQLite's own limit."""
    troubled.lives_through(full(troubled.node.database), waits)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("which", ["", "-wal", "-shm"])
@pytest.mark.parametrize("trouble", [moved_away, replaced])
def test_a_file_that_is_not_where_it_was(
    troubled: Troubled, waits: Waits, trouble: Callable[[str, str], AbstractContextManager[None]], which: str
) -> None:
    """What would be committed to it nobody would find again: it waits until the file is back in its place."""
    troubled.lives_through(trouble(troubled.url, which), waits)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_connections_that_can_only_read(troubled: Troubled, waits: Waits) -> None:
    """They would stay so when the database can be written to again, so they are given up: as after a failover."""
    troubled.lives_through(read_only(troubled.url), waits)


@pytest.mark.parametrize(("database_url", "code"), SAID, indirect=["database_url"], ids=NAMES)
def test_whatever_else_a_server_says_of_itself(troubled: Troubled, waits: Waits, code: str) -> None:
    """It is the database's trouble, and not that of the events: nothing is refused for good."""
    troubled.lives_through(says(troubled.url, code), waits)

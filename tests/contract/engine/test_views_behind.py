"""A view can never stop a saga: it is behind, says so, and is made anew while sagas go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic, sleep
from typing import Any

import pytest
import sqlalchemy as sa

from saga_es.core import events as e
from saga_es.core.state import SagaStatus
from saga_es.errors import StepRejected
from saga_es.node.app import App
from saga_es.node.node import Node
from saga_es.node.settings import Settings
from saga_es.runtime import projector
from saga_es.store.drivers.columns import key_text
from saga_es.store.log.entries import Recorded
from saga_es.store.views import checkpoints
from saga_es.store.views.comparing import compare
from saga_es.store.views.kinds import Additions
from tests.conftest import TIMEOUT_S
from tests.support.trips import Diary, trip
from tests.support.troubles import by_hand

LEDGER = sa.Table(
    "ledger",
    sa.MetaData(),
    sa.Column("saga_id", key_text(64), primary_key=True),
    sa.Column("step", sa.String(4), primary_key=True),
)


class Ledger:
    """A user's view, whose function can be told to fail."""

    def __init__(self) -> None:
        self.fails = False

    def rows(self, recorded: Recorded) -> list[dict[str, Any]]:
        """A row for each step that is done."""
        if self.fails:
            raise LookupError("no such account: Привет")
        return [{"saga_id": recorded.stream_id, "step": recorded.event.step[:4]}]


def refuse(_: int) -> None:
    raise StepRejected("sold out")


@contextmanager
def opened(url: str, ledger: Ledger, diary: Diary) -> Iterator[Node]:
    """A process with a saga that compensates, and the view."""
    view = Additions(LEDGER, "saga", ledger.rows, only=(e.StepCompleted,))
    node = Node(Settings(database_url=url), App(sagas=[trip(diary, {"bill": refuse})], views=[view]))
    node.open()
    try:
        yield node
    finally:
        node.close()


def until(what: Callable[[], bool]) -> None:
    """Wait for what is to come."""
    give_up_at = monotonic() + TIMEOUT_S
    while not what():
        assert monotonic() < give_up_at, "it did not come"
        sleep(0.02)


def behind(node: Node) -> list[str]:
    """The views that are behind."""
    with node.database.reading() as connection:
        return sorted(checkpoints.behind(connection))


def is_level(node: Node) -> bool:
    """Whether all views equal the fold of the log, and none is marked."""
    compared = compare(node.database, node.store.log, node.views, lambda *_: None)
    return not behind(node) and all(comparison.is_equal for comparison in compared)


def test_a_view_whose_function_fails_stops_no_saga_and_is_made_anew_when_it_does_not(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The saga goes back as it should; `verify` names the reason; the process repairs the view by itself."""
    monkeypatch.setattr(projector, "LONGEST_REPAIR_S", 0.2)
    monkeypatch.setattr(projector, "RETRY_S", 0.1)
    ledger, diary = Ledger(), Diary()
    with opened(database_url, ledger, diary) as node:
        ledger.fails = True
        ended = node.engine.start("trip", {"n": 1}).result(TIMEOUT_S)
        assert ended.status is SagaStatus.COMPENSATED
        assert diary.names == ["car", "hotel", "flight", "bill", "undo flight", "undo hotel", "undo car"]
        assert behind(node) == ["ledger"]
        (found,) = compare(node.database, node.store.log, [node.views["ledger"]], lambda *_: None)
        assert not found.is_equal
        ledger.fails = False
        until(lambda: is_level(node))
        node.engine.start("trip", {"n": 2}).result(TIMEOUT_S)
        assert is_level(node)


@pytest.mark.parametrize("table", ["ledger", "sagas", "saga_tags"])
def test_a_table_that_was_dropped_by_hand_is_made_anew_while_sagas_go_on(database_url: str, table: str) -> None:
    """Ours or the user's; nothing else is missing afterwards."""
    ledger, diary = Ledger(), Diary()
    with opened(database_url, ledger, diary) as node:
        with by_hand(database_url) as connection:
            connection.exec_driver_sql(f"DROP TABLE {table}")
        handle = node.engine.start("trip", {"n": 1}, tags={"who": "ann"})
        assert handle.result(TIMEOUT_S).status is SagaStatus.COMPENSATED
        until(lambda: is_level(node))


def test_a_view_that_another_process_left_behind_is_made_anew_at_the_next_start(database_url: str) -> None:
    """A function that still fails stops no start."""
    ledger, diary = Ledger(), Diary()
    with opened(database_url, ledger, diary) as node:
        ledger.fails = True
        node.engine.start("trip", {"n": 1}).result(TIMEOUT_S)
    with opened(database_url, ledger, diary) as node:
        assert behind(node) == ["ledger"]
        assert node.engine.start("trip", {"n": 2}).result(TIMEOUT_S).status is SagaStatus.COMPENSATED
    ledger.fails = False
    with opened(database_url, ledger, diary) as node:
        assert is_level(node)

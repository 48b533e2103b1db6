"""A saga that is archived has run: nobody starts it again under its id or key, and who asks is told where it is."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from saga_es import Saga
from saga_es.commands import Retry
from saga_es.errors import SagaArchived
from saga_es.runtime.engine import Engine
from saga_es.runtime.waiting.clock import SystemClock
from saga_es.store.queries.past import story_at
from tests.conftest import OpenEngine, Store
from tests.support.archives import archived
from tests.support.shelves import OVER

RUNS: list[str] = []
once = Saga("once")


@once.step(compensation=None)
def work(key: str) -> None:
    """Count how often it is done."""
    RUNS.append(key)


@pytest.fixture
def engine(store: Store, open_engine: OpenEngine, tmp_path: Path) -> Engine:
    """An engine whose two sagas, one under an id and one under a key, were archived."""
    RUNS.clear()
    made = open_engine(once)
    for chosen in ({"saga_id": "by-id"}, {"key": "by-key"}):
        made.start(once, {}, **chosen).result(20)  # type: ignore[arg-type]  # texts by name
    over = type(OVER)(SystemClock().now() + timedelta(minutes=1), OVER.statuses)
    assert archived(store, tmp_path, over).sagas == 2
    return made


ASKED: list[Callable[[Engine], object]] = [
    lambda engine: engine.start(once, {}, saga_id="by-id"),
    lambda engine: engine.start(once, {"other": 1}, saga_id="by-id"),
    lambda engine: engine.start(once, {}, key="by-key"),
    lambda engine: engine.follow("by-id").result(20),
    lambda engine: engine.submit("by-id", Retry("ada", "again")),
    lambda engine: engine.preview("by-id"),
]


@pytest.mark.parametrize("ask", ASKED)
def test_an_archived_saga_does_not_run_again(engine: Engine, ask: Callable[[Engine], object]) -> None:
    """Whatever is asked of it, the answer is the archive's name; other sagas run as ever."""
    with pytest.raises(SagaArchived, match=r"saga-archive-.*\.ndjson\.gz"):
        ask(engine)
    assert len(RUNS) == 2
    assert engine.start(once, {}, saga_id="new").result(20).status == "COMPLETED"


def test_a_start_in_a_transaction_of_the_callers_finds_the_archive(engine: Engine, store: Store) -> None:
    """And the transaction can go on."""
    with store.database.writing() as connection:
        with pytest.raises(SagaArchived):
            engine.start(once, {}, saga_id="by-id", connection=connection)
        later = engine.start(once, {}, saga_id="beside", connection=connection)
    assert later.result(20).status == "COMPLETED"


def test_who_reads_it_is_told_where_it_is(engine: Engine, store: Store) -> None:
    """Not that it never was."""
    del engine
    with pytest.raises(SagaArchived, match="saga-es import"):
        story_at(store.sagas, "by-id")

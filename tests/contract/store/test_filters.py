"""The filters of the list: each alone, all together, page by page, and what of it the database does with an index."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from saga_es.core import events as e
from saga_es.store.admin import migrate
from saga_es.store.database import Database
from saga_es.store.log.codec import SAGA
from saga_es.store.log.entries import Draft
from saga_es.store.notifications import Notifications
from saga_es.store.queries import pages
from saga_es.store.queries.filters import SagaFilter, sagas_where
from saga_es.store.queries.pages import page
from saga_es.store.schema_lock import schema_lock
from saga_es.store.views.rebuild import rebuild
from saga_es.store.views.saga_view import sagas
from saga_es.store.views.tags import saga_tags
from saga_es.store.workers import Workers
from tests.conftest import AT, Store

NOW = AT + timedelta(hours=1)
NOISE = "HTTP 500: 100% _full_ of /ÄPFEL\\"
ENDS: list[Sequence[e.SagaEvent]] = [
    [],
    [e.SagaCompleted()],
    [e.SagaPaused("ada", "lunch")],
    [e.SagaAborted("a", NOISE)],
    [e.SagaFailed("gone")],
]
SAGAS = 120


@pytest.fixture
def shelf(store: Store) -> Store:
    """Sagas of all kinds, several of them started in the same instant."""
    dice, drafts = Random(7), []
    for number in range(SAGAS):
        tags = {"customer": str(number % 5), **({"shop": "Köln"} if number % 3 else {})}
        name, parent = ("order", "refund")[number % 2], "s-0" if number % 7 == 3 else None
        started = e.SagaStarted(name, "plan-1", {"payload": NOISE}, "w-1", tags, parent=parent)
        at = AT + timedelta(seconds=number // 4)
        drafts.append(Draft(f"s-{dice.randrange(10**9)}", SAGA, 0, (started, *ENDS[number % len(ENDS)]), at))
    store.write(*drafts)
    return store


def found(store: Store, limit: int = 500, **wanted: Any) -> list[str]:
    """All that a filter lets through, walked page by page."""
    return [saga_id for ids in walked(store, limit, **wanted) for saga_id in ids]


def walked(store: Store, limit: int, **wanted: Any) -> Iterator[list[str]]:
    chosen, cursor = sagas_where(SagaFilter(**wanted), NOW), None
    while True:
        with store.database.reading() as connection:
            read = page(connection, chosen, limit, cursor)
        yield [row["saga_id"] for row in read.rows]
        cursor = read.next_cursor
        if cursor is None:
            return


def everything(store: Store) -> list[dict[str, Any]]:
    """All rows with their tags, newest first."""
    with store.database.reading() as connection:
        rows = [dict(row) for row in connection.execute(sa.select(sagas)).mappings()]
        tags = connection.execute(sa.select(saga_tags)).all()
    for row in rows:
        row["tags"] = {(tag.name, tag.value) for tag in tags if tag.saga_id == row["saga_id"]}
    return sorted(rows, key=lambda row: (row["created_at"], row["saga_id"]), reverse=True)


def fits(row: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """The filters, said in Python."""
    age_s = (NOW - row["created_at"]).total_seconds()
    return all(
        (
            all(row[name] == wanted[name] for name in ("status", "name", "paused", "parent") if name in wanted),
            row["tags"] >= set(wanted.get("tags", ())),
            age_s >= wanted.get("older_than_s", 0),
            age_s <= wanted.get("newer_than_s", age_s),
            wanted.get("error", "").lower() in (row["error"] or "").lower(),
            "error" not in wanted or row["error"] is not None,
        )
    )


CHOICES: dict[str, list[Any]] = {
    "status": [None, "FAILED", "IN_PROGRESS"],
    "name": [None, "order"],
    "tags": [(), (("customer", "3"),), (("shop", "Köln"), ("customer", "2"))],
    "ages": [{}, {"older_than_s": 3580}, {"older_than_s": 3575, "newer_than_s": 3590}],
    "others": [{}, {"paused": True}, {"paused": False, "error": "HTTP"}, {"parent": "s-0"}],
}


def test_all_filters_hold_together_and_keep_the_order(shelf: Store) -> None:
    """Every combination lets through what it says, newest first, on pages of three as on one."""
    rows, seen = everything(shelf), set()
    for status, name, tags, ages, others in product(*CHOICES.values()):
        wanted = {"tags": tags, **ages, **others}
        wanted |= {key: value for key, value in (("status", status), ("name", name)) if value}
        right = [row["saga_id"] for row in rows if fits(row, wanted)]
        assert found(shelf, **wanted) == right, wanted
        assert found(shelf, limit=3, **wanted) == right, wanted
        seen.add(len(right))
    assert {0, SAGAS} < seen


def test_a_page_that_has_looked_at_enough_goes_on_where_it_stopped(
    shelf: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Short pages, also empty ones, lose nothing and repeat nothing."""
    monkeypatch.setattr(pages, "MOST_LOOKED_AT", 7)
    rows = everything(shelf)
    for wanted in (
        {"error": "gone"},
        {"error": "no such error"},
        {"status": "FAILED", "error": "gone"},
        {"tags": (("shop", "Köln"), ("customer", "2")), "paused": False},
        {"parent": "s-0", "error": "http"},
        {"paused": False, "name": "refund"},
    ):
        right = [row["saga_id"] for row in rows if fits(row, wanted)]
        for limit in (3, 500):
            found_in = list(walked(shelf, limit, **wanted))
            assert [saga_id for ids in found_in for saga_id in ids] == right, wanted
            assert max(map(len, found_in)) <= 7
    assert [] in list(walked(shelf, 500, error="no such error"))[:-1], "an empty page that is not the last"


@pytest.mark.parametrize("limit", [1, 2, 5, 8, 40])
def test_pages_of_a_tag_meet_every_saga_once(shelf: Store, limit: int) -> None:
    """Also where several were started in the same instant."""
    met = list(walked(shelf, limit, tags=(("shop", "Köln"),)))
    assert [saga_id for ids in met for saga_id in ids] == found(shelf, tags=(("shop", "Köln"),))
    assert all(len(ids) == limit for ids in met[:-1])
    assert 0 < len(met[-1]) <= limit


ABORTED = SAGAS // len(ENDS)


@pytest.mark.parametrize(
    ("part", "how_many"),
    [
        ("http 500", ABORTED),
        ("HtTp", ABORTED),
        ("100%", ABORTED),
        ("% _full_", ABORTED),
        ("\\", ABORTED),
        ("of /", ABORTED),
        ("", 2 * ABORTED),
        ("1%0", 0),
        ("_00", 0),
        ("http_500", 0),
        ("' OR 1=1 --", 0),
    ],
)
def test_the_text_of_an_error_stands_for_itself(shelf: Store, part: str, how_many: int) -> None:
    """Whatever its case; `%`, `_`, and what a database may use to escape them, are characters like others."""
    assert len(found(shelf, error=part)) == how_many


@pytest.mark.parametrize("text", ["\0", "a\0b", "\ud800", "' OR 1=1 --", "%", "order ", "ORDER"])
def test_a_text_that_no_saga_has_finds_nothing(shelf: Store, text: str) -> None:
    """Also one that the database could not even be asked for."""
    for wanted in ({"name": text}, {"parent": text}, {"tags": ((text, "3"),)}, {"tags": (("customer", text),)}):
        assert found(shelf, **wanted) == []
    if not {"%"} & {text}:
        assert found(shelf, error=text) == []


def test_two_values_of_one_tag_are_too_many(shelf: Store) -> None:
    """All must hold, and a saga has one."""
    assert found(shelf, tags=(("customer", "1"), ("customer", "2"))) == []
    assert found(shelf, tags=(("customer", "1"), ("customer", "1"))) == found(shelf, tags=(("customer", "1"),))


def test_lists_are_read_as_before_when_the_views_were_made_anew(shelf: Store) -> None:
    """Twice; the indexes that lists are read by have the names they had."""
    before = {str(wanted): found(shelf, limit=7, **wanted) for wanted, _ in INDEXED}
    for _ in range(2):
        with schema_lock(shelf.database) as connection:
            rebuild(connection, shelf.database, shelf.log, shelf.views)
        assert {str(wanted): found(shelf, limit=7, **wanted) for wanted, _ in INDEXED} == before
        there = {index["name"] for index in sa.inspect(shelf.database.engine).get_indexes("sagas")}
        assert there >= {index.name for index in sagas.indexes}


def test_a_list_loads_no_payload(shelf: Store) -> None:
    """It reads the views, never the log."""
    said: list[str] = []

    def hear(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        said.append(statement)

    sa.event.listen(shelf.database.engine, "before_cursor_execute", hear)
    found(shelf, tags=(("customer", "1"), ("shop", "Köln")), status="FAILED", error="gone", paused=False)
    sa.event.remove(shelf.database.engine, "before_cursor_execute", hear)
    assert any("saga_tags" in statement for statement in said)
    assert not any("saga_events" in statement for statement in said)
    assert not any("Köln" in statement or "gone" in statement for statement in said), "values are bound"


# ── How SQLite finds them ────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def on_sqlite(tmp_path: Path) -> Iterator[Store]:
    """Servers plan by their statistics, and may rather sort a few rows."""
    made = Store.at(Database(f"sqlite:///{tmp_path / 'saga.sqlite'}"))
    migrate.upgrade(made.database, made.log, made.views)
    yield made
    made.database.close()


INDEXED: list[tuple[dict[str, Any], str]] = [
    ({}, "sagas_newest"),
    ({"older_than_s": 3600}, "sagas_newest"),
    ({"status": "FAILED"}, "sagas_by_status"),
    ({"status": "FAILED", "newer_than_s": 60, "error": "x"}, "sagas_by_status"),
    ({"name": "order"}, "sagas_by_name "),
    ({"name": "order", "paused": False}, "sagas_by_name "),
    ({"name": "order", "status": "FAILED"}, "sagas_by_name_and_status"),
    ({"error": "x"}, "sagas_with_error"),
    ({"paused": True, "name": "order", "status": "PENDING"}, "sagas_paused"),
    ({"parent": "s-0", "paused": True, "error": "x"}, "sagas_by_parent"),
    ({"tags": (("customer", "1"),)}, "saga_tags_newest"),
    ({"tags": (("customer", "1"), ("shop", "Köln")), "older_than_s": 60}, "saga_tags_newest"),
]


@pytest.mark.parametrize("page_", [1, 2])
@pytest.mark.parametrize(("wanted", "index"), INDEXED)
def test_what_an_index_finds_is_not_sorted(on_sqlite: Store, wanted: dict[str, Any], index: str, page_: int) -> None:
    """On the first page and on those after it."""
    cursor = None if page_ == 1 else _a_cursor(on_sqlite)
    plan = _plan(on_sqlite.database, wanted, cursor)
    assert re.search(rf"(SEARCH|SCAN) \w+ USING (COVERING )?INDEX {index}", plan[0]), plan
    assert not any("TEMP B-TREE" in line for line in plan), plan
    assert not any(line.startswith("SCAN") for line in plan[1:]), plan


def _a_cursor(store: Store) -> str | None:
    store.write(*(Draft(f"s-{n}", SAGA, 0, (e.SagaStarted("order", "p", {}, "w-1"),), AT) for n in range(2)))
    with store.database.reading() as connection:
        return page(connection, sagas, 1).next_cursor


AGAIN_AND_AGAIN: dict[str, Callable[[Database], object]] = {
    "sagas without a worker": lambda database: Workers(database).orphans(100, ["order"]),
    "sagas that nobody here knows": lambda database: Workers(database).orphans_of_others(["order"]),
    "notifications": lambda database: Notifications(database).pending("w-1"),
    "notifications of sagas without a worker": lambda database: Notifications(database).unclaimed(["order"]),
}


@pytest.mark.parametrize("what", AGAIN_AND_AGAIN)
def test_what_a_worker_asks_again_and_again_does_not_read_the_sagas_that_have_ended(
    on_sqlite: Store, what: str
) -> None:
    """However many there are of the definitions it knows: it asks every few seconds."""
    with on_sqlite.database.reading() as connection, _heard(on_sqlite.database.engine) as said:
        AGAIN_AND_AGAIN[what](on_sqlite.database)
        plan = _explained(connection, *said[-1])
    (how,) = [line for line in plan if re.match("(SEARCH|SCAN) sagas", line)]
    assert re.search("INDEX (sagas_by_status|sqlite_autoindex_sagas)", how), plan


def _plan(database: Database, wanted: dict[str, Any], cursor: str | None) -> list[str]:
    with database.reading() as connection, _heard(connection) as said:
        page(connection, sagas_where(SagaFilter(**wanted), NOW), 50, cursor)
        return _explained(connection, *said[-1])


@contextmanager
def _heard(where: Connection | Engine) -> Iterator[list[tuple[str, Any]]]:
    """What is asked there meanwhile."""
    said: list[tuple[str, Any]] = []

    def hear(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        said.append((statement, parameters))

    sa.event.listen(where, "before_cursor_execute", hear)
    yield said
    sa.event.remove(where, "before_cursor_execute", hear)


def _explained(connection: Connection, statement: str, parameters: Any) -> list[str]:
    return [row.detail for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]

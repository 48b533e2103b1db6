"""Many rows changed by one batch: each as if it were alone, and no other is touched."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects.mysql import pymysql

from saga_es.store.drivers.compiled import compiled
from saga_es.store.drivers.mysql_batch import MOST_ROWS
from saga_es.store.drivers.writes import THIS_ROW
from saga_es.store.views.statements import update, upsert
from tests.conftest import AT, Store
from tests.support.kinds import kinds, make_kinds

MANY = 250

COLUMNS = tuple(column.name for column in kinds.columns if not column.primary_key)
TEXTS = [None, "", "7", 'a "quoted" \\ text', "ünïcode 𝄞", "100 % of %s", "it's", "2026-01-01", "null"]


def changed(number: int) -> dict[str, Any]:
    """Values of all kinds, different ones in each row, and now and then none."""
    return {
        "text": TEXTS[number % len(TEXTS)],
        "number": None if number % 7 == 0 else (-1) ** number * 3**number % 2**62,
        "real": None if number % 5 == 0 else number / 3 - 1e-9,
        "truth": (None, True, False)[number % 3],
        "day": None if number % 4 == 0 else date(2026, 1, 1) + timedelta(days=number),
        "at": AT + timedelta(microseconds=number),
        "tree": [{"n": number, "list": [None, 0.1, "x"]}, None][number % 2],
    }


@pytest.fixture
def filled(store: Store) -> Store:
    """A store with rows that are all alike; their names differ only in what some collations ignore, or in the end."""
    make_kinds(store)
    rows = [{**changed(0), "id": name(number)} for number in range(MANY)]
    store.database.transact([(upsert(kinds, store.database.driver), rows)])
    return store


def name(number: int) -> str:
    return f"{'Row' if number % 2 else 'row'}-{number // 2}"


def changes(numbers: range) -> list[dict[str, Any]]:
    return [{THIS_ROW: name(number), **changed(number)} for number in numbers]


def stand(store: Store) -> dict[str, dict[str, Any]]:
    with store.database.reading() as connection:
        rows = connection.execute(sa.select(kinds)).mappings().all()
    return {row["id"]: {column: row[column] for column in COLUMNS} for row in rows}


def test_each_row_gets_its_own_values(filled: Store) -> None:
    """Of all kinds; the rows that the batch is not about stay as they are."""
    filled.database.transact([(update(kinds, COLUMNS), changes(range(1, MANY - 10)))])
    expected = {name(number): changed(number if 0 < number < MANY - 10 else 0) for number in range(MANY)}
    assert stand(filled) == expected


def test_a_row_that_is_not_there_is_passed_over(filled: Store) -> None:
    """The others are changed all the same."""
    nobody = {THIS_ROW: "nobody", **changed(1)}
    filled.database.transact([(update(kinds, COLUMNS), [*changes(range(3, 6)), nobody])])
    assert stand(filled) == {name(number): changed(number if 3 <= number < 6 else 0) for number in range(MANY)}


@pytest.mark.parametrize("database_url", ["mariadb"], indirect=True)
def test_changes_may_be_larger_than_what_a_server_takes_at_once(filled: Store) -> None:
    """Each of them is smaller, and that is what it was told to take."""
    long = [{THIS_ROW: name(number), "text": f"{number}" * 200_000} for number in range(100, 140)]
    filled.database.transact([(update(kinds, ("text",)), long)])
    found = stand(filled)
    assert [found[name(number)]["text"] for number in range(100, 140)] == [row["text"] for row in long]


@pytest.mark.parametrize("database_url", ["postgresql", "mariadb"], indirect=True)
def test_a_row_that_somebody_holds_keeps_no_other_from_being_changed(filled: Store) -> None:
    """The rows of the batch are locked, and none beside them."""
    with filled.database.writing() as connection:
        connection.execute(sa.select(kinds).where(kinds.c.id == name(MANY - 1)).with_for_update())
        filled.database.transact([(update(kinds, COLUMNS), changes(range(1, MANY - 1)))])  # or it waits until it fails
    assert stand(filled)[name(1)] == changed(1)


def test_mysql_is_told_of_a_hundred_changes_at_once() -> None:
    """Each statement is a way there and back; what is left over is one more."""
    form = compiled(update(kinds, COLUMNS), (THIS_ROW, *COLUMNS), pymysql.dialect())
    texts = [text for text, _ in form.executions(changes(range(MANY)))]
    assert len(texts) == -(-MANY // MOST_ROWS)
    assert all(text.startswith("UPDATE kinds ") for text in texts)

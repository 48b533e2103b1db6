"""Tags: rows that a start adds, in the transaction that appends it, and that are made again from the log."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa

from saga_es.core import events as e
from saga_es.errors import BadTags
from saga_es.runtime.intake.commands import checked_tags
from saga_es.store.admin import migrate
from saga_es.store.log.codec import SAGA
from saga_es.store.log.entries import Draft
from saga_es.store.ports import Conflict, Written
from saga_es.store.views.tags import saga_tags, tag_view
from tests.conftest import AT, Store


def start(saga_id: str, **tags: str) -> Draft:
    return Draft(saga_id, SAGA, 0, (e.SagaStarted("trip", "plan-1", {}, "w-1", tags), e.StepStarted("car", 1)), AT)


def tags_of(store: Store) -> dict[tuple[str, str], str]:
    """All rows, and each has the instant of its saga's start."""
    with store.database.reading() as connection:
        rows = connection.execute(sa.select(saga_tags)).all()
    assert {row.created_at for row in rows} <= {AT}
    return {(row.saga_id, row.name): row.value for row in rows}


def test_the_tags_of_a_batch_are_there_when_it_is_committed(store: Store) -> None:
    """Each name and value of each saga."""
    store.write(start("s-1", customer="7", shop="Köln"), start("s-2"), start("s-3", customer="8"))
    assert tags_of(store) == {("s-1", "customer"): "7", ("s-1", "shop"): "Köln", ("s-3", "customer"): "8"}


def test_what_happens_to_a_saga_later_changes_no_tag(store: Store) -> None:
    """They were given at its start."""
    store.write(start("s-1", customer="7"))
    store.write(Draft("s-1", SAGA, 2, (e.SagaBegan(),), AT + timedelta(days=1)))
    assert tags_of(store) == {("s-1", "customer"): "7"}


def test_a_start_that_was_not_written_leaves_no_tags(store: Store) -> None:
    """Another was first: its tags stand."""
    store.write(start("s-1", customer="7"))
    assert store.write(start("s-1", customer="8", shop="x"), start("s-2", customer="9")) == [Conflict(), Written()]
    assert tags_of(store) == {("s-1", "customer"): "7", ("s-2", "customer"): "9"}


def test_values_are_told_apart_to_the_byte(store: Store) -> None:
    """Also by letter case, accents and blanks at the end, on every database."""
    values = ["a", "A", "á", "a ", "", " a", "a" * 200, "🎻"]
    store.write(*(start(f"s-{number}", **{"n" * 64: value}) for number, value in enumerate(values)))
    assert [value for _, value in sorted(tags_of(store).items())] == values
    with store.database.reading() as connection:
        for value in values:
            found = connection.execute(sa.select(saga_tags).where(saga_tags.c.value == value)).all()
            assert [row.value for row in found] == [value]


def test_the_rows_are_made_again_from_the_log(store: Store) -> None:
    """Over several chunks of it, together with the rows of the sagas themselves."""
    store.write(
        *(start(f"s-{number}", number=str(number), parity=("even", "odd")[number % 2]) for number in range(700))
    )
    before = tags_of(store)
    assert len(before) == 1400
    with store.database.writing() as connection:
        saga_tags.drop(connection)
    assert migrate.upgrade(store.database, store.log, store.views) == ["saga_tags"]
    assert tags_of(store) == before


def test_a_saga_without_tags_costs_no_statement(store: Store) -> None:
    """Neither at its start nor later: the view has nothing to write, and only what views write is executed."""
    without = [*start("s-1").recorded(), *Draft("s-1", SAGA, 2, (e.SagaBegan(),), AT).recorded()]
    assert list(tag_view.writes(without, store.database.driver)) == []
    assert list(tag_view.writes(start("s-1", customer="7").recorded(), store.database.driver)) != []


def test_the_name_of_a_tag_holds_no_colon() -> None:
    """It parts the name from the value where people write `name:value`."""
    with pytest.raises(BadTags, match="colon"):
        checked_tags({"a:b": "c"})
    assert checked_tags({"a": "b:c"}) == {"a": "b:c"}

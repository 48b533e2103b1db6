"""The databases: one object each, which answers every question, and on each of which the suite runs."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import get_type_hints

import pytest
import sqlalchemy as sa

from saga_es.store.drivers.driver import Driver, driver_for, driver_of, drivers
from saga_es.store.drivers.url import parse_url
from saga_es.store.tables import saga_events
from saga_es.store.workers import database_now
from tests.support.databases import KINDS

QUESTIONS = [field.name for field in fields(Driver)]
EVERY_DRIVER = pytest.mark.parametrize("driver", drivers(), ids=lambda driver: driver.name)


def test_no_question_has_an_answer_that_a_database_inherits() -> None:
    """Whoever adds a database, or a question, has to answer for each."""
    assert len(QUESTIONS) > 30
    assert [
        field.name for field in fields(Driver) if (field.default, field.default_factory) != (MISSING, MISSING)
    ] == []


@EVERY_DRIVER
@pytest.mark.parametrize("question", QUESTIONS)
def test_each_database_answers_every_question(driver: Driver, question: str) -> None:
    """`None` is an answer only where the question says so."""
    answer = getattr(driver, question)
    assert answer is not None or type(None) in get_type_hints(Driver)[question].__args__


def test_the_suite_runs_on_every_database() -> None:
    """What is true on one is true on all, or a test says why not."""
    tested = {driver_for(sa.make_url(f"{kind}://")) for kind in KINDS}
    assert tested == set(drivers())


@EVERY_DRIVER
def test_a_database_is_known_by_its_url_and_by_its_dialect(driver: Driver) -> None:
    """By each of the names that a URL may begin with."""
    for scheme in driver.schemes:
        url = parse_url(f"{scheme}:///shop.db")
        assert driver_for(url) is driver_of(url.get_dialect()()) is driver


@EVERY_DRIVER
def test_the_clock_of_a_database_is_its_own(driver: Driver) -> None:
    """The expression is the driver's, in each of the dialects that it speaks."""
    for name in driver.schemes.values():
        dialect = sa.make_url(f"{name}:///shop.db").get_dialect()()
        assert str(database_now().compile(dialect=dialect)) == driver.clock


def test_a_query_can_be_shown_without_any_database() -> None:
    """In a debugger, or in an error: SQLAlchemy then speaks a dialect that is nobody's."""
    assert "saga_events.recorded_at" in str(sa.select(saga_events))
    assert "recorded_at DATETIME NOT NULL" in str(sa.schema.CreateTable(saga_events))

"""A saga of 10,000 events has a page that a phone can hold: bytes and elements are counted, not seconds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from saga_es import Saga
from saga_es.core import events as e
from saga_es.store.log.codec import SAGA
from saga_es.store.log.entries import Draft
from tests.api.conftest import Served, opened
from tests.console.conftest import with_console
from tests.support.journeys_served import app_of
from tests.support.pages import page_of

STEPS = [f"part_{letter}" for letter in "abcde"]
ELEMENTS = 999
MOST_BYTES, MOST_NODES = 300_000, 6_000


def broad() -> Saga:
    """A saga of five steps, each for each of a thousand things."""
    saga = Saga("broad")
    for name in STEPS:

        def part(item: int) -> int:
            return item

        part.__name__ = name
        saga.step(over="input[things]", compensation=None)(part)
    return saga


def life(plan_id: str) -> Iterator[tuple[e.SagaEvent, ...]]:
    """What is appended to the stream of such a saga, an append for each step."""
    yield (e.SagaStarted("broad", plan_id, {"things": list(range(ELEMENTS))}, "w-1"),)
    for step in STEPS:
        keys = [f"{step}[{number}]" for number in range(ELEMENTS)]
        yield (e.StepFannedOut(step, ELEMENTS), *(e.StepStarted(key, 1) for key in keys))
        yield tuple(e.StepCompleted(key, number) for number, key in enumerate(keys))
    yield (e.SagaCompleted(),)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """A node that has recorded the plan, on SQLite: what a page has does not depend on the database."""
    with ExitStack() as stack:
        made = with_console(opened(stack, f"sqlite:///{tmp_path}/saga.db", app_of(broad())))
        made.node.engine.start("broad", {"things": []}).result(20)
        yield made


def test_the_page_of_a_saga_of_10_000_events_has_at_most_300_kilobytes(served: Served) -> None:
    """And at most 6,000 elements; the elements of a step are one row with a picture of all of them."""
    version, at, plan_id = 0, datetime(2030, 1, 1, tzinfo=UTC), broad().plan_id
    for events in life(plan_id):
        draft = Draft("s-broad", SAGA, version, events, at)
        served.node.store.writer.write([served.node.store.writer.prepare(draft)])
        version, at = version + len(events), at + timedelta(seconds=1)
    assert version >= 9_990
    answer = served.client.get("/console/sagas/s-broad")
    assert len(answer.data) <= MOST_BYTES
    page = page_of(answer)
    assert len(page.elements) <= MOST_NODES
    assert all(f"{step}" in page.text for step in STEPS)

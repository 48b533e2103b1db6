"""The histories of released schemas, which are read for ever, and the words in which their sagas were told then."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from saga_es.core import events as e
from saga_es.core.evolve import fold
from saga_es.core.plan import Plan
from saga_es.core.state import SagaState
from saga_es.store.archive.bundle import streams_in
from saga_es.store.log.codec import PLAN, SAGA, Codec
from saga_es.store.log.entries import Entry, Recorded
from saga_es.store.queries.story import SagaStory, story
from services import app

HISTORIES = sorted(Path(__file__).parent.glob("schema-*.ndjson"))
CODEC = Codec(app.events, upcasters=app.upcasters)


def decoded(history: Path) -> dict[str, list[Recorded]]:
    """Its streams, each event as of today."""
    return {entries[0].stream_id: [_recorded(entry) for entry in entries] for entries in streams_in(history)}


def _recorded(entry: Entry) -> Recorded:
    event = CODEC.decode(entry.category, entry.type, entry.text, entry.schema)
    return Recorded(entry.stream_id, entry.category, entry.version, event, entry.recorded_at)


def stories_today(history: Path) -> dict[str, SagaStory]:
    """What is told of its sagas by the code of today."""
    streams = decoded(history)
    plans = {stream_id: _plan(events[0].event) for stream_id, events in streams.items() if events[0].category == PLAN}
    return {
        saga_id: story(fold(_blank(saga_id, events[0].event, plans), [recorded.event for recorded in events]), events)
        for saga_id, events in streams.items()
        if events[0].category == SAGA
    }


def _plan(event: object) -> Plan:
    assert isinstance(event, e.PlanRecorded)
    return event.plan


def _blank(saga_id: str, event: object, plans: dict[str, Plan]) -> SagaState:
    assert isinstance(event, e.SagaStarted)
    return SagaState(saga_id, plans[event.plan_id])


def stories_then(history: Path) -> dict[str, dict[str, Any]]:
    """What was told of its sagas when it was recorded."""
    told = msgspec.json.decode(history.with_suffix(".stories.json").read_bytes())
    return {story["transaction_id"]: story for story in told}


def is_still_told(then: Any, today: Any) -> bool:
    """Whether everything that was told is told today; more may be told beside."""
    match then, today:
        case dict(), dict():
            return all(name in today and is_still_told(value, today[name]) for name, value in then.items())
        case list(), list():
            return len(then) == len(today) and all(map(is_still_told, then, today))
        case _:
            return bool(then == today)

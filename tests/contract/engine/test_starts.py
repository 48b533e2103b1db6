"""How a saga comes to be: under which id, with which tags, at which time, and in whose transaction."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone, tzinfo
from enum import Enum
from typing import Any
from uuid import UUID

import pytest
from markupsafe import Markup

from saga_es.commands import Cancel
from saga_es.core import events as e
from saga_es.core.outcomes import Direction
from saga_es.core.state import SagaStatus
from saga_es.definition.saga import Saga
from saga_es.errors import BadStart, BadTags, DefinitionError
from saga_es.runtime.ids import idempotency_key, saga_id_for
from tests.conftest import TIMEOUT_S, OpenEngine, Store
from tests.support.trips import STEPS, Diary, crash, events_of, has_happened, trip

INPUT = {"n": 7}


def in_s(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


# ── Tags ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_tags_stand_in_the_log_and_in_the_saga(store: Store, open_engine: OpenEngine) -> None:
    """Whatever text they hold; a second start under the same key changes none of them."""
    saga = trip(Diary())
    engine = open_engine(saga)
    tags = {"customer": "Zoë \U0001f680", "order": "'; --", "empty": ""}
    handle = engine.start(saga, INPUT, key="k", tags=tags)
    engine.start(saga, INPUT, key="k", tags={"customer": "another"}).result(TIMEOUT_S)
    state = store.sagas.find(handle.saga_id)
    assert state is not None
    assert state.tags == tags


@pytest.mark.parametrize(
    "tags",
    [{"a": "\0"}, {"\ud800": "a"}, {"": "a"}, {"a" * 65: "a"}, {"a": "a" * 201}, {f"{n}": "a" for n in range(21)}],
    ids=["NUL", "surrogate", "no name", "long name", "long value", "many"],
)
def test_tags_that_no_saga_can_be_found_by_are_refused(open_engine: OpenEngine, tags: dict[str, str]) -> None:
    """Before anything is written: the id stays free."""
    saga = trip(Diary())
    engine = open_engine(saga)
    with pytest.raises(BadTags):
        engine.start(saga, INPUT, saga_id="s-1", tags=tags)
    assert engine.start(saga, INPUT, saga_id="s-1").result(TIMEOUT_S).completed


class Words(str):  # noqa: SLOT000 (as users write it)
    """A text as libraries derive it, which says something else of itself."""

    def __str__(self) -> str:
        return "something else"


class Place(str, Enum):  # noqa: UP042 (it says its name of itself, and a StrEnum its value)
    """Texts as constants."""

    LEAD = "lead"


@pytest.mark.parametrize("lead", [Words("lead"), Place.LEAD, Markup("lead")], ids=["derived", "constant", "markup"])
def test_an_id_a_key_a_tag_or_a_name_of_a_class_derived_from_a_text_is_that_text(
    store: Store, open_engine: OpenEngine, lead: str
) -> None:
    """The log gives the text back: after a crash a call has the key that it had before, in any process."""
    saga, keys = Saga(lead), list[str]()

    @saga.step(name=lead, compensation=None)
    def act(saga_id: str, key: str) -> str:
        keys.append(key)
        return saga_id

    engine = open_engine(saga)
    ended = engine.start(saga, saga_id=lead, tags={lead: lead}).result(TIMEOUT_S)
    assert ended.results == {"lead": "lead"}
    assert keys == [idempotency_key("lead", "lead", Direction.ACTION)]
    assert engine.start(saga, key=lead).saga_id == saga_id_for("lead", "lead")
    state = store.sagas.find("lead")
    assert state is not None
    assert state.tags == {"lead": "lead"}


# ── Later ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_saga_that_starts_later_waits_for_its_time(open_engine: OpenEngine) -> None:
    """It is in the log at once, PENDING; nothing of it is called before its time, and all of it is after."""
    diary = Diary()
    saga = trip(diary)
    engine = open_engine(saga)
    at = in_s(0.4)
    handle = engine.start(saga, INPUT, starts_at=at)
    assert events_of(engine, handle.saga_id) == [
        e.SagaStarted("trip", saga.plan_id, INPUT, engine._worker.worker_id, starts_at=at)
    ]
    assert diary.calls == []
    assert handle.result(TIMEOUT_S).completed
    (began,) = [recorded for recorded in engine.read(handle.saga_id) if recorded.event == e.SagaBegan()]
    assert at <= began.recorded_at
    assert diary.names == list(STEPS)


def test_a_start_that_is_put_off_outlives_a_crash(store: Store, open_engine: OpenEngine) -> None:
    """The next engine takes it over while it is PENDING, and begins it at its time."""
    diary = Diary()
    saga = trip(diary)
    first = open_engine(saga)
    at = in_s(0.8)
    handle = first.start(saga, INPUT, starts_at=at)
    crash(store, first)
    second = open_engine(saga)
    assert second.follow(handle.saga_id).result(TIMEOUT_S).completed
    (began,) = [recorded for recorded in second.read(handle.saga_id) if recorded.event == e.SagaBegan()]
    assert at <= began.recorded_at
    assert diary.names == list(STEPS)


def test_a_saga_can_be_cancelled_before_it_starts(open_engine: OpenEngine) -> None:
    """Nothing of it was called, and nothing ever is."""
    diary = Diary()
    saga = trip(diary)
    engine, other = open_engine(saga), open_engine()
    for giver in (engine, other):
        handle = engine.start(saga, INPUT, starts_at=in_s(0.5))
        giver.submit(handle.saga_id, Cancel("Ann", "not needed"))
        assert handle.result(TIMEOUT_S).status is SagaStatus.COMPENSATED
        assert not has_happened(engine, handle.saga_id, e.StepStarted)
    assert diary.calls == []


def test_a_start_in_the_past_begins_at_once(open_engine: OpenEngine) -> None:
    """A time zone is heeded, too."""
    saga = trip(Diary())
    engine = open_engine(saga)
    west = datetime.now(timezone(timedelta(hours=-5))) - timedelta(seconds=1)
    assert engine.start(saga, INPUT, starts_at=west).result(TIMEOUT_S).completed


class Nowhere(tzinfo):
    """A zone that does not know how far it is from UTC."""

    def utcoffset(self, _: datetime | None) -> None:
        """It cannot say."""

    dst = tzname = utcoffset


EAST, WEST = timezone(timedelta(hours=14)), timezone(timedelta(hours=-12))


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"key": ""}, "at least one character"),
        ({"key": "cart \ud800"}, "unpaired surrogate"),
        ({"saga_id": "s-1", "key": "\udfff"}, "unpaired surrogate"),
        ({"saga_id": UUID(int=7)}, r"an id is a text, not UUID\(.*write str"),
        ({"key": 7}, "a key is a text, not 7 of type int"),
        ({"starts_at": datetime(2026, 1, 1)}, "time zone"),  # noqa: DTZ001 (without its zone, on purpose)
        ({"starts_at": datetime(2026, 1, 1, tzinfo=Nowhere())}, "time zone"),
        ({"starts_at": datetime.min.replace(tzinfo=EAST)}, "year 1"),
        ({"starts_at": datetime.max.replace(tzinfo=WEST)}, "year 1"),
    ],
    ids=[
        "no key",
        "surrogate",
        "surrogate beside an id",
        "an id that is none",
        "a key that is none",
        "naive",
        "no offset",
        "too early",
        "too late",
    ],
)
def test_a_start_that_cannot_be_meant_is_refused(open_engine: OpenEngine, how: dict[str, Any], why: str) -> None:
    """An empty key would be one saga for all; a time without its zone is another time elsewhere."""
    engine = open_engine(trip(Diary()))
    with pytest.raises(BadStart, match=why):
        engine.start("trip", INPUT, **how)
    assert engine.active == 0


def test_a_saga_that_an_engine_was_not_given_is_not_started(open_engine: OpenEngine) -> None:
    """By name or by definition: the error says which there are."""
    engine = open_engine(trip(Diary()))
    for unknown in ("tripp", Saga("tripp")):
        with pytest.raises(DefinitionError, match="there are: trip"):
            engine.start(unknown)

"""The stored form of the events: what is pinned here is read for ever."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, get_args

import msgspec
import pytest

from saga_es.core import events as e
from saga_es.core.plan import Child, Delay, Plan, RetryPolicy, Signal, StepPlan, Work
from saga_es.errors import PayloadTooLarge, PayloadUnencodable, UnreadableEvent
from saga_es.store.log.codec import DEFAULT_PAYLOAD_LIMIT, ENVELOPE, PLAN, SAGA, Codec

CODEC = Codec()
AT = datetime(2026, 1, 2, 3, 4, 5, 678900, tzinfo=UTC)

PLAN_RECORDED = e.PlanRecorded(
    Plan(
        "order",
        (
            StepPlan(name="a", title="Step A"),
            StepPlan(name="b", title="B", retry=RetryPolicy(attempts=1), compensation=None, timeout_s=5),
        ),
    )
)
PLAN_TEXT = (
    '{"plan":{"saga":"order","steps":[{"name":"a","title":"Step A","after":null,"kind":"compensatable",'
    '"retry":{"attempts":4,"first_delay_s":0.2,"factor":2.0,"cap_s":30.0,"jitter":0.2,"give_up_on":[]},'
    '"compensation":{"attempts":10,"first_delay_s":0.2,"factor":2.0,"cap_s":30.0,"jitter":0.2,'
    '"give_up_on":[]},"timeout_s":30.0,"work":null,"over":null,"at_once":16,"condition":false,"probe":false},'
    '{"name":"b","title":"B","after":null,"kind":"compensatable",'
    '"retry":{"attempts":1,"first_delay_s":0.2,"factor":2.0,"cap_s":30.0,"jitter":0.2,"give_up_on":[]},'
    '"compensation":null,"timeout_s":5,"work":null,"over":null,"at_once":16,"condition":false,"probe":false}],'
    '"deadline_s":null}}'
)

FIRST_PLAN_TEXT = (
    '{"plan":{"saga":"order","steps":[{"name":"a","title":"Step A",'
    '"retry":{"attempts":4,"first_delay_s":0.2,"factor":2.0,"cap_s":30.0,"jitter":0.2},'
    '"compensation":{"attempts":10,"first_delay_s":0.2,"factor":2.0,"cap_s":30.0,"jitter":0.2},"timeout_s":30.0},'
    '{"name":"b","title":"B","retry":{"attempts":1,"first_delay_s":0.2,"factor":2.0,"cap_s":30.0,"jitter":0.2},'
    '"compensation":null,"timeout_s":5}]}}'
)
"""As the first version wrote it."""

WORKS: list[tuple[Work, str]] = [
    (Delay(1.5), '{"type":"delay","seconds":1.5}'),
    (Delay("input[grace_s]"), '{"type":"delay","seconds":"input[grace_s]"}'),
    (Signal(None), '{"type":"signal","timeout_s":null}'),
    (Signal(60), '{"type":"signal","timeout_s":60}'),
    (Child("payment"), '{"type":"saga","saga":"payment"}'),
]

STORED: list[tuple[e.SagaEvent, str, str]] = [
    (
        e.SagaStarted("order", "plan-1", {"name": "Show ✓"}, "w1"),
        "SagaStarted",
        '{"saga":"order","plan_id":"plan-1","input":{"name":"Show ✓"},"worker":"w1"}',
    ),
    (e.SagaStarted("order", "plan-1", {}), "SagaStarted", '{"saga":"order","plan_id":"plan-1","input":{}}'),
    (
        e.SagaStarted("order", "plan-1", {}, None, {"customer": "7"}, AT, AT, "saga-0"),
        "SagaStarted",
        (
            '{"saga":"order","plan_id":"plan-1","input":{},"tags":{"customer":"7"},'
            '"starts_at":"2026-01-02T03:04:05.678900Z","deadline_at":"2026-01-02T03:04:05.678900Z","parent":"saga-0"}'
        ),
    ),
    (e.SagaBegan(), "SagaBegan", "{}"),
    (e.SagaTakenOver("w2", "w1"), "SagaTakenOver", '{"worker":"w2","previous":"w1"}'),
    (e.SagaTakenOver("w2"), "SagaTakenOver", '{"worker":"w2"}'),
    (e.SagaReleased("w1", "gone"), "SagaReleased", '{"worker":"w1","reason":"gone"}'),
    (e.StepStarted("a", 1), "StepStarted", '{"step":"a","attempt":1}'),
    (e.StepCompleted("a", {"id": [1, None]}), "StepCompleted", '{"step":"a","result":{"id":[1,null]}}'),
    (e.StepCompleted("a"), "StepCompleted", '{"step":"a"}'),
    (e.StepProgressed("a", 1), "StepProgressed", '{"step":"a","attempt":1}'),
    (
        e.StepProgressed("a", 2, "compensation", {"done": 3}),
        "StepProgressed",
        '{"step":"a","attempt":2,"direction":"compensation","details":{"done":3}}',
    ),
    (
        e.StepFailed("a", 2, "unavailable", "busy", AT),
        "StepFailed",
        '{"step":"a","attempt":2,"failure":"unavailable","error":"busy","retry_at":"2026-01-02T03:04:05.678900Z"}',
    ),
    (
        e.StepFailed("a", 2, "rejected", "no"),
        "StepFailed",
        '{"step":"a","attempt":2,"failure":"rejected","error":"no"}',
    ),
    (
        e.StepFailed("a", 4, "unknown", "lost", AT, last=True),
        "StepFailed",
        (
            '{"step":"a","attempt":4,"failure":"unknown","error":"lost","retry_at":"2026-01-02T03:04:05.678900Z",'
            '"last":true}'
        ),
    ),
    (e.StepSkipped("a"), "StepSkipped", '{"step":"a"}'),
    (e.StepSkipped("a", "Ann", "by hand"), "StepSkipped", '{"step":"a","actor":"Ann","reason":"by hand"}'),
    (e.StepFannedOut("a", 3), "StepFannedOut", '{"step":"a","size":3}'),
    (e.StepStarted("a[2]", 1), "StepStarted", '{"step":"a[2]","attempt":1}'),
    (e.WaitStarted("a", AT), "WaitStarted", '{"step":"a","until":"2026-01-02T03:04:05.678900Z"}'),
    (e.WaitStarted("a"), "WaitStarted", '{"step":"a"}'),
    (e.SignalReceived("a"), "SignalReceived", '{"signal":"a"}'),
    (e.SignalReceived("a", [1], "k"), "SignalReceived", '{"signal":"a","payload":[1],"key":"k"}'),
    (
        e.ChildStarted("a", "payment", "saga-2", {"n": 1}),
        "ChildStarted",
        '{"step":"a","saga":"payment","saga_id":"saga-2","input":{"n":1}}',
    ),
    (e.ProbeStarted("a", 2), "ProbeStarted", '{"step":"a","attempt":2}'),
    (
        e.ProbeAnswered("a", happened=True, result={"id": 1}),
        "ProbeAnswered",
        '{"step":"a","happened":true,"result":{"id":1}}',
    ),
    (
        e.ProbeAnswered("a", happened=False, error="no"),
        "ProbeAnswered",
        '{"step":"a","happened":false,"error":"no"}',
    ),
    (e.ProbeAnswered("a", error="lost"), "ProbeAnswered", '{"step":"a","error":"lost"}'),
    (e.SagaCancelled("Ann", "changed my mind"), "SagaCancelled", '{"actor":"Ann","reason":"changed my mind"}'),
    (e.SagaPaused("Ann", "look"), "SagaPaused", '{"actor":"Ann","reason":"look"}'),
    (e.SagaResumed("Ann", "seen"), "SagaResumed", '{"actor":"Ann","reason":"seen"}'),
    (
        e.RetryOrdered("Ann", "now", AT),
        "RetryOrdered",
        '{"actor":"Ann","reason":"now","at":"2026-01-02T03:04:05.678900Z"}',
    ),
    (
        e.InputReplaced("a", {"n": 2}, "Ann", "a typo"),
        "InputReplaced",
        '{"step":"a","input":{"n":2},"actor":"Ann","reason":"a typo"}',
    ),
    (
        e.SagaMigrated("plan-2", Plan("o", ()), "Ann", "new", {"a": "b"}, "b"),
        "SagaMigrated",
        '{"plan_id":"plan-2","plan":{"saga":"o","steps":[],"deadline_s":null},"actor":"Ann","reason":"new",'  # noqa: ISC004 (one text)
        '"renamed":{"a":"b"},"current":"b"}',
    ),
    (
        e.SagaReopened("COMPENSATING", "Ann", "again", AT, "no"),
        "SagaReopened",
        '{"status":"COMPENSATING","actor":"Ann","reason":"again","at":"2026-01-02T03:04:05.678900Z","error":"no"}',
    ),
    (
        e.SagaReopened("COMPENSATING", "Ann", "again", AT),
        "SagaReopened",
        '{"status":"COMPENSATING","actor":"Ann","reason":"again","at":"2026-01-02T03:04:05.678900Z"}',
    ),
    (
        e.SagaResolved("COMPLETED", "Ann", "by hand"),
        "SagaResolved",
        '{"status":"COMPLETED","actor":"Ann","reason":"by hand"}',
    ),
    (e.CompensationSkipped("a", "Ann", "gone"), "CompensationSkipped", '{"step":"a","actor":"Ann","reason":"gone"}'),
    (e.SagaAborted(None, "late"), "SagaAborted", '{"step":null,"error":"late"}'),
    (e.SagaAborted("a", "no"), "SagaAborted", '{"step":"a","error":"no"}'),
    (e.CompensationStarted("a", 3), "CompensationStarted", '{"step":"a","attempt":3}'),
    (e.CompensationCompleted("a"), "CompensationCompleted", '{"step":"a"}'),
    (
        e.CompensationFailed("a", 1, "unknown", "lost", AT),
        "CompensationFailed",
        '{"step":"a","attempt":1,"failure":"unknown","error":"lost","retry_at":"2026-01-02T03:04:05.678900Z"}',
    ),
    (
        e.CompensationFailed("a", 9, "unknown", "lost"),
        "CompensationFailed",
        '{"step":"a","attempt":9,"failure":"unknown","error":"lost"}',
    ),
    (e.SagaCompleted(), "SagaCompleted", "{}"),
    (e.SagaCompensated(), "SagaCompensated", "{}"),
    (e.SagaFailed("why"), "SagaFailed", '{"reason":"why"}'),
    (e.SagaFailed("why", "Ann"), "SagaFailed", '{"reason":"why","actor":"Ann"}'),
]


@pytest.mark.parametrize(("event", "kind", "text"), STORED)
def test_an_event_is_stored_as_exactly_this_text(event: e.SagaEvent, kind: str, text: str) -> None:
    """Renaming a class or a field would make old logs unreadable."""
    assert type(event).__name__ == kind
    assert CODEC.encode(event) == text


@pytest.mark.parametrize(("event", "kind", "text"), STORED)
def test_an_event_is_read_from_exactly_this_text(event: e.SagaEvent, kind: str, text: str) -> None:
    """What was written years ago comes back equal."""
    assert CODEC.decode(SAGA, kind, text) == event


def test_every_event_class_is_pinned() -> None:
    """A new event has its stored form written down here, too."""
    assert {type(event) for event, _, _ in STORED} == set(get_args(e.SagaEvent))


def test_a_plan_is_stored_as_exactly_this_text() -> None:
    """All its numbers stand there, also those that are defaults today and may be others tomorrow."""
    assert CODEC.encode(PLAN_RECORDED) == PLAN_TEXT
    assert CODEC.decode(PLAN, "PlanRecorded", PLAN_TEXT) == PLAN_RECORDED


@pytest.mark.parametrize(("work", "text"), WORKS)
def test_what_a_step_does_is_stored_as_exactly_this_text(work: Work, text: str) -> None:
    """A step that calls nobody says what it does instead."""
    plan = e.PlanRecorded(Plan("order", (StepPlan(name="a", title="A", work=work),)))
    stored = CODEC.encode(plan)
    assert f'"work":{text}' in stored
    assert CODEC.decode(PLAN, "PlanRecorded", stored) == plan


def test_a_plan_recorded_before_steps_could_say_what_they_wait_for_is_read() -> None:
    """Its steps run one after the other, and do nothing else that was not known when it was written."""
    assert CODEC.decode(PLAN, "PlanRecorded", FIRST_PLAN_TEXT) == PLAN_RECORDED


def test_a_field_of_a_later_version_is_passed_over() -> None:
    """A log written by a newer version with one more field can still be read."""
    assert CODEC.decode(SAGA, "StepStarted", '{"step":"a","attempt":1,"more":true}') == e.StepStarted("a", 1)


@pytest.mark.parametrize(
    ("category", "kind"), [(SAGA, "SagaForgotten"), (PLAN, "SagaStarted"), ("ticket", "StepStarted"), (SAGA, "")]
)
def test_an_event_of_an_unknown_type_is_unreadable(category: str, kind: str) -> None:
    """Which classes a category has is a closed table; the error names both."""
    with pytest.raises(UnreadableEvent, match=f"type {kind!r} in category {category!r}") as caught:
        CODEC.decode(category, kind, "{}")
    assert (caught.value.category, caught.value.event_type) == (category, kind)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        pytest.param("StepStarted", '{"step":"a"}', id="a field is missing"),
        pytest.param("StepStarted", '{"step":"a","attempt":"1"}', id="a field has another type"),
        pytest.param("StepStarted", "[]", id="it is no object"),
        pytest.param("StepStarted", '{"step":', id="it is no JSON"),
        pytest.param("StepStarted", "", id="it is empty"),
        pytest.param(
            "StepFailed", '{"step":"a","attempt":1,"failure":"tired","error":"x"}', id="a failure nobody knows"
        ),
    ],
)
def test_an_event_with_wrong_fields_is_unreadable(kind: str, text: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(UnreadableEvent, match=kind):
        CODEC.decode(SAGA, kind, text)


def test_a_recorded_plan_that_breaks_a_rule_is_unreadable() -> None:
    """Also the rules of the plan hold when it is read."""
    with pytest.raises(UnreadableEvent, match="attempts must be at least 1, not 0"):
        CODEC.decode(PLAN, "PlanRecorded", PLAN_TEXT.replace('"attempts":4', '"attempts":0'))


class Booked(msgspec.Struct, frozen=True):
    """An event of an application."""

    seat: int


def test_an_application_adds_its_own_categories() -> None:
    """Its events stand in the same log, under their own category."""
    codec = Codec({"seat": [Booked]})
    assert codec.decode("seat", "Booked", codec.encode(Booked(3))) == Booked(3)
    assert codec.decode(SAGA, "SagaCompleted", "{}") == e.SagaCompleted()
    with pytest.raises(UnreadableEvent):
        codec.decode(SAGA, "Booked", '{"seat":3}')


# ── What does not go in ──────────────────────────────────────────────────────────────────────────────────


def test_a_payload_of_just_the_limit_goes_in() -> None:
    """The limit is the payload's; names, ids and counters have their own allowance."""
    codec = Codec(payload_limit=2048)
    assert len(codec.encode(e.StepCompleted("a", "x" * 2046))) > 2048


def test_an_event_over_the_limit_is_refused_with_the_numbers() -> None:
    """Nothing is cut off silently."""
    codec = Codec(payload_limit=2048)
    event = e.StepCompleted("a", "x" * (2048 + ENVELOPE))
    with pytest.raises(PayloadTooLarge, match=r"the payload is 3\d\d\d bytes of JSON, the limit is 2048") as caught:
        codec.encode(event)
    assert caught.value.limit == 2048
    assert caught.value.size == len(msgspec.json.encode(event))


def test_the_limit_counts_bytes_not_characters() -> None:
    """Three bytes of UTF-8 are three."""
    codec = Codec(payload_limit=2048)
    with pytest.raises(PayloadTooLarge):
        codec.encode(e.StepCompleted("a", "€" * 1500))


def test_the_limit_is_a_megabyte_unless_set() -> None:
    """The default stands in the documentation, too."""
    assert DEFAULT_PAYLOAD_LIMIT == 1_048_576
    CODEC.encode(e.StepCompleted("a", "x" * 1_048_000))


def nested(depth: int) -> Any:
    value: Any = None
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(object(), id="an object"),
        pytest.param("\ud800", id="half a character"),
        pytest.param(10**5000, id="an integer of 5001 digits"),
        pytest.param({(1, 2): 3}, id="a key that is no text"),
        pytest.param(nested(200_000), id="nested beyond measure"),
    ],
)
def test_a_value_without_a_json_form_is_refused(value: Any) -> None:
    """The error names the event, and nothing is written."""
    with pytest.raises(PayloadUnencodable, match=r"^StepCompleted\.result"):
        CODEC.encode(e.StepCompleted("a", value))


@pytest.mark.parametrize("depth", [100, 500, 900, 1500])
def test_what_can_be_written_can_be_read(depth: int) -> None:
    """A value nested so deeply that it could not be read back is refused before it is in the log."""
    event = e.StepCompleted("a", nested(depth))
    try:
        text = CODEC.encode(event)
    except PayloadUnencodable:
        return
    assert CODEC.decode(SAGA, "StepCompleted", text) == event


@pytest.mark.parametrize("value", [2**70, -(2**70), 0.1, 1e300, "", "\0", "🎟", {"": [{}]}, True, None])
def test_a_json_value_comes_back_as_it_was(value: Any) -> None:
    """Also numbers beyond 64 bits, NUL and characters beyond the first plane."""
    text = CODEC.encode(e.StepCompleted("a", value))
    assert CODEC.decode(SAGA, "StepCompleted", text).result == value

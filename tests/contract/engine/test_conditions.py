"""Conditions and lists: steps that are skipped, and steps that are done for each element, whatever kind they are."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable
from typing import Any
from uuid import UUID

import msgspec
import pytest

from saga_es.core import events as e
from saga_es.core.state import SagaStatus
from saga_es.definition.requests import Participant
from saga_es.definition.saga import Saga
from saga_es.errors import StepRejected
from saga_es.runtime.calls.executor import Executor
from saga_es.runtime.calls.transport import WsgiTransport
from tests.conftest import TIMEOUT_S, OpenEngine, Store
from tests.support.trips import QUICK, Diary, Stop, crash, events_of, has_happened, raising, until

Act = Callable[[int], Any]


class Peak:
    """Counts who is inside at once, and remembers the most there were; tells when they are as many as may be."""

    def __init__(self, expected: int) -> None:
        self.expected = expected
        self.inside = self.most = 0
        self._lock = threading.Lock()
        self.full = threading.Event()

    def enter(self) -> None:
        """One more."""
        with self._lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
            if self.inside == self.expected:
                self.full.set()

    def leave(self) -> None:
        """One less."""
        with self._lock:
            self.inside -= 1


class Hall:
    """A participant that seats guests; by function, by coroutine, or over HTTP.

    Attributes:
        acts: What happens at the n-th call of `seat 3` or `unseat 3`.
        peak: Who is inside; the first ones wait until the hall is as full as it may be.
    """

    def __init__(self, at_once: int = 1, acts: dict[str, Act] | None = None) -> None:
        self.diary = Diary()
        self.steps: dict[str, str] = {}
        self.peak = Peak(at_once)
        self._acts = acts or {}

    def seat(self, guest: Any, key: str) -> str:
        """Seat a guest."""
        self._call(f"seat {guest}", key)
        return f"seat for {guest}"

    def unseat(self, guest: Any, key: str) -> None:
        """Have the guest leave."""
        self._call(f"unseat {guest}", key)

    def _call(self, call: str, key: str) -> None:
        count = self.diary.note(call, key)
        if call in self._acts:
            self._acts[call](count)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """`POST /seats/{guest}` and `DELETE /seats/{guest}`."""
        guest, key = environ["PATH_INFO"].rpartition("/")[2], environ["HTTP_IDEMPOTENCY_KEY"]
        self.steps[key] = environ["HTTP_X_SAGA_STEP"]
        self.peak.enter()
        try:
            self.peak.full.wait(TIMEOUT_S)
            status, body = "200 OK", None
            if environ["REQUEST_METHOD"] == "POST":
                body = self.seat(guest, key)
            else:
                self.unseat(guest, key)
        except StepRejected:
            status = "409 Conflict"
        finally:
            self.peak.leave()
        start_response(status, [("Content-Type", "application/json")])
        return [msgspec.json.encode(body)]


Options = dict[str, Any]


def plainly(saga: Saga, hall: Hall, options: Options) -> None:
    @saga.step(retry=QUICK, **options)
    def seat(item: Any, key: str) -> str:
        hall.peak.enter()
        try:
            hall.peak.full.wait(TIMEOUT_S)
            return hall.seat(item, key)
        finally:
            hall.peak.leave()

    @saga.compensates(seat, retry=QUICK)
    def unseat(item: Any, seat: str | None, index: int, key: str) -> None:
        assert seat in (None, f"seat for {item}")
        assert index >= 0
        hall.unseat(item, key)


def awaited(saga: Saga, hall: Hall, options: Options) -> None:
    @saga.step(retry=QUICK, **options)
    async def seat(item: Any, key: str) -> str:
        hall.peak.enter()
        try:
            await asyncio.to_thread(hall.peak.full.wait, TIMEOUT_S)
            return hall.seat(item, key)
        finally:
            hall.peak.leave()

    @saga.compensates(seat, retry=QUICK)
    async def unseat(item: Any, key: str) -> None:
        hall.unseat(item, key)


def requested(saga: Saga, hall: Hall, options: Options) -> None:
    del hall
    there = Participant("hall")
    saga.request(
        "seat", there.post("/seats/{item}"), compensation=there.delete("/seats/{item}"), retry=QUICK, **options
    )


Add = Callable[[Saga, Hall, Options], None]
kinds = pytest.mark.parametrize("add", [plainly, awaited, requested])


def party(add: Add, hall: Hall, end: Act | None = None, **options: Any) -> Saga:
    """A saga that seats all guests, and then perhaps finds a reason to send them home."""
    saga = Saga("party")
    add(saga, hall, {"over": "input[guests]", **options})

    @saga.step(compensation=None, retry=QUICK)
    def greet(seat: list[Any]) -> Any:
        if end is not None:
            end(1)
        return len(seat)

    return saga


def hall_of(hall: Hall) -> Executor:
    return Executor({"hall": WsgiTransport(hall)})


# ── Lists ────────────────────────────────────────────────────────────────────────────────────────────────


@kinds
def test_a_step_is_done_for_each_element_so_many_at_once(open_engine: OpenEngine, add: Add) -> None:
    """Results come in the order of the list; three are under way together, and never four."""
    hall = Hall(at_once=3)
    engine = open_engine(party(add, hall, at_once=3), executor=hall_of(hall))
    handle = engine.start("party", {"guests": list(range(12))})
    result = handle.result(TIMEOUT_S)
    assert result.results == {"seat": [f"seat for {n}" for n in range(12)], "greet": 12}
    assert hall.peak.most == 3
    assert e.StepFannedOut("seat", 12) in events_of(engine, handle.saga_id)


@kinds
def test_each_element_has_a_key_of_its_own(open_engine: OpenEngine, add: Add) -> None:
    """There and back; and over HTTP each call names its part."""
    hall = Hall()
    saga = party(add, hall, raising(StepRejected("no cake")), at_once=5)
    engine = open_engine(saga, executor=hall_of(hall))
    result = engine.start("party", {"guests": ["a", "b", "a"]}).result(TIMEOUT_S)
    assert result.status is SagaStatus.COMPENSATED
    keys = [key for _, key in hall.diary.calls]
    assert len({UUID(key) for key in keys}) == len(keys) == 6
    if add is requested:
        assert sorted(hall.steps.values()) == sorted(["seat[0]", "seat[1]", "seat[2]"] * 2)


@kinds
def test_what_was_done_of_a_list_is_undone(open_engine: OpenEngine, add: Add) -> None:
    """One element is refused: those that were done are undone, with their element; those not begun never are."""
    hall = Hall(acts={"seat 2": raising(StepRejected("banned"))})
    engine = open_engine(party(add, hall, at_once=1), executor=hall_of(hall))
    result = engine.start("party", {"guests": [0, 1, 2, 3]}).result(TIMEOUT_S)
    assert (result.status, result.failed_step) == (SagaStatus.COMPENSATED, "seat[2]")
    assert hall.diary.names == ["seat 0", "seat 1", "seat 2", "unseat 1", "unseat 0"]


@kinds
def test_a_list_outlives_a_crash(store: Store, open_engine: OpenEngine, gate: threading.Event, add: Add) -> None:
    """What was done is not done again, what was out is, with its key, and the rest follows."""
    stop = Stop(gate)
    before, after = Hall(acts={"seat 1": stop}), Hall()
    first = open_engine(party(add, before, at_once=1), executor=hall_of(before))
    handle = first.start("party", {"guests": [0, 1, 2]})
    assert stop.arrived.wait(TIMEOUT_S)
    crash(store, first)
    second = open_engine(party(add, after, at_once=1), executor=hall_of(after))
    assert second.follow(handle.saga_id).result(TIMEOUT_S).results["greet"] == 3
    assert (before.diary.names, after.diary.names) == (["seat 0", "seat 1"], ["seat 1", "seat 2"])
    assert before.diary.keys("seat 1") == after.diary.keys("seat 1")


def test_a_list_of_many_is_gone_through(open_engine: OpenEngine) -> None:
    """A thousand elements; one more than that is refused, and aborts the saga."""
    hall = Hall()
    engine = open_engine(party(awaited, hall, at_once=100))
    result = engine.start("party", {"guests": list(range(1000))}).result(TIMEOUT_S)
    assert result.results["greet"] == 1000
    refused = engine.start("party", {"guests": list(range(1001))}).result(TIMEOUT_S)
    assert (refused.status, refused.failed_step) == (SagaStatus.COMPENSATED, "seat")
    assert len(engine._worker._dispatch._under_way) == len(engine._worker._dispatch._children._followed) == 0


@pytest.mark.parametrize("guests", [None, "abc", {"a": 1}, 7])
def test_what_is_no_list_aborts_the_saga(open_engine: OpenEngine, guests: Any) -> None:
    """With a reason that says what was found there."""
    engine = open_engine(party(plainly, Hall()))
    result = engine.start("party", {"guests": guests}).result(TIMEOUT_S)
    assert (result.status, result.failed_step) == (SagaStatus.COMPENSATED, "seat")
    assert "input[guests]" in str(result.error)


def test_an_empty_list_is_done_at_once(open_engine: OpenEngine) -> None:
    """The result is an empty list, and the saga goes on."""
    engine = open_engine(party(plainly, Hall()))
    assert engine.start("party", {"guests": []}).result(TIMEOUT_S).results == {"seat": [], "greet": 0}


# ── Conditions ───────────────────────────────────────────────────────────────────────────────────────────


def is_wanted(input: dict[str, Any]) -> Any:  # noqa: A002 (the name a condition asks for)
    """Says what it was told to say; raises when it was told nothing."""
    return input["wanted"]


def a_function(saga: Saga, hall: Hall) -> None:
    @saga.step(compensation=None, when=is_wanted, retry=QUICK)
    def maybe(key: str) -> str:
        return hall.seat("x", key)


def a_coroutine(saga: Saga, hall: Hall) -> None:
    @saga.step(compensation=None, when=is_wanted, retry=QUICK)
    async def maybe(key: str) -> str:
        return hall.seat("x", key)


def a_request(saga: Saga, hall: Hall) -> None:
    del hall
    saga.request("maybe", Participant("hall").post("/seats/x"), compensation=None, when=is_wanted, retry=QUICK)


def a_signal(saga: Saga, hall: Hall) -> None:
    del hall
    saga.wait_for("maybe", timeout_s=None, when=is_wanted)


def a_delay(saga: Saga, hall: Hall) -> None:
    del hall
    saga.delay("maybe", 0.05, when=is_wanted)


def a_child(saga: Saga, hall: Hall) -> None:
    child = Saga("child")

    @child.step(compensation=None)
    def seat(key: str) -> str:
        return hall.seat("x", key)

    saga.child("maybe", child, when=is_wanted, retry=QUICK)


Kind = Callable[[Saga, Hall], None]
any_kind = pytest.mark.parametrize("kind", [a_function, a_coroutine, a_request, a_signal, a_delay, a_child])


def optional(kind: Kind, hall: Hall) -> Saga:
    """A saga with one step that may be skipped."""
    saga = Saga("optional")
    kind(saga, hall)

    @saga.step(compensation=None)
    def last(maybe: Any) -> Any:
        return maybe

    return saga


@any_kind
def test_a_step_that_is_not_wanted_is_skipped(open_engine: OpenEngine, kind: Kind) -> None:
    """Nothing is called, nothing is waited for, it has no result, and the log says so."""
    hall = Hall()
    saga = optional(kind, hall)
    engine = open_engine(saga, *saga.children, executor=hall_of(hall))
    handle = engine.start(saga, {"wanted": 0})
    assert handle.result(TIMEOUT_S).results == {"last": None}
    events = events_of(engine, handle.saga_id)
    assert e.StepSkipped("maybe") in events
    assert not any(isinstance(event, e.WaitStarted | e.ChildStarted) for event in events)
    assert hall.diary.calls == []


@any_kind
def test_a_step_that_is_wanted_is_done(open_engine: OpenEngine, kind: Kind) -> None:
    """The condition is asked before anything else happens."""
    hall = Hall()
    hall.peak.full.set()
    saga = optional(kind, hall)
    engine = open_engine(saga, *saga.children, executor=hall_of(hall))
    handle = engine.start(saga, {"wanted": [1]})
    if kind is a_signal:
        until(lambda: has_happened(engine, handle.saga_id, e.WaitStarted))
        engine.signal(handle.saga_id, "maybe", "seat for x")
    result = handle.result(TIMEOUT_S)
    expected: dict[Kind, Any] = {a_delay: None, a_child: {"seat": "seat for x"}}
    assert result.results["last"] == expected.get(kind, "seat for x")


@any_kind
def test_a_condition_that_raises_is_tried_again_and_then_aborts_the_saga(open_engine: OpenEngine, kind: Kind) -> None:
    """Nothing was called yet, so there is nothing in doubt; the reason names the condition."""
    hall = Hall()
    saga = optional(kind, hall)
    engine = open_engine(saga, *saga.children, executor=hall_of(hall))
    result = engine.start(saga, {}).result(TIMEOUT_S)
    assert (result.status, result.failed_step) == (SagaStatus.COMPENSATED, "maybe")
    assert result.error == "the condition failed: KeyError: 'wanted'"
    assert hall.diary.calls == []

"""Probes: where an answer was lost, somebody is asked whether it has happened, before anything is done about it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import pytest

from saga_es.core import events as e
from saga_es.core.plan import RetryPolicy
from saga_es.core.state import SagaStatus
from saga_es.definition.requests import Participant
from saga_es.definition.saga import Saga
from saga_es.errors import StepRejected
from saga_es.runtime.calls.executor import Executor
from saga_es.runtime.calls.transport import WsgiTransport
from tests.conftest import TIMEOUT_S, OpenEngine, Store
from tests.support.trips import ONCE, QUICK, Diary, Stop, crash, events_of

INPUT = {"n": 7}
CHARGED = {"charged": 7}


class Bank:
    """A participant that charges once a key, and can lose its answers; asked by function, and over HTTP.

    Attributes:
        fates: What becomes of each call in turn: `acts`, `answer lost` (it acts), `lost` (it does not); then all act.
        probe: How it answers a probe: with `the truth`, or with an HTTP status that tells nothing.
    """

    def __init__(self, *fates: str, probe: str = "the truth", stop: Stop | None = None) -> None:
        self.diary = Diary()
        self.charged: dict[str, Any] = {}
        self.fates = list(fates)
        self.probe = probe
        self.stop = stop

    def charge(self, key: str, n: int) -> Any:
        """Charge, unless this key was charged before."""
        self.diary.note("charge", key)
        fate = self.fates.pop(0) if self.fates else "acts"
        if fate != "lost":
            self.charged.setdefault(key, {"charged": n})
        if self.stop is not None:
            self.stop(1)
        if fate != "acts":
            raise RuntimeError("the answer was lost")
        return self.charged[key]

    def find(self, key: str) -> Any:
        """What was charged; None when nothing was."""
        self.diary.note("probe", key)
        if self.probe != "the truth":
            raise RuntimeError("the bank does not say")
        return self.charged.get(key)

    def refund(self, key: str) -> None:
        """Give it back."""
        self.diary.note("refund", key)
        self.charged.pop(key, None)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """The same over HTTP: `POST /charges`, `GET /charges/{key}`, `DELETE /charges/{key}`."""
        status, body = "200 OK", None
        try:
            match environ["REQUEST_METHOD"]:
                case "POST":
                    body = self.charge(
                        environ["HTTP_IDEMPOTENCY_KEY"], msgspec.json.decode(environ["wsgi.input"].read())
                    )
                case "GET":
                    body = self.find(environ["PATH_INFO"].rpartition("/")[2])
                    status = "200 OK" if body is not None else "404 Not Found"
                case _:
                    self.refund(environ["PATH_INFO"].rpartition("/")[2])
        except RuntimeError:
            is_probe = environ["REQUEST_METHOD"] == "GET"
            status = f"{self.probe} Sorry" if is_probe else "500 Internal Server Error"
        start_response(status, [("Content-Type", "application/json")])
        return [msgspec.json.encode(body)]


def by_function(bank: Bank, retry: RetryPolicy) -> Saga:
    saga = Saga("payment")

    @saga.step(retry=retry)
    def charge(input: dict[str, int], key: str) -> Any:  # noqa: A002 (the name a step asks for)
        return bank.charge(key, input["n"])

    @saga.compensates(charge)
    def refund(action_key: str) -> None:
        bank.refund(action_key)

    @saga.probes(charge)
    async def was_charged(key: str) -> Any:
        found = bank.find(key)
        if found is None:
            raise StepRejected("never heard of it")
        return found

    return saga


def by_request(_bank: Bank, retry: RetryPolicy) -> Saga:
    saga, bank = Saga("payment"), Participant("bank")

    def body(input: dict[str, int]) -> int:  # noqa: A002 (the name a body asks for)
        return input["n"]

    saga.request(
        "charge",
        bank.post("/charges", body),
        compensation=bank.delete("/charges/{action_key}"),
        probe=bank.get("/charges/{key}"),
        retry=retry,
    )
    return saga


Make = Callable[[Bank, RetryPolicy], Saga]
both = pytest.mark.parametrize("make", [by_function, by_request])


class Opened:
    """A saga of a bank, run by an engine."""

    def __init__(self, open_engine: OpenEngine, make: Make, bank: Bank, retry: RetryPolicy = QUICK) -> None:
        self.bank = bank
        self.saga = make(bank, retry)
        self.engine = open_engine(self.saga, executor=Executor({"bank": WsgiTransport(bank)}))


@both
def test_what_has_happened_is_not_done_again(open_engine: OpenEngine, make: Make) -> None:
    """The answer was lost, the probe brings it: one call, its result, and the log says how it is known."""
    opened = Opened(open_engine, make, Bank("answer lost"))
    handle = opened.engine.start("payment", INPUT)
    assert handle.result(TIMEOUT_S).results == {"charge": CHARGED}
    assert opened.bank.diary.names == ["charge", "probe"]
    assert opened.bank.diary.keys("charge") == opened.bank.diary.keys("probe")
    events = events_of(opened.engine, handle.saga_id)
    assert e.ProbeStarted("charge", 1) in events
    assert e.ProbeAnswered("charge", happened=True, result=CHARGED) in events


@both
def test_what_has_not_happened_is_tried_again(open_engine: OpenEngine, make: Make) -> None:
    """The probe says no: the next attempt is made, with the same key."""
    opened = Opened(open_engine, make, Bank("lost"))
    assert opened.engine.start("payment", INPUT).result(TIMEOUT_S).results == {"charge": CHARGED}
    assert opened.bank.diary.names == ["charge", "probe", "charge"]
    assert len(set(opened.bank.diary.keys("charge"))) == 1


@both
def test_what_nobody_can_tell_is_tried_again(open_engine: OpenEngine, make: Make) -> None:
    """The probe fails: the key keeps the second call from acting twice."""
    opened = Opened(open_engine, make, Bank("answer lost", probe="500"))
    assert opened.engine.start("payment", INPUT).result(TIMEOUT_S).results == {"charge": CHARGED}
    assert opened.bank.diary.names == ["charge", "probe", "charge"]


@both
def test_the_last_attempt_is_asked_about_too(open_engine: OpenEngine, make: Make) -> None:
    """It has happened, so nothing aborts."""
    opened = Opened(open_engine, make, Bank("answer lost"), ONCE)
    assert opened.engine.start("payment", INPUT).result(TIMEOUT_S).results == {"charge": CHARGED}
    assert opened.bank.diary.names == ["charge", "probe"]


@both
def test_what_surely_never_happened_is_not_compensated(open_engine: OpenEngine, make: Make) -> None:
    """The attempts have run out and the probe says no: there is nothing to undo."""
    opened = Opened(open_engine, make, Bank("lost"), ONCE)
    assert opened.engine.start("payment", INPUT).result(TIMEOUT_S).status is SagaStatus.COMPENSATED
    assert opened.bank.diary.names == ["charge", "probe"]


@pytest.mark.parametrize("status", ["500", "401", "405"])
@pytest.mark.parametrize("fate", ["answer lost", "lost"])
def test_what_nobody_can_tell_in_the_end_is_compensated(open_engine: OpenEngine, fate: str, status: str) -> None:
    """Also when the question itself is refused: that says nothing about what happened."""
    opened = Opened(open_engine, by_request, Bank(fate, probe=status), ONCE)
    assert opened.engine.start("payment", INPUT).result(TIMEOUT_S).status is SagaStatus.COMPENSATED
    assert opened.bank.diary.names[-1] == "refund"
    assert opened.bank.charged == {}


@both
def test_after_a_crash_it_is_asked_first(
    store: Store, open_engine: OpenEngine, gate: threading.Event, make: Make
) -> None:
    """The call was out when the engine went: it has happened, so the next engine does not make it again."""
    stop = Stop(gate)
    first = Opened(open_engine, make, Bank("acts", stop=stop))
    handle = first.engine.start("payment", INPUT)
    assert stop.arrived.wait(TIMEOUT_S)
    crash(store, first.engine)
    bank = Bank()
    bank.charged = first.bank.charged
    second = Opened(open_engine, make, bank)
    assert second.engine.follow(handle.saga_id).result(TIMEOUT_S).results == {"charge": CHARGED}
    assert bank.diary.names == ["probe"]
    assert bank.diary.keys("probe") == first.bank.diary.keys("charge")


@both
def test_after_a_crash_what_has_not_happened_is_done(
    store: Store, open_engine: OpenEngine, gate: threading.Event, make: Make
) -> None:
    """The call never arrived: it is the same attempt that is made once more."""
    stop = Stop(gate)
    first = Opened(open_engine, make, Bank("lost", stop=stop))
    handle = first.engine.start("payment", INPUT)
    assert stop.arrived.wait(TIMEOUT_S)
    crash(store, first.engine)
    second = Opened(open_engine, make, Bank())
    assert second.engine.follow(handle.saga_id).result(TIMEOUT_S).results == {"charge": CHARGED}
    assert second.bank.diary.names == ["probe", "charge"]
    events = events_of(second.engine, handle.saga_id)
    asked = events.index(e.ProbeStarted("charge", 1))
    answered = events[asked + 1]
    assert isinstance(answered, e.ProbeAnswered)
    assert answered.happened is False
    assert events[asked + 2 : asked + 4] == [e.StepStarted("charge", 1), e.StepCompleted("charge", CHARGED)]


@both
def test_a_probe_that_was_out_in_a_crash_is_sent_again(
    store: Store, open_engine: OpenEngine, gate: threading.Event, make: Make
) -> None:
    """It changes nothing, so it may be asked as often as need be."""

    class Slow(Bank):
        def find(self, key: str) -> Any:
            """Take its time."""
            found = super().find(key)
            asked.set()
            gate.wait()
            return found

    asked = threading.Event()
    first = Opened(open_engine, make, Slow("answer lost"))
    handle = first.engine.start("payment", INPUT)
    assert asked.wait(TIMEOUT_S)
    crash(store, first.engine)
    bank = Bank()
    bank.charged = first.bank.charged
    second = Opened(open_engine, make, bank)
    assert second.engine.follow(handle.saga_id).result(TIMEOUT_S).results == {"charge": CHARGED}
    assert bank.diary.names == ["probe"]

"""A step whose result cannot be recorded acted: it is not called again, and it is undone."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import pytest
from freezegun import freeze_time

from saga_es.core.plan import RetryPolicy
from saga_es.core.state import SagaStatus
from saga_es.definition.requests import Participant
from saga_es.definition.saga import Saga
from saga_es.errors import PayloadTooLarge, PayloadUnencodable, StepRejected
from saga_es.runtime.calls.answers import Answer
from saga_es.runtime.calls.executor import Executor
from saga_es.runtime.ids import idempotency_key
from tests.conftest import TIMEOUT_S, OpenEngine
from tests.support.trips import Diary, trip

OFTEN = RetryPolicy(attempts=4, first_delay_s=0.01, jitter=0.0)


def deep() -> Any:
    """Lists in lists, more than the log takes."""
    answer: Any = "deep"
    for _ in range(500):
        answer = [answer]
    return answer


ANSWERS: dict[str, tuple[Callable[[], Any], str]] = {
    "no JSON": (lambda: {"a": [object()]}, "result.a[0] is of type object, which has no JSON form; use dicts"),
    "a text that is none": (lambda: "\ud800", "result is a text with an unpaired surrogate"),
    "too large": (lambda: {"x": "x" * 2_000_000}, "(of type dict) cannot be recorded: result is 2000008 bytes of JSON"),
    "too deep": (deep, "(of type list) cannot be recorded: result holds more than 99 lists and objects"),
    "NaN": (lambda: {"price": math.nan}, "result.price is NaN, which JSON does not have; use None"),
    "infinite": (lambda: [1, -math.inf], "result[1] is infinite"),
}


def odd(answer: Callable[[], Any], done: list[str], undone: list[str], *, is_async: bool) -> Saga:
    """A saga whose second step returns what cannot be recorded."""
    saga = Saga("odd")

    @saga.step
    def before() -> int:
        return 1

    @saga.compensates(before)
    def undo_before(key: str) -> None:
        undone.append(f"before {key}")

    def plain(key: str) -> Any:
        done.append(key)
        return answer()

    async def awaited(key: str) -> Any:
        return plain(key)

    act = awaited if is_async else plain
    act.__name__ = "act"
    saga.step(retry=OFTEN)(act)

    @saga.compensates("act")
    def undo(act: Any, action_key: str) -> None:
        undone.append(action_key)
        assert act is None

    return saga


@pytest.mark.parametrize("is_async", [False, True], ids=["def", "async def"])
@pytest.mark.parametrize(("answer", "said"), ANSWERS.values(), ids=ANSWERS)
def test_a_step_whose_result_cannot_be_recorded_is_called_once_and_undone_with_its_key(
    open_engine: OpenEngine, answer: Callable[[], Any], said: str, *, is_async: bool
) -> None:
    """So are the steps before it; the reason names step, type, size and cure; the next saga completes."""
    done: list[str] = []
    undone: list[str] = []
    saga, other = odd(answer, done, undone, is_async=is_async), trip(Diary())
    engine = open_engine(saga, other)
    handle = engine.start(saga, {})
    ended = handle.result(TIMEOUT_S)
    assert (ended.status, ended.failed_step) == (SagaStatus.COMPENSATED, "act")
    assert ended.error is not None
    assert ended.error.startswith("step 'act' acted, and its result")
    assert said in ended.error
    key = idempotency_key(handle.saga_id, "act", "action")  # type: ignore[arg-type]  # the direction's value
    assert done == [key]
    assert undone[0] == key
    assert len(undone) == 2
    assert engine.start(other, {"n": 1}).result(TIMEOUT_S).completed


class Desk:
    """A participant over HTTP that answers as it is told."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.calls: list[tuple[str, str, bytes | None]] = []

    def send(self, method: str, path: str, headers: Any, body: bytes | None, timeout_s: float) -> Answer:
        """Write the call down."""
        del path, timeout_s
        self.calls.append((method, headers["Idempotency-Key"], body))
        return Answer(200, {}, self.answer if method == "POST" else b"{}")


HTTP_ANSWERS = {
    "too large": (json.dumps("x" * 2_000_000).encode(), "bytes of JSON, the limit is 1048576"),
    "too deep": (b"[" * 150 + b"]" * 150, "more than 99 lists and objects"),
    "far too deep": (b"[" * 200_000 + b"]" * 200_000, "too many lists and objects"),
}


@pytest.mark.parametrize(("answer", "said"), HTTP_ANSWERS.values(), ids=HTTP_ANSWERS)
def test_an_answer_over_http_that_cannot_be_recorded_is_a_result_like_any_other(
    open_engine: OpenEngine, answer: bytes, said: str
) -> None:
    """It was sent once, and is undone by the key of the action."""
    desk = Desk(answer)
    saga, there = Saga("odd"), Participant("desk")
    saga.request("act", there.post("/acts"), compensation=there.delete("/acts/{action_key}"), retry=OFTEN)
    ended = open_engine(saga, executor=Executor({"desk": desk})).start(saga, {}).result(TIMEOUT_S)
    assert ended.status is SagaStatus.COMPENSATED
    assert ended.error is not None
    assert "step 'act' acted" in ended.error
    assert said in ended.error
    assert [method for method, _, _ in desk.calls] == ["POST", "DELETE"]


def test_a_request_whose_body_json_does_not_have_is_not_sent(open_engine: OpenEngine) -> None:
    """NaN would arrive as null, and nobody would know."""
    desk = Desk(b"{}")
    saga = Saga("odd")
    saga.request("act", Participant("desk").post("/acts", lambda: {"price": math.nan}), compensation=None)
    ended = open_engine(saga, executor=Executor({"desk": desk})).start(saga, {}).result(TIMEOUT_S)
    assert (ended.status, desk.calls) == (SagaStatus.COMPENSATED, [])
    assert "body.price is NaN" in str(ended.error)


def test_what_a_compensation_returns_does_not_matter(open_engine: OpenEngine) -> None:
    """Nobody asks for it: it is done at its first call, whatever comes of it."""
    saga, undone = Saga("odd"), []

    @saga.step
    def act() -> int:
        return 1

    @saga.compensates(act, retry=OFTEN)
    def undo() -> Any:
        undone.append(1)
        return object()

    @saga.step(compensation=None)
    def refuse() -> None:
        raise StepRejected("no")

    ended = open_engine(saga).start(saga, {}).result(TIMEOUT_S)
    assert (ended.status, undone) == (SagaStatus.COMPENSATED, [1])


def test_a_probe_whose_result_cannot_be_recorded_says_that_the_step_acted(open_engine: OpenEngine) -> None:
    """The step is not called again, and is undone."""
    saga, calls = Saga("odd"), []

    @saga.step(retry=OFTEN)
    def act() -> int:
        calls.append("act")
        raise TimeoutError("lost")

    @saga.probes(act)
    def look() -> Any:
        calls.append("look")
        return object()

    @saga.compensates(act)
    def undo() -> None:
        calls.append("undo")

    ended = open_engine(saga).start(saga, {}).result(TIMEOUT_S)
    assert (ended.status, calls) == (SagaStatus.COMPENSATED, ["act", "look", "undo"])
    assert "step 'act' is known to have acted, and its result (of type object) cannot be recorded" in str(ended.error)


def test_past_the_point_of_return_the_saga_goes_on_with_what_says_so(open_engine: OpenEngine) -> None:
    """A step that must succeed acted: it is done, once, and in place of its result is the reason."""
    saga, calls = Saga("odd"), []

    @saga.step(kind="pivot", compensation=None)
    def pay() -> Any:
        calls.append("pay")
        return object()

    @saga.step(kind="retriable", compensation=None, retry=OFTEN)
    def tell() -> Any:
        calls.append("tell")
        return {"price": math.nan}

    @saga.step(kind="retriable", compensation=None)
    def last(tell: Any) -> Any:
        return tell

    ended = open_engine(saga).start(saga, {}).result(TIMEOUT_S)
    assert (ended.status, calls) == (SagaStatus.COMPLETED, ["pay", "tell"])
    assert "result.price is NaN" in ended.results["last"]["not_recorded"]


def test_a_child_whose_results_are_too_large_here_is_undone_as_a_whole(open_engine: OpenEngine) -> None:
    """Each of them fits into the log, all of them do not fit into one event."""
    calls: list[str] = []
    child, parent = Saga("child"), Saga("parent")
    for name in ("one", "two", "three"):

        def act(name: str = name) -> str:
            calls.append(name)
            return "x" * 500_000

        def undo(name: str = name) -> None:
            calls.append(f"undo {name}")

        act.__name__ = name
        child.step(act)
        child.compensates(name)(undo)
    parent.child("all", child)
    ended = open_engine(parent, child).start(parent, {}).result(TIMEOUT_S)
    assert ended.status is SagaStatus.COMPENSATED
    assert "its results cannot be recorded here: the payload is" in str(ended.error)
    assert calls == ["one", "two", "three", "undo three", "undo two", "undo one"]


def test_the_input_of_a_child_that_cannot_be_recorded_starts_no_child(open_engine: OpenEngine) -> None:
    """Nothing was done yet, so the step is refused with the path."""
    child, parent = trip(Diary()), Saga("parent")
    parent.child("trip", child, input=lambda: {"lines": [{"price": math.inf}]})
    ended = open_engine(parent, child).start(parent, {}).result(TIMEOUT_S)
    assert ended.status is SagaStatus.COMPENSATED
    assert "the child saga was not started: input.lines[0].price is infinite" in str(ended.error)


@pytest.mark.parametrize("words", ["no Привет 🚀", "x" * 100_000, "nul \0 and \ud800"])
def test_a_reason_in_any_script_and_of_any_length_ends_no_saga_half_done(open_engine: OpenEngine, words: str) -> None:
    """The steps before it are undone, and the reason can be read."""
    undone: list[str] = []

    def refuse() -> None:
        raise StepRejected(words)

    saga = odd(refuse, [], undone, is_async=False)
    ended = open_engine(saga).start(saga, {}).result(TIMEOUT_S)
    assert (ended.status, len(undone)) == (SagaStatus.COMPENSATED, 1)
    assert str(ended.error)[:3] == words[:3]


# ── At the door ──────────────────────────────────────────────────────────────────────────────────────────


def test_an_input_that_json_does_not_have_is_refused_at_the_start_with_its_path(open_engine: OpenEngine) -> None:
    """NaN, infinities, keys that are no texts, and what has no JSON form: nothing is started."""
    saga = trip(Diary())
    engine = open_engine(saga)
    for value, said in (
        ({"lines": [{}, {}, {"price": math.nan}]}, "input.lines[2].price is NaN"),
        ({"n": -math.inf}, "input.n is infinite"),
        ({"n": {1: 2}}, "input.n has the key 1"),
        ({"n": object()}, "input.n is of type object"),
        ({"n": b"x"}, "input.n is 1 bytes"),
    ):
        with pytest.raises(PayloadUnencodable) as refused:
            engine.start(saga, value, saga_id="t-1")
        assert said in str(refused.value)
    assert engine.read("t-1") == []
    with pytest.raises(PayloadTooLarge):
        engine.start(saga, {"n": "x" * 2_000_000})


def test_a_signal_that_json_does_not_have_is_refused_at_the_door(open_engine: OpenEngine) -> None:
    """With the path; the saga waits on, and takes the next one."""
    saga = Saga("waits")
    saga.wait_for("answer", timeout_s=None)
    engine = open_engine(saga)
    handle = engine.start(saga, {})
    with pytest.raises(PayloadUnencodable, match=r"payload\.prices\[1\] is NaN"):
        engine.signal(handle.saga_id, "answer", {"prices": [1, math.nan]})
    engine.signal(handle.saga_id, "answer", np.int64(7))
    assert handle.result(TIMEOUT_S).results == {"answer": 7}


def test_times_and_numbers_of_libraries_are_inputs_and_results(open_engine: OpenEngine) -> None:
    """Also while a host's test has frozen the time, in which the engine goes on."""
    saga, failures = Saga("frozen"), []

    @saga.step(compensation=None, retry=OFTEN)
    def look(input: dict[str, Any]) -> Any:  # noqa: A002 (the name a step asks for)
        failures.append(1)
        if len(failures) < 3:
            raise TimeoutError("once more")
        return {"at": datetime.now(UTC), "n": np.float32(1.5), "given": input}

    engine = open_engine(saga)
    for frozen in ("2001-01-01", "2099-01-01"):
        failures.clear()
        with freeze_time(frozen):
            handle = engine.start(saga, {"at": datetime.now(UTC)}, starts_at=datetime.now(UTC) - timedelta(days=40_000))
            ended = handle.result(TIMEOUT_S)
        assert ended.results["look"] == {
            "at": f"{frozen}T00:00:00Z",
            "n": 1.5,
            "given": {"at": f"{frozen}T00:00:00Z"},
        }
        assert all(recorded.recorded_at.year not in {2001, 2099} for recorded in engine.read(handle.saga_id))


def test_the_cure_fits_into_an_event(open_engine: OpenEngine) -> None:
    """The longest reason, in signs of which each takes many bytes, is recorded whatever the limit of payloads."""
    undone: list[str] = []
    saga = odd(lambda: {"\U0001f680" * 3000: math.nan}, [], undone, is_async=False)
    ended = open_engine(saga).start(saga, {}).result(TIMEOUT_S)
    assert (ended.status, len(undone)) == (SagaStatus.COMPENSATED, 2)
    assert msgspec.json.encode(ended.error)

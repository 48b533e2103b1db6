"""Calls: each becomes exactly one outcome, whatever it is made of and whatever it does."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from queue import Empty, SimpleQueue
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from saga_es.core.outcomes import Completed, Direction, Outcome, Rejected, Unavailable, Unknown, Unrecordable
from saga_es.definition.requests import Participant
from saga_es.definition.steps import Callee
from saga_es.errors import StepRejected, StepUnavailable
from saga_es.runtime.calls.answers import Answer, AnswerLost, NotSent
from saga_es.runtime.calls.caller import Caller
from saga_es.runtime.calls.executor import Executor
from saga_es.runtime.calls.port import Call

TIMEOUT_S = 5.0
DESK = Participant("desk")


class Desk:
    """A participant at the other end of a transport: it notes what is sent, and answers as it was told."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str, dict[str, str], bytes | None, float]] = []
        self.answer: Answer | Exception = Answer(200, {}, b"{}")

    def send(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, timeout_s: float) -> Answer:
        """Note, and answer."""
        self.sent.append((method, path, dict(headers), body, timeout_s))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def desk() -> Desk:
    """The only participant there is."""
    return Desk()


@pytest.fixture
def executor(desk: Desk) -> Iterator[Executor]:
    """Two threads, and results of at most 2000 bytes."""
    executor = Executor({"desk": desk}, threads=2, payload_limit=2000)
    yield executor
    executor.close()


GIVEN: dict[str, Any] = {"input": {"n": 1}, "key": "k-1", "saga_id": "saga-1"}


def a_call(callee: Callee, given: Mapping[str, Any] | None = None, timeout_s: float = TIMEOUT_S) -> Call:
    return Call("saga-1", "seat", Direction.ACTION, 1, callee, "k-1", {**GIVEN, **(given or {})}, timeout_s)


def outcome_of(executor: Executor, callee: Callee, given: Mapping[str, Any] | None = None, **more: float) -> Outcome:
    returned: SimpleQueue[tuple[Call, Outcome]] = SimpleQueue()
    call = a_call(callee, given, **more)
    executor.perform([call], lambda call, outcome: returned.put((call, outcome)))
    told, outcome = returned.get(timeout=TIMEOUT_S)
    assert told is call
    with pytest.raises(Empty):
        returned.get_nowait()
    return outcome


def without_frame(outcome: Outcome) -> Outcome:
    """Lines of this file change."""
    return msgspec.structs.replace(outcome, frame=None) if isinstance(outcome, Unknown) else outcome


def too_large(step: str) -> Unrecordable:
    """The outcome of a call whose result is one byte over the limit."""
    why = "result is 2001 bytes of JSON, the limit is 2000; store a reference instead, or raise SAGA_ES_PAYLOAD_LIMIT"
    return Unrecordable(f"step {step!r} acted, and its result (of type str) cannot be recorded: {why}")


def sync_and_async(step: Callable[..., Any]) -> list[Callable[..., Any]]:
    def plain(input: Any) -> Any:  # noqa: A002
        return step(input)

    async def awaited(input: Any) -> Any:  # noqa: A002
        await asyncio.sleep(0)
        return step(input)

    return [plain, awaited]


def both(step: Callable[[Any], Any]) -> pytest.MarkDecorator:
    """The same step written as `def` and as `async def`."""
    return pytest.mark.parametrize("step", sync_and_async(step), ids=["def", "async def"])


# ── Waiting to begin ─────────────────────────────────────────────────────────────────────────────────────


def test_a_call_that_waits_for_a_thread_is_not_late(executor: Executor) -> None:
    """However long it waits: its time-out runs from when it begins, and it is made."""
    gate = threading.Event()
    returned: SimpleQueue[Outcome] = SimpleQueue()
    for _ in range(2):  # both threads are taken
        executor.perform([a_call(lambda: gate.wait(TIMEOUT_S))], lambda _call, _outcome: None)
    waiting = a_call(lambda: "made", timeout_s=0.01)
    executor.perform([waiting], lambda _call, outcome: returned.put(outcome))
    assert not gate.wait(0.05)
    assert executor.left_s(waiting) == 0.01
    gate.set()
    assert returned.get(timeout=TIMEOUT_S) == Completed("made")


@pytest.mark.parametrize("is_awaited", [False, True], ids=["def", "async def"])
def test_a_call_is_late_when_its_time_is_over_since_it_began(executor: Executor, *, is_awaited: bool) -> None:
    """One that has answered is not: its answer waits to be read."""
    begun, gate, came_back = threading.Event(), threading.Event(), threading.Event()

    def hang() -> None:
        begun.set()
        gate.wait(TIMEOUT_S)

    async def hang_on_the_loop() -> None:
        hang()

    call = a_call(hang_on_the_loop if is_awaited else hang, timeout_s=0.05)
    executor.perform([call], lambda _call, _outcome: came_back.set())
    assert begun.wait(TIMEOUT_S)
    assert executor.left_s(call) <= 0.05
    assert not gate.wait(0.1)
    assert executor.left_s(call) <= 0
    gate.set()
    assert came_back.wait(TIMEOUT_S)
    assert executor.left_s(call) == 0.05


@pytest.mark.parametrize("is_awaited", [False, True], ids=["def", "async def"])
def test_a_call_that_is_given_up_before_it_began_is_never_made(executor: Executor, *, is_awaited: bool) -> None:
    """And nothing is told of it: it is no attempt."""
    told: SimpleQueue[Call] = SimpleQueue()

    def act() -> str:
        return "made"

    async def awaited() -> str:
        return "made"

    given_up, made = (a_call(awaited if is_awaited else act) for _ in range(2))
    assert not executor.give_up(given_up)
    executor.perform([given_up, made], lambda call, _outcome: told.put(call))
    assert told.get(timeout=TIMEOUT_S) is made
    assert given_up.began_at is None
    assert executor.give_up(made)


def test_a_closed_executor_begins_none_of_the_calls_that_wait(executor: Executor) -> None:
    """They are for the next worker."""
    gate = threading.Event()
    told: SimpleQueue[Call] = SimpleQueue()
    hanging, waiting = [a_call(lambda: gate.wait(TIMEOUT_S)) for _ in range(2)], a_call(lambda: None)
    executor.perform([*hanging, waiting], lambda call, _outcome: told.put(call))
    until_begun(*hanging)
    executor.close()
    gate.set()
    assert {id(told.get(timeout=TIMEOUT_S)) for _ in range(2)} == set(map(id, hanging))
    with pytest.raises(Empty):
        told.get(timeout=0.05)


def until_begun(*calls: Call) -> None:
    for _ in range(int(TIMEOUT_S / 0.01)):
        if all(call.began_at for call in calls):
            return
        threading.Event().wait(0.01)
    raise AssertionError("they do not begin")


def test_calls_that_hang_and_were_given_up_hold_up_no_other(executor: Executor) -> None:
    """Both threads hang; the next call finds another."""
    gate = threading.Event()
    begun: SimpleQueue[None] = SimpleQueue()

    def hang() -> None:
        begun.put(None)
        gate.wait(TIMEOUT_S)

    calls = [a_call(hang) for _ in range(2)]
    executor.perform(calls, lambda _call, _outcome: None)
    for call in calls:
        begun.get(timeout=TIMEOUT_S)
        executor.give_up(call)
    returned: SimpleQueue[Outcome] = SimpleQueue()
    quick = msgspec.structs.replace(a_call(lambda: "quick"), definition="another")
    executor.perform([quick], lambda _call, outcome: returned.put(outcome))
    assert returned.get(timeout=TIMEOUT_S / 2) == Completed("quick")
    gate.set()


# ── Functions ────────────────────────────────────────────────────────────────────────────────────────────


@both(lambda input: {"got": input["n"]})  # noqa: A006
def test_what_a_step_returns_is_its_result(executor: Executor, step: Callable[..., Any]) -> None:
    """Given what it asks for, by name."""
    assert outcome_of(executor, step) == Completed({"got": 1})


def test_a_step_gets_only_what_it_asks_for(executor: Executor) -> None:
    """A default stands where there is no value of its name."""

    def step(saga_id: str, key: str = "none", twice: bool = True) -> list[Any]:  # noqa: FBT001, FBT002
        return [saga_id, key, twice]

    assert outcome_of(executor, step) == Completed(["saga-1", "k-1", True])


def test_a_def_step_runs_on_a_thread_and_an_async_one_on_the_loop(executor: Executor) -> None:
    """Neither holds up the caller."""

    def step() -> str:
        return threading.current_thread().name

    async def awaited() -> str:
        return threading.current_thread().name

    assert outcome_of(executor, step) == Completed("saga-es-call-1")
    assert outcome_of(executor, awaited) == Completed("saga-es-asyncio")


@both(lambda _: {1: (2, {3}), "at": datetime(2026, 1, 2, tzinfo=UTC), "none": None})
def test_a_result_is_what_the_log_will_give_back(executor: Executor, step: Callable[..., Any]) -> None:
    """A later step must not see a tuple before a crash and a list after it."""
    assert outcome_of(executor, step) == Completed({"1": [2, [3]], "at": "2026-01-02T00:00:00Z", "none": None})


def test_a_result_is_a_copy(executor: Executor) -> None:
    """A step that keeps what it returned and changes it later changes nothing."""
    kept = {"n": 1}
    outcome = outcome_of(executor, lambda: kept)
    kept["n"] = 2
    assert outcome == Completed({"n": 1})


def spoil(input: Any) -> Any:  # noqa: A002
    input["n"] = "spoilt"
    return input


@both(spoil)
def test_a_step_that_changes_its_input_changes_only_its_copy(executor: Executor, step: Callable[..., Any]) -> None:
    """The next attempt, and the next step, get what stands in the log."""
    given = {"input": {"n": 1}}
    assert outcome_of(executor, step, given) == Completed({"n": "spoilt"})
    assert given == {"input": {"n": 1}}


@both(lambda _: object())
def test_a_result_without_a_json_form_cannot_be_recorded(executor: Executor, step: Callable[..., Any]) -> None:
    """The step was done, but what came of it cannot be kept."""
    outcome = outcome_of(executor, step)
    assert isinstance(outcome, Unrecordable)
    assert "result is of type object, which has no JSON form" in outcome.error


@both(lambda _: "x" * 1999)
def test_a_result_over_the_limit_cannot_be_recorded(executor: Executor, step: Callable[..., Any]) -> None:
    """With the numbers and the cure."""
    assert outcome_of(executor, step) == too_large("seat")


def test_a_result_of_just_the_limit_is_kept(executor: Executor) -> None:
    """The quotes count."""
    assert outcome_of(executor, lambda: "x" * 1998) == Completed("x" * 1998)


def refuse(_: object) -> None:
    raise StepRejected("sold out")


def not_now(_: object) -> None:
    raise StepUnavailable("busy", 3)


def stumble(_: object) -> None:
    raise ValueError("oops")


def leave(_: object) -> None:
    sys.exit(3)


def interrupt(_: object) -> None:
    raise KeyboardInterrupt


def cancel(_: object) -> None:
    raise asyncio.CancelledError


@pytest.mark.parametrize(
    ("step", "outcome"),
    [
        (step, outcome)
        for plain, outcome in [
            (refuse, Rejected("sold out")),
            (not_now, Unavailable("busy", 3, ("StepUnavailable", "SagaError", "Exception"))),
            (stumble, Unknown("ValueError: oops", ("ValueError", "Exception"))),
            (leave, Unknown("SystemExit: 3", ("SystemExit",))),
            (interrupt, Unknown("KeyboardInterrupt: ", ("KeyboardInterrupt",))),
            (cancel, Unknown("CancelledError: ", ("CancelledError",))),
        ]
        for step in sync_and_async(plain)
    ],
)
def test_what_a_step_raises_is_an_outcome(executor: Executor, step: Callable[..., Any], outcome: Outcome) -> None:
    """Also what would end a program; the next call finds the executor as it was."""
    assert without_frame(outcome_of(executor, step)) == outcome
    assert outcome_of(executor, sync_and_async(len)[_is_async(step)]) == Completed(1)


def _is_async(step: Callable[..., Any]) -> bool:
    return asyncio.iscoroutinefunction(step)


class UnspeakableError(Exception):
    """An error that cannot even be shown."""

    def __str__(self) -> str:
        """Fail, and ask for the end of the program."""
        raise SystemExit


def speechless(_: object) -> None:
    raise UnspeakableError


@both(speechless)
def test_an_error_that_cannot_be_shown_is_unknown_and_costs_no_thread(
    executor: Executor, step: Callable[..., Any]
) -> None:
    """A call without an outcome would be waited for until its time-out, and its thread would be lost."""
    for _ in range(3):
        assert isinstance(outcome_of(executor, step), Unknown)
    assert outcome_of(executor, sync_and_async(len)[_is_async(step)]) == Completed(1)


def test_an_async_step_is_stopped_when_it_is_given_up(executor: Executor) -> None:
    """It is cancelled at its next await, and nobody knows what it did before."""
    returned: SimpleQueue[Outcome] = SimpleQueue()

    async def step() -> None:
        await asyncio.Event().wait()

    call = a_call(step)
    executor.perform([call], lambda _call, outcome: returned.put(outcome))
    until_begun(call)
    assert executor.give_up(call)
    assert isinstance(returned.get(timeout=TIMEOUT_S), Unknown)


def test_calls_run_beside_each_other(executor: Executor) -> None:
    """Two threads, two calls: each waits for the other."""
    together = threading.Barrier(2, timeout=TIMEOUT_S)
    returned: SimpleQueue[Outcome] = SimpleQueue()
    for _ in range(2):
        executor.perform([a_call(lambda: together.wait() * 0)], lambda _, outcome: returned.put(outcome))
    assert [returned.get(timeout=TIMEOUT_S) for _ in range(2)] == [Completed(0), Completed(0)]


def test_a_closed_executor_leaves_no_event_loop_open(desk: Desk) -> None:
    """Its thread ends, and so do the loop's descriptors."""
    executor = Executor({"desk": desk})
    loops: list[asyncio.AbstractEventLoop] = []

    async def step() -> None:
        loops.append(asyncio.get_running_loop())

    outcome_of(executor, step)
    executor.close()
    assert loops[0].is_closed()


# ── Requests ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_request_carries_the_key_the_saga_and_the_step(executor: Executor, desk: Desk) -> None:
    """As the wire contract has it; a body is JSON and says so."""
    request = DESK.put("/seats/{input[n]}", body=lambda input: {"of": input})  # noqa: A006
    assert outcome_of(executor, request, timeout_s=7) == Completed({})
    headers = {"Idempotency-Key": "k-1", "X-Saga-Id": "saga-1", "X-Saga-Step": "seat"}
    (sent,) = desk.sent
    assert sent == ("PUT", "/seats/1", {**headers, "Content-Type": "application/json"}, b'{"of":{"n":1}}', 7)


def test_a_request_without_a_body_has_no_content_type(executor: Executor, desk: Desk) -> None:
    """There is nothing it would be the type of."""
    outcome_of(executor, DESK.delete("/seats/{key}"))
    ((_, path, headers, body, _),) = desk.sent
    assert (path, body, "Content-Type" in headers) == ("/seats/k-1", None, False)


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (Answer(201, {}, b'{"id": 7}'), Completed({"id": 7})),
        (Answer(204, {}, b""), Completed(None)),
        (Answer(409, {}, b'{"detail": "sold out"}'), Rejected("HTTP 409: sold out")),
        (Answer(429, {"retry-after": "3"}, b""), Unavailable("HTTP 429: no body", 3.0, ("HTTP 429",))),
        (Answer(503, {"retry-after": "3"}, b"down"), Unknown("HTTP 503: down", ("HTTP 503",), 3.0)),
        (NotSent("refused"), Unavailable("refused")),
        (AnswerLost("reset"), Unknown("reset")),
        (Answer(200, {}, b'"' + b"x" * 1999 + b'"'), too_large("seat")),
    ],
)
def test_an_answer_is_an_outcome(executor: Executor, desk: Desk, answer: Answer | Exception, outcome: Outcome) -> None:
    """By the one table; and it is asked once, whatever the outcome."""
    desk.answer = answer
    assert outcome_of(executor, DESK.post("/seats")) == outcome
    assert len(desk.sent) == 1


def test_a_participant_nobody_knows_is_unavailable(executor: Executor) -> None:
    """Nothing was sent; a process that knows it may come back."""
    outcome = outcome_of(executor, Participant("elsewhere").post("/"))
    assert outcome == Unavailable("no participant named 'elsewhere' is known here")


def test_a_body_that_changes_its_input_changes_only_its_copy(executor: Executor, desk: Desk) -> None:
    """The next attempt, and the next step, get what stands in the log."""
    given = {"input": {"n": 1}}
    outcome_of(executor, DESK.post("/seats", body=spoil), given)
    assert desk.sent[0][3] == b'{"n":"spoilt"}'
    assert given == {"input": {"n": 1}}


def test_a_request_that_cannot_be_made_is_an_outcome(executor: Executor, desk: Desk) -> None:
    """A path that names what is not there sends nothing."""
    outcome = outcome_of(executor, DESK.delete("/seats/{input[gone]}"))
    assert isinstance(outcome, Unknown | Unavailable | Rejected)
    assert desk.sent == []


# ── Asking whether it has happened ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (Answer(200, {}, b'{"seat": 7}'), Completed({"seat": 7})),
        (Answer(404, {}, b""), Rejected("HTTP 404: no body")),
        (Answer(410, {}, b""), Rejected("HTTP 410: no body")),
        (Answer(401, {}, b""), Unknown("HTTP 401: no body", ("HTTP 401",))),
        (Answer(405, {}, b""), Unknown("HTTP 405: no body", ("HTTP 405",))),
        (Answer(503, {}, b""), Unknown("HTTP 503: no body", ("HTTP 503",))),
    ],
    ids=["200", "404", "410", "401", "405", "503"],
)
def test_only_not_found_and_gone_say_that_it_has_not_happened(
    executor: Executor, desk: Desk, answer: Answer, outcome: Outcome
) -> None:
    """A question that was refused was not answered: the step is still in doubt, and not left standing."""
    desk.answer = answer
    assert probed(executor, "/seats/{key}") == outcome


def test_a_question_that_cannot_be_asked_is_not_answered(executor: Executor, desk: Desk) -> None:
    """It says nothing about the call."""
    assert isinstance(probed(executor, "/seats/{input[nothing]}"), Unknown)
    assert desk.sent == []


def probed(executor: Executor, path: str) -> Outcome:
    returned: SimpleQueue[Outcome] = SimpleQueue()
    call = Call("saga-1", "seat", Direction.PROBE, 1, DESK.get(path), "k-1", GIVEN, TIMEOUT_S)
    executor.perform([call], lambda _call, outcome: returned.put(outcome))
    return returned.get(timeout=TIMEOUT_S)


@pytest.mark.parametrize(
    ("saga_id", "sent"), [("plain-1", "plain-1"), ("Привет", None), (" a ", "%20a%20"), ("a\r\nX: y", "a%0D%0AX:%20y")]
)
def test_an_id_that_no_header_can_carry_is_quoted(saga_id: str, sent: str | None) -> None:
    """Else the request could not be written, or would have a header more."""
    desk = Desk()
    caller = Caller({"desk": desk})
    call = Call(saga_id, "größe", Direction.ACTION, 1, DESK.post("/x"), "k", {}, 1.0)
    assert caller.answer(call) == Completed({})
    ((_, _, headers, _, _),) = desk.sent
    assert headers["X-Saga-Id"] == (quote(saga_id) if sent is None else sent)
    assert headers["X-Saga-Step"] == "gr%C3%B6%C3%9Fe"
    assert all(value.isascii() for value in headers.values())

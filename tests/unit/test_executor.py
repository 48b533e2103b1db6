"""Calls: each becomes exactly one outcome, whatever it is made of and whatever it does."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from queue import Empty, SimpleQueue
from typing import Any

import pytest

from saga_es.core.outcomes import Completed, Direction, Outcome, Rejected, Unavailable, Unknown
from saga_es.definition.requests import Participant
from saga_es.definition.steps import Callee
from saga_es.errors import StepRejected, StepUnavailable
from saga_es.runtime.calls.executor import Executor
from saga_es.runtime.calls.port import Call
from saga_es.runtime.calls.transport import Answer, AnswerLost, NotSent

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
    close(executor)


def close(executor: Executor) -> None:
    loop = executor._loop
    executor.close()
    if loop is not None:
        for thread in threading.enumerate():
            if thread.name == "saga-es-asyncio":
                thread.join(TIMEOUT_S)
        loop.close()


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


# ── Waiting for a thread ─────────────────────────────────────────────────────────────────────────────────


def test_a_call_that_was_given_up_while_it_waited_for_a_thread_is_never_made(executor: Executor) -> None:
    """Its saga has gone on without it: were it made now, nobody would undo it."""
    gate = threading.Event()
    returned: SimpleQueue[Outcome] = SimpleQueue()
    made: list[str] = []
    for _ in range(2):  # both threads are taken
        executor.perform([a_call(lambda: gate.wait(TIMEOUT_S))], lambda _call, _outcome: None)
    late = a_call(lambda: made.append("late"), timeout_s=0.01)
    executor.perform([late], lambda _call, outcome: returned.put(outcome))
    assert not gate.wait(0.05)
    gate.set()
    assert returned.get(timeout=TIMEOUT_S) == Unavailable("no thread was free within 0.01 s")
    assert made == []


def test_a_call_that_is_given_up_before_its_time_is_over_is_never_made_if_it_waits(executor: Executor) -> None:
    """Its saga is no longer ours, or the clock that counts its time is ahead of this one."""
    gate = threading.Event()
    returned: SimpleQueue[Outcome] = SimpleQueue()
    made: list[str] = []
    for _ in range(2):
        executor.perform([a_call(lambda: gate.wait(TIMEOUT_S))], lambda _call, _outcome: None)

    async def awaited() -> None:
        made.append("awaited")

    for callee in (lambda: made.append("def"), awaited):
        late = a_call(callee)
        executor.give_up(late)
        executor.perform([late], lambda _call, outcome: returned.put(outcome))
    gate.set()
    assert all(isinstance(returned.get(timeout=TIMEOUT_S), Unavailable) for _ in range(2))
    assert made == []


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
    assert outcome_of(executor, lambda: "quick") == Completed("quick")
    gate.set()


# ── Functions ────────────────────────────────────────────────────────────────────────────────────────────


@both(lambda input: {"got": input["n"]})  # noqa: A006
def test_what_a_step_returns_is_its_result(executor: Executor, step: Callable[..., Any]) -> None:
    """Given what it asks for, by name."""
    assert outcome_of(executor, step) == Completed({"got": 1})


def test_a_step_gets_only_what_it_asks_for(executor: Executor) -> None:
    """Its defaults are its own."""

    def step(saga_id: str, key: str, twice: bool = True) -> list[Any]:  # noqa: FBT001, FBT002
        return [saga_id, key, twice]

    assert outcome_of(executor, step, {"twice": False}) == Completed(["saga-1", "k-1", True])


def test_a_def_step_runs_on_a_thread_and_an_async_one_on_the_loop(executor: Executor) -> None:
    """Neither holds up the caller."""

    def step() -> str:
        return threading.current_thread().name

    async def awaited() -> str:
        return threading.current_thread().name

    assert outcome_of(executor, step) == Completed("saga-es-call-1")
    assert outcome_of(executor, awaited) == Completed("saga-es-asyncio")


@both(lambda _: {1: (2, {3}), "at": datetime(2026, 1, 2, tzinfo=UTC), "nan": float("nan")})
def test_a_result_is_what_the_log_will_give_back(executor: Executor, step: Callable[..., Any]) -> None:
    """A later step must not see a tuple before a crash and a list after it."""
    assert outcome_of(executor, step) == Completed({"1": [2, [3]], "at": "2026-01-02T00:00:00Z", "nan": None})


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
def test_a_result_without_a_json_form_is_unknown(executor: Executor, step: Callable[..., Any]) -> None:
    """The step was done, but what came of it cannot be kept."""
    outcome = outcome_of(executor, step)
    assert isinstance(outcome, Unknown)
    assert outcome.error.startswith("TypeError: Encoding objects of type object is unsupported")


@both(lambda _: "x" * 1999)
def test_a_result_over_the_limit_is_unknown(executor: Executor, step: Callable[..., Any]) -> None:
    """With the numbers."""
    assert outcome_of(executor, step) == Unknown("the result is 2001 bytes of JSON, the limit is 2000")


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
    assert outcome_of(executor, step) == outcome
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


def test_an_async_step_is_stopped_when_its_time_is_over(executor: Executor) -> None:
    """It is cancelled at its next await, and nobody knows what it did before."""
    ended = threading.Event()

    async def step() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    late = Unknown("TimeoutError: ", ("TimeoutError", "OSError", "Exception"))
    assert outcome_of(executor, step, timeout_s=0.05) == late
    assert ended.wait(TIMEOUT_S)


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

    async def step() -> int:
        return 1

    assert outcome_of(executor, step) == Completed(1)
    loop = executor._loop
    assert loop is not None
    executor.close()
    for thread in threading.enumerate():
        if thread.name == "saga-es-asyncio":
            thread.join(TIMEOUT_S)
    closed = loop.is_closed()
    loop.close()
    assert closed


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
        (Answer(503, {"retry-after": "3"}, b"down"), Unknown("HTTP 503: down", ("HTTP 503",))),
        (NotSent("refused"), Unavailable("refused")),
        (AnswerLost("reset"), Unknown("reset")),
        (
            Answer(200, {}, b'"' + b"x" * 1999 + b'"'),
            Unknown("the result is 2001 bytes of JSON, the limit is 2000"),
        ),
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

"""Calls participants: the only place where a saga touches the world.

Owns: turning a call into exactly one outcome. Refuses: to try again; that is decided in the core. Cannot
promise: that a call which timed out has not acted.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import msgspec

from saga_es.core.outcomes import ChildReady, Completed, Direction, Outcome, Rejected, Skipped, Unavailable, Unknown
from saga_es.definition.requests import Function, Request
from saga_es.definition.steps import Callee, is_async, needs
from saga_es.errors import StepRejected
from saga_es.runtime.calls.outcomes import kinds_of, outcome_of_answer, outcome_of_error, outcome_of_probe, text
from saga_es.runtime.calls.pool import Pool, Work
from saga_es.runtime.calls.transport import NotSent, Transport
from saga_es.store.log.codec import DEEPEST, DEFAULT_PAYLOAD_LIMIT, is_too_deep


class Call(msgspec.Struct):
    """One attempt at one of a step's calls.

    Attributes:
        callee: What is called; None when there is only a condition to look at.
        key: The idempotency key.
        given: What the callee and the condition may ask for, by name.
        condition: Says whether the call is wanted at all.
        child_id: What is called makes the input of a saga, which is to have this id.
        is_given_up: Nobody waits for its answer any more; all else never changes.
    """

    saga_id: str
    step: str
    direction: Direction
    attempt: int
    callee: Callee | None
    key: str
    given: Mapping[str, Any]
    timeout_s: float
    condition: Function | None = None
    child_id: str | None = None
    is_given_up: bool = False


CLOSE_TIMEOUT_S = 2.0

WAITING_FOR_A_THREAD = 8
"""Calls for each thread that may wait for it when sagas are taken over: calls of 3 s still begin within their 30 s."""

MOST_AWAITED = 1000
"""`async def` calls under way when sagas are taken over."""

Returned = Callable[[Call, Outcome], None]


class Executor:
    """Performs calls: `def` on threads, `async def` on one event loop, requests on pooled connections.

    Args:
        transports: How each participant is reached, by name.
        threads: How many `def` steps and requests may be under way at once.
        payload_limit: Bytes of JSON a result may take.
    """

    def __init__(
        self,
        transports: Mapping[str, Transport] | None = None,
        threads: int = 32,
        payload_limit: int = DEFAULT_PAYLOAD_LIMIT,
    ) -> None:
        self._transports = transports or {}
        self._pool = Pool(threads)
        self._threads = threads
        self._awaited = self._came_back = 0  # coroutines; each number is written by one thread
        self._payload_limit = payload_limit
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loop_thread: threading.Thread

    @property
    def capacity(self) -> int:
        """How many more sagas may be taken over now; 0 until it is worth the look.

        A call that waits for a thread for longer than its time-out counts as not made: what was interrupted can wait
        better where it is, in the log.
        """
        most_waiting = WAITING_FOR_A_THREAD * self._threads
        waiting, awaited = len(self._pool), self._awaited - self._came_back
        if 2 * waiting > most_waiting or 2 * awaited > MOST_AWAITED:
            return 0
        return min(most_waiting - waiting, MOST_AWAITED - awaited)

    def perform(self, calls: Iterable[Call], returned: Returned) -> list[tuple[Call, Exception]]:
        """Start calls, in this order; `returned` is told the outcome of each once, from another thread.

        They are handed over together: to wake a thread costs more than a short step.

        Returns:
            Those that could not be started, and why.
        """
        work: list[Work] = []
        failed: list[tuple[Call, Exception]] = []
        now = time.monotonic()
        for call in calls:
            if is_async(call.callee):
                try:
                    asyncio.run_coroutine_threadsafe(self._await(call, returned), self._event_loop())
                    self._awaited += 1
                except Exception as error:  # noqa: BLE001 (whatever it is, the others' calls are made)
                    failed.append((call, error))
            else:
                work.append(partial(self._run, call, returned, now + call.timeout_s))
        self._pool.submit(*work)
        return failed

    def give_up(self, call: Call) -> None:
        """Do not begin the call any more; if it has begun, let no other wait for its thread."""
        call.is_given_up = True
        self._pool.give_up(lambda work: isinstance(work, partial) and work.args[0] is call)

    def close(self) -> None:
        """Take no more calls; those under way are left to themselves."""
        self._pool.close()
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._loop_thread.join(CLOSE_TIMEOUT_S)
            if not self._loop_thread.is_alive():
                self._loop.close()

    def _run(self, call: Call, returned: Returned, expires: float) -> None:
        try:
            # Given up while it waited for a thread, or about to be: it must not act any more.
            if call.is_given_up or time.monotonic() >= expires:
                outcome: Outcome = Unavailable(f"no thread was free within {call.timeout_s:g} s")
            else:
                outcome = self.answer(call)
        except BaseException as error:  # noqa: BLE001 (whatever a step raises is an outcome, also SystemExit)
            outcome = outcome_of_error(error)
        returned(call, outcome)

    async def _await(self, call: Call, returned: Returned) -> None:
        assert callable(call.callee), "only functions are awaited"
        try:
            outcome = Unavailable("given up before it began") if call.is_given_up else _unwanted(call)
            if outcome is None:
                async with asyncio.timeout(call.timeout_s):
                    outcome = self._finished(call, await call.callee(**_arguments(call, call.callee)))
        except BaseException as error:  # noqa: BLE001 (whatever a step raises is an outcome, also CancelledError)
            outcome = outcome_of_error(error)
        self._came_back += 1
        returned(call, outcome)

    def answer(self, call: Call) -> Outcome:
        """Make a call that is not `async`, in this thread; raises what the callee raises."""
        unwanted = _unwanted(call)
        if unwanted is not None:
            return unwanted
        match call.callee:
            case None:
                return Completed()
            case Request() as request:
                return self._request(call, request)
            case function:
                return self._finished(call, function(**_arguments(call, function)))

    def _request(self, call: Call, request: Request) -> Outcome:
        transport = self._transports.get(request.participant)
        if transport is None:
            raise NotSent(f"no participant named {request.participant!r} is known here")
        headers = {"Idempotency-Key": call.key, "X-Saga-Id": call.saga_id, "X-Saga-Step": call.step}
        try:
            given = _arguments(call, request)
            path, value = request.url_path(given), request.json_body(given)
            body = None if value is None else msgspec.json.encode(value)
        except Exception as error:  # noqa: BLE001 (whatever a body function raises: nothing was sent, nor would be)
            why = text(f"the request could not be made: {type(error).__name__}: {text(error)}")
            return Unknown(why) if call.direction is Direction.PROBE else Rejected(why)
        if body is not None:
            headers["Content-Type"] = "application/json"
        answer = transport.send(request.method, path, headers, body, call.timeout_s)
        outcome = outcome_of_probe(answer) if call.direction is Direction.PROBE else outcome_of_answer(answer)
        return self._completed(outcome.result) if isinstance(outcome, Completed) else outcome

    def _finished(self, call: Call, result: Any) -> Outcome:
        if call.child_id is None:
            return self._completed(result)
        if not isinstance(result, dict):
            return Rejected(f"the input of a saga is a dict, not {type(result).__name__}")
        completed = self._completed(result)
        return ChildReady(call.child_id, completed.result) if isinstance(completed, Completed) else completed

    def _completed(self, result: Any) -> Outcome:
        """The result as it will be read back from the log: what a later step sees must not depend on a crash."""
        encoded = msgspec.json.encode(result)
        if len(encoded) > self._payload_limit:
            return Unknown(f"the result is {len(encoded)} bytes of JSON, the limit is {self._payload_limit}")
        if is_too_deep(encoded):
            return Unknown(f"the result holds more than {DEEPEST} lists and objects in each other")
        return Completed(msgspec.json.decode(encoded))

    def _event_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._loop_thread = threading.Thread(target=self._loop.run_forever, name="saga-es-asyncio", daemon=True)
            self._loop_thread.start()
        return self._loop


def _unwanted(call: Call) -> Outcome | None:
    """Why the call is not made; None when it is to be made."""
    if call.condition is None:
        return None
    try:
        return None if call.condition(**_arguments(call, call.condition)) else Skipped()
    except StepRejected as error:
        return Rejected(text(error))
    except Exception as error:  # noqa: BLE001 (whatever a condition raises: nothing was called yet)
        return Unavailable(text(f"the condition failed: {type(error).__name__}: {text(error)}"), kinds=kinds_of(error))


def _arguments(call: Call, callee: Callee) -> dict[str, Any]:
    """What the function asks for, as copies: a step that changes its input must not change the saga's."""
    return {name: msgspec.json.decode(msgspec.json.encode(call.given[name])) for name in needs(callee)}

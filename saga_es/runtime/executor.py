"""Calls participants: the only place where a saga touches the world.

Owns: turning a call into exactly one outcome. Refuses: to try again; that is decided in the core. Cannot
promise: that a call which timed out has not acted.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import msgspec

from saga_es.core.facts import Completed, Direction, Outcome, Rejected, Unavailable, Unknown
from saga_es.definition import Callee, needs
from saga_es.request import Request
from saga_es.runtime.answers import outcome_of_answer, outcome_of_error, text
from saga_es.runtime.pool import Pool
from saga_es.runtime.transport import NotSentError, Transport
from saga_es.store.codec import DEFAULT_PAYLOAD_LIMIT


class Call(msgspec.Struct, frozen=True):
    """One attempt at one of a step's two calls.

    Attributes:
        key: The idempotency key.
        given: What the callee may ask for, by name.
    """

    saga_id: str
    step: str
    direction: Direction
    attempt: int
    callee: Callee
    key: str
    given: Mapping[str, Any]
    timeout_s: float


CLOSE_PATIENCE_S = 2.0

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
        self._payload_limit = payload_limit
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loop_thread: threading.Thread

    def perform(self, call: Call, returned: Returned) -> None:
        """Start the call; `returned` is told its outcome once, from another thread."""
        if not isinstance(call.callee, Request) and inspect.iscoroutinefunction(call.callee):
            asyncio.run_coroutine_threadsafe(self._await(call, returned), self._event_loop())
        else:
            self._pool.submit(partial(self._run, call, returned, time.monotonic() + call.timeout_s))

    def close(self) -> None:
        """Take no more calls; those under way are left to themselves."""
        self._pool.close()
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._loop_thread.join(CLOSE_PATIENCE_S)
            if not self._loop_thread.is_alive():
                self._loop.close()

    def _run(self, call: Call, returned: Returned, expires: float) -> None:
        try:
            if time.monotonic() >= expires:  # given up while it waited for a thread: it must not act any more
                outcome: Outcome = Unavailable(f"no thread was free within {call.timeout_s:g} s")
            elif isinstance(call.callee, Request):
                outcome = self._request(call, call.callee)
            else:
                outcome = self._completed(call.callee(**_arguments(call)))
        except BaseException as error:  # noqa: BLE001 (whatever a step raises is an outcome, also SystemExit)
            outcome = outcome_of_error(error)
        returned(call, outcome)

    async def _await(self, call: Call, returned: Returned) -> None:
        assert not isinstance(call.callee, Request)
        try:
            async with asyncio.timeout(call.timeout_s):
                outcome = self._completed(await call.callee(**_arguments(call)))
        except BaseException as error:  # noqa: BLE001 (whatever a step raises is an outcome, also CancelledError)
            outcome = outcome_of_error(error)
        returned(call, outcome)

    def _request(self, call: Call, request: Request) -> Outcome:
        transport = self._transports.get(request.participant)
        if transport is None:
            raise NotSentError(f"no participant named {request.participant!r} is known here")
        headers = {"Idempotency-Key": call.key, "X-Saga-Id": call.saga_id, "X-Saga-Step": call.step}
        try:
            given = _arguments(call)
            path, value = request.url_path(given), request.json_body(given)
            body = None if value is None else msgspec.json.encode(value)
        except Exception as error:  # noqa: BLE001 (whatever a body function raises: nothing was sent, nor would be)
            return Rejected(text(f"the request could not be made: {type(error).__name__}: {text(error)}"))
        if body is not None:
            headers["Content-Type"] = "application/json"
        outcome = outcome_of_answer(transport.send(request.method, path, headers, body, call.timeout_s))
        return self._completed(outcome.result) if isinstance(outcome, Completed) else outcome

    def _completed(self, result: Any) -> Outcome:
        """The result as it will be read back from the log: what a later step sees must not depend on a crash."""
        encoded = msgspec.json.encode(result)
        if len(encoded) > self._payload_limit:
            return Unknown(f"the result is {len(encoded)} bytes of JSON, the limit is {self._payload_limit}")
        return Completed(msgspec.json.decode(encoded))

    def _event_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._loop_thread = threading.Thread(target=self._loop.run_forever, name="saga-es-asyncio", daemon=True)
            self._loop_thread.start()
        return self._loop


def _arguments(call: Call) -> dict[str, Any]:
    """What the function asks for, as copies: a step that changes its input must not change the saga's."""
    return {name: msgspec.json.decode(msgspec.json.encode(call.given[name])) for name in needs(call.callee)}

"""One call, in the thread that asks: arguments, condition, callee, and what the answer comes to."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache, partial
from types import NoneType
from typing import Any, cast
from urllib.parse import quote

import msgspec

from saga_es.core.outcomes import (
    ChildReady,
    Completed,
    Direction,
    Outcome,
    Rejected,
    Skipped,
    Unavailable,
    Unknown,
    Unrecordable,
)
from saga_es.core.plan import step_of
from saga_es.core.typed import Reader
from saga_es.core.values import Unfaithful, door, door_for_results
from saga_es.definition import signatures
from saga_es.definition.annotations import CONTEXT, dumped, readers_of, typed
from saga_es.definition.requests import Form, Request
from saga_es.definition.signatures import Asked, Function, asked_by
from saga_es.definition.steps import known_names
from saga_es.errors import StepRejected
from saga_es.logs import CALL
from saga_es.runtime.calls.accepted import Sent, end_of, outcome_of_end
from saga_es.runtime.calls.answers import Answer, NotSent
from saga_es.runtime.calls.around import Wrapping
from saga_es.runtime.calls.context import StepContext
from saga_es.runtime.calls.outcomes import kinds_of, outcome_of_answer, outcome_of_probe, text
from saga_es.runtime.calls.port import Call
from saga_es.runtime.calls.transport import AwaitedTransport, HttpTransport, Transport
from saga_es.store.log.codec import DEFAULT_PAYLOAD_LIMIT

_PLAIN = frozenset({NoneType, bool, int, float, str, list, dict})
"""Types of results that need not be looked at more closely: this is on the path of every call."""

_UNCHANGING = frozenset({NoneType, bool, str})
"""Types of values that no step can change, and that JSON gives back as they are."""


class Awaited(msgspec.Struct, frozen=True):
    """A call gave this instead of its result: the result has to be awaited on an event loop.

    Attributes:
        is_outcome: Whether what is awaited is the outcome of the call.
    """

    result: Awaitable[Any]
    is_outcome: bool = False

    def drop(self) -> None:
        """Nobody awaits it any more."""
        if inspect.iscoroutine(self.result):
            self.result.close()


class Caller:
    """Makes calls, one at a time.

    Args:
        transports: How each participant is reached, by name.
        payload_limit: Bytes of JSON a result may take.
        around: What stands around every call.

    Attributes:
        reply_url: Gives the URL at which a participant may tell what a call came to; None: there is none.
        taken: Is told of a call that a participant took, and whose end is awaited from now on.
    """

    def __init__(
        self,
        transports: Mapping[str, Transport] | None = None,
        payload_limit: int = DEFAULT_PAYLOAD_LIMIT,
        around: Wrapping | None = None,
    ) -> None:
        self._around = around or None
        self._transports = transports or {}
        self._payload_limit = payload_limit
        self.reply_url: Callable[[Call], str] | None = None
        self.taken: Callable[[Call], None] = lambda _: None

    def is_over_http(self, call: Call) -> bool:
        """Whether the call is a request over HTTP."""
        callee = call.callee
        return isinstance(callee, Request) and isinstance(self._transports.get(callee.participant), HttpTransport)

    def needs_thread(self, call: Call) -> bool:
        """Whether a request over HTTP runs code of the application, or reads files, before it is sent."""
        assert isinstance(call.callee, Request), "it goes over HTTP"
        transport = self._transports[call.callee.participant]
        may_block = not isinstance(transport, HttpTransport) or transport.may_block
        return may_block or not (call.callee.body is None and call.condition is None and self._around is None)

    def answer(self, call: Call) -> Outcome | Awaited:
        """Make a call that is not `async`, in this thread; raises what the callee raises."""
        before = CALL.set(call)
        try:
            return self._answer(call) if self._around is None else self._around.call(call, lambda: self._answer(call))
        finally:
            CALL.reset(before)

    def _answer(self, call: Call) -> Outcome | Awaited:
        if call.condition is not None and (unwanted := _unwanted(call)) is not None:
            return unwanted
        match call.callee:
            case None:
                return Completed()
            case Request() as request:
                return self._request(call, request)
            case function:
                result = _called(call, function)
                if type(result) not in _PLAIN and inspect.isawaitable(result):
                    return Awaited(result)
                return self._completed(call, result) if call.child_id is None else self._finished(call, result)

    async def await_answer(self, call: Call) -> Outcome:
        """Make a call that is `async`; raises what the callee raises. Its time is kept by whoever asked for it."""
        CALL.set(call)  # of this task
        if self._around is None:
            return await self._await_answer(call)
        return await self._around.await_call(call, lambda: self._await_answer(call))

    async def await_result(self, call: Call, awaited: Awaited) -> Outcome:
        """Await what a call returned; raises what it raises."""
        CALL.set(call)  # of this task
        if self._around is None:
            return await self._await_result(call, awaited)
        return await self._around.await_call(call, lambda: self._await_result(call, awaited))

    async def _await_answer(self, call: Call) -> Outcome:
        if isinstance(call.callee, Request):
            answered = self._request(call, call.callee)
            return await self._await_result(call, answered) if isinstance(answered, Awaited) else answered
        assert callable(call.callee), "only functions and requests are awaited"
        unwanted = _unwanted(call)
        if unwanted is not None:
            return unwanted
        return await self._await_result(call, Awaited(_called(call, call.callee)))

    async def _await_result(self, call: Call, awaited: Awaited) -> Outcome:
        result = await awaited.result
        if awaited.is_outcome:
            return cast("Outcome", result)
        while type(result) not in _PLAIN and inspect.isawaitable(result):
            result = await result
        return self._finished(call, result)

    def _request(self, call: Call, request: Request) -> Outcome | Awaited:
        """Send a request; a reply from a queue is awaited on an event loop, unless something stands around the call."""
        transport = self._transports.get(request.participant)
        if transport is None:
            raise NotSent(f"no participant named {request.participant!r} is known here")
        headers = self._headers(call, request)
        try:
            given = _arguments(call, request.asked)
            path, value = request.url_path(given), request.json_body(given)
            body = None if value is None else door_for_results(value, "body")[0]
        except Exception as error:  # noqa: BLE001 (whatever a body function raises: nothing was sent, nor would be)
            why = text(f"the request could not be made: {type(error).__name__}: {text(error)}")
            return Unknown(why) if call.direction is Direction.PROBE else Rejected(why)
        if body is not None:
            headers["Content-Type"] = "application/json"
        self.sends(call, transport, path)
        sent = Sent(transport, request, path, headers)
        if self._around is None and isinstance(transport, HttpTransport):
            send = transport.begin(request.method, path, headers, body, call.timeout_s)
            return Awaited(self._replied(call, sent, send), is_outcome=True)
        if self._around is None and isinstance(transport, AwaitedTransport):
            exchange = partial(transport.exchange, request.method, path, headers, body, call.timeout_s)
            return Awaited(self._replied(call, sent, exchange), is_outcome=True)
        answer = transport.send(request.method, path, headers, body, call.timeout_s)
        if sent.is_taken_by(answer):
            return Awaited(self._end(call, sent, answer), is_outcome=True)
        return self._meaning(call, request, answer)

    def _headers(self, call: Call, request: Request) -> dict[str, str]:
        headers = {
            "Idempotency-Key": call.key,
            "X-Saga-Id": _as_header(call.saga_id),
            "X-Saga-Step": _as_header(call.step),
        }
        if call.trace is not None:
            headers |= call.trace.headers
        if request.accepts_202:
            headers["Prefer"] = "respond-async"  # RFC 7240, 4.1
            if self.reply_url is not None:
                headers["X-Saga-Reply-To"] = self.reply_url(call)
        return headers

    async def _replied(self, call: Call, sent: Sent, exchange: Callable[[], Awaitable[Answer]]) -> Outcome:
        answer = await exchange()
        if sent.is_taken_by(answer):
            return await self._end(call, sent, answer)
        return self._meaning(call, sent.request, answer)

    async def _end(self, call: Call, sent: Sent, taken: Answer) -> Outcome:
        """What a call comes to that the participant took. It is given up when its reply is in the log."""
        self.answers(call, taken)
        self.taken(call)
        if self.reply_url is not None and "location" not in taken.headers:
            await asyncio.get_running_loop().create_future()
        return self._meaning(call, sent.request, await end_of(sent, taken), outcome_of_end)

    def _meaning(
        self,
        call: Call,
        request: Request,
        answer: Answer,
        read: Callable[[Answer, Form], Outcome] = outcome_of_answer,
    ) -> Outcome:
        self.answers(call, answer)
        outcome = (outcome_of_probe if call.direction is Direction.PROBE else read)(answer, request.answer)
        match outcome:
            case Completed(result):
                return self._completed(call, result)
            case Unrecordable(why):
                return _unrecordable(call, answer.body, why)
            case _:
                return outcome

    def sends(self, call: Call, transport: Transport, path: str) -> None:
        """Hear of a request that is sent now."""

    def answers(self, call: Call, answer: Answer) -> None:
        """Hear of an answer that came."""

    def _finished(self, call: Call, result: Any) -> Outcome:
        if call.child_id is None:
            return self._completed(call, result)
        try:
            encoded, given = door(result, "input")
        except Unfaithful as unfaithful:
            return Rejected(text(f"the child saga was not started: {unfaithful}"))
        if not isinstance(given, dict):
            return Rejected(f"the input of a saga is a dict, not {type(result).__name__}")
        if len(encoded) > self._payload_limit:
            return Rejected(f"the child saga was not started: its input is {self._too_large(encoded)}")
        return ChildReady(call.child_id, given)

    def _completed(self, call: Call, result: Any) -> Outcome:
        """The result as it will be read back from the log: what a later step sees must not depend on a crash.

        What cannot be recorded was done all the same.
        """
        if call.direction is Direction.COMPENSATION:  # nobody asks for what it returned
            return Completed()
        try:
            if type(result) not in _PLAIN:
                result = dumped(call.callee, result)
            encoded, recorded = door_for_results(result, "result")
        except Unfaithful as unfaithful:
            return _unrecordable(call, result, str(unfaithful))
        if len(encoded) > self._payload_limit:
            return _unrecordable(call, result, f"result is {self._too_large(encoded)}")
        return Completed(recorded)

    def _too_large(self, encoded: bytes) -> str:
        return (
            f"{len(encoded)} bytes of JSON, the limit is {self._payload_limit}; "
            "store a reference instead, or raise SAGA_ES_PAYLOAD_LIMIT"
        )


def _unrecordable(call: Call, result: Any, why: str) -> Unrecordable:
    asked = "is known to have acted" if call.direction is Direction.PROBE else "acted"
    kind = type(result).__qualname__
    return Unrecordable(text(f"step {call.step!r} {asked}, and its result (of type {kind}) cannot be recorded: {why}"))


def _as_header(text: str) -> str:
    """A text as the value of a header: one that HTTP could not carry as it is, is quoted like a part of a URL."""
    is_plain = text.isascii() and text.isprintable() and " " not in text
    return text if is_plain else quote(text, safe="!$&'()*+,-./:;=?@[]_~")


def _unwanted(call: Call) -> Outcome | None:
    """Why the call is not made; None when it is to be made."""
    if call.condition is None:
        return None
    try:
        holds = _called(call, call.condition)
        if type(holds) not in _PLAIN and inspect.isawaitable(holds):
            Awaited(holds).drop()
            return Rejected("the condition returned an awaitable; a condition is a `def` that returns a value")
        return None if holds else Skipped()
    except StepRejected as error:
        return Rejected(text(error))
    except Exception as error:  # noqa: BLE001 (whatever a condition raises: nothing was called yet)
        return Unavailable(text(f"the condition failed: {type(error).__name__}: {text(error)}"), kinds=kinds_of(error))


def _called(call: Call, function: Function) -> Any:
    try:
        its, readers = _asked_and_read(function)
    except TypeError:  # the function is not hashable
        its, readers = asked_by(function), readers_of(function)
    asks = CONTEXT in its.needs or CONTEXT in its.may_have
    given = _with_context(call, its) if asks and CONTEXT not in call.given else _arguments(call, its)
    try:
        values = typed(function, given) if readers else given
    except ValueError as error:  # the function was not called; of a probe, a refusal would say something else
        if call.direction is Direction.PROBE:
            raise
        raise StepRejected(str(error)) from error
    return signatures.call(function, its, values) if its.by_place else function(**values)


@lru_cache(4096)  # each call comes here
def _asked_and_read(function: Function) -> tuple[Asked, Mapping[str, Reader]]:
    return asked_by(function), readers_of(function)


def _arguments(call: Call, its: Asked) -> dict[str, Any]:
    """What the function asks for, as copies: a step that changes its input must not change the saga's.

    A parameter with a default is given too, if there is a value of that name at this point of the plan.
    """
    names = its.needs
    if its.may_have:
        known = known_names(call.plan, step_of(call.step), call.direction) if call.plan else call.given.keys()
        names += tuple(name for name in its.may_have if name in known and name in call.given)
    given: dict[str, Any] = {}
    for name in names:
        value = call.given[name]
        given[name] = value if type(value) in _UNCHANGING else msgspec.json.decode(msgspec.json.encode(value))
    return given


def _with_context(call: Call, its: Asked) -> dict[str, Any]:
    """The same, and the call's context where it is asked for; a step of that name comes first."""
    needs, may_have = (tuple(name for name in names if name != CONTEXT) for names in (its.needs, its.may_have))
    return _arguments(call, Asked(needs, may_have)) | {CONTEXT: StepContext(call)}

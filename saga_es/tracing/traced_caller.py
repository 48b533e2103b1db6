"""Makes calls as `Caller` does, each within a span: the attempt, the compensation or the probe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import assert_never

from opentelemetry.trace import Span, SpanKind, Status, StatusCode, use_span

from saga_es.core.outcomes import (
    ChildReady,
    Completed,
    Outcome,
    Rejected,
    Skipped,
    Unavailable,
    Unknown,
    Unrecordable,
)
from saga_es.definition.requests import Request
from saga_es.runtime.calls.answers import Answer
from saga_es.runtime.calls.around import Wrapping
from saga_es.runtime.calls.caller import Awaited, Caller
from saga_es.runtime.calls.outcomes import MEANT, outcome_of_error, text
from saga_es.runtime.calls.port import Call
from saga_es.runtime.calls.transport import HttpTransport, Transport
from saga_es.store.log.codec import DEFAULT_PAYLOAD_LIMIT
from saga_es.tracing.spans import Spans

FIRST_ERROR = 400
"""The least status that is an error of a client's span (RFC 9110, 15.5)."""


class _AwaitedInSpan(Awaited, frozen=True, kw_only=True):
    """What has to be awaited, and the span that has begun."""

    span: Span

    def drop(self) -> None:
        """Nobody awaits it any more."""
        super().drop()
        self.span.end()


class TracedCaller(Caller):
    """Makes calls within spans.

    Args:
        spans: Begins the spans.
        transports: As for `Caller`; so are the others.
    """

    def __init__(
        self,
        spans: Spans,
        transports: Mapping[str, Transport] | None = None,
        payload_limit: int = DEFAULT_PAYLOAD_LIMIT,
        around: Wrapping | None = None,
    ) -> None:
        super().__init__(transports, payload_limit, around)
        self._spans = spans

    def answer(self, call: Call) -> Outcome | Awaited:
        """See `Caller.answer`."""
        with self._attempt(call) as span:
            answered = super().answer(call)
            if isinstance(answered, Awaited):
                return _AwaitedInSpan(answered.result, answered.is_outcome, span=span)
            _end(span, call, answered)
        return answered

    async def await_answer(self, call: Call) -> Outcome:
        """See `Caller.await_answer`."""
        with self._attempt(call) as span:
            outcome = await super().await_answer(call)
            _end(span, call, outcome)
        return outcome

    async def await_result(self, call: Call, awaited: Awaited) -> Outcome:
        """See `Caller.await_result`."""
        assert isinstance(awaited, _AwaitedInSpan), "it comes from `answer`"
        with _within(awaited.span, call) as span:
            outcome = await super().await_result(call, awaited)
            _end(span, call, outcome)
        return outcome

    def _attempt(self, call: Call) -> AbstractContextManager[Span]:
        kind = SpanKind.CLIENT if isinstance(call.callee, Request) else SpanKind.INTERNAL
        call.span = self._spans.attempt(call, kind, _callee(call))
        return _within(call.span, call)

    def sends(self, call: Call, transport: Transport, path: str) -> None:
        """See `Caller.sends`; the attributes are those of a client of HTTP."""
        call.span.set_attributes(_place(transport, path.partition("?")[0]))  # a query may hold what is secret

    def answers(self, call: Call, answer: Answer) -> None:
        """See `Caller.answers`."""
        span: Span = call.span
        span.set_attribute("http.response.status_code", answer.status)
        if answer.status >= FIRST_ERROR:
            span.set_attribute("error.type", str(answer.status))


def _callee(call: Call) -> dict[str, str | int]:
    """What is called, in the semantic conventions."""
    match call.callee:
        case None:
            return {}
        case Request(participant, method, path):
            about: dict[str, str | int] = {"saga_es.participant": participant, "http.request.method": method}
            about["url.template"] = path.partition("?")[0]
            return about if call.attempt == 1 else {**about, "http.request.resend_count": call.attempt - 1}
        case function:
            name = getattr(function, "__qualname__", type(function).__qualname__)
            return {"code.function.name": f"{getattr(function, '__module__', type(function).__module__)}.{name}"}


def _place(transport: Transport, path: str) -> dict[str, str | int]:
    """Where a request goes; within this process there is no server."""
    if not isinstance(transport, HttpTransport):
        return {"url.path": path}
    where = transport.address
    host = f"[{where.host}]" if ":" in where.host else where.host
    base = f"{'https' if where.is_tls else 'http'}://{host}:{where.port}{where.prefix}"
    return {"server.address": where.host, "server.port": where.port, "url.full": base + path}


@contextmanager
def _within(span: Span, call: Call) -> Iterator[Span]:
    """The span is the present one in this block, and ends with what the block raises."""
    with use_span(span, end_on_exit=False, record_exception=False, set_status_on_exception=False):
        try:
            yield span
        except BaseException as error:
            if not isinstance(error, MEANT):
                span.record_exception(error)
            span.set_attribute("error.type", _name(type(error)))
            _end(span, call, outcome_of_error(error))
            raise


def _end(span: Span, call: Call, outcome: Outcome) -> None:
    name, error = _meaning(outcome)
    span.set_attribute("saga_es.outcome", name)
    if call.is_given_up:  # nobody heard the answer: the log has what was made of its silence
        span.set_attribute("saga_es.given_up", value=True)
    if error is not None:
        span.set_status(Status(StatusCode.ERROR, error))
    span.end()


def _meaning(outcome: Outcome) -> tuple[str, str | None]:
    """The name of an outcome, and its error if it is one."""
    match outcome:
        case Completed() | ChildReady():
            return "completed", None
        case Skipped():
            return "skipped", None
        case Rejected(error) | Unavailable(error) | Unknown(error) | Unrecordable(error):
            return type(outcome).__name__.lower(), text(error)
        case _:
            assert_never(outcome)


def _name(kind: type[BaseException]) -> str:
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"

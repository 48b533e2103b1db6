"""The port of tracing: what the runtime tells whoever makes spans, and which trace it gets for the log.

Without instrumentation, a trace that comes in is kept and given on as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from saga_es.core import events as e
from saga_es.core.commands import Command
from saga_es.core.state import SagaState
from saga_es.core.trace import Trace
from saga_es.logs import CALL
from saga_es.runtime.calls.port import Call

Incoming = Callable[[], Trace | None]
"""Finds the trace of the request that this thread answers."""


class Tracing(Protocol):
    """Is told of starts, commands and takeovers. Calls are told by who makes them (`runtime/calls/caller.py`)."""

    def starting(self, saga: str, saga_id: str, given: Trace | None) -> AbstractContextManager[Trace | None]:
        """A saga is started in this block; gives the trace that the log is to keep.

        Args:
            saga: The name of the definition.
            saga_id: The id that the saga gets.
            given: The trace that the caller names.
        """
        ...

    def commanding(self, saga_id: str, command: Command) -> AbstractContextManager[None]:
        """A command is given in this block."""
        ...

    def child(self, state: SagaState, child: e.ChildStarted) -> Trace | None:
        """A saga starts its child; gives the trace that the child is to keep."""
        ...

    def taken_over(self, state: SagaState, previous: str | None) -> None:
        """This worker has become the owner of a saga; None: it had none."""
        ...


class PassedOn:
    """Makes no spans: the trace of a request, or of the step that starts a saga, is passed on.

    Args:
        incoming: Finds the trace of the present request.
    """

    def __init__(self, incoming: Incoming | None = None) -> None:
        self.incoming = incoming

    def starting(self, _saga: str, _saga_id: str, given: Trace | None) -> AbstractContextManager[Trace | None]:
        """See `Tracing.starting`."""
        return nullcontext(given or self.present())

    def commanding(self, _saga_id: str, _command: Command) -> AbstractContextManager[None]:
        """See `Tracing.commanding`."""
        return nullcontext()

    def child(self, state: SagaState, _child: e.ChildStarted) -> Trace | None:
        """See `Tracing.child`."""
        return state.trace

    def taken_over(self, state: SagaState, previous: str | None) -> None:
        """See `Tracing.taken_over`."""

    def present(self) -> Trace | None:
        """The trace of the step that this thread performs, else of the request that it answers."""
        call = CALL.get()
        if isinstance(call, Call):
            return call.trace
        return None if self.incoming is None else self.incoming()

"""A saga that runs here, and what one batch proposes to append to it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import msgspec
import structlog

from saga_es.core.decide import advance
from saga_es.core.events import SagaEvent
from saga_es.core.facts import CannotGoOn, Fact
from saga_es.core.state import SagaState
from saga_es.runtime.handle import Handle
from saga_es.runtime.inbox import Ask

logger = structlog.get_logger("saga_es")


class Run:
    """A saga this engine owns: its state as of the last commit, and who waits for its end."""

    __slots__ = ("handles", "state")

    def __init__(self, state: SagaState, handles: Iterable[Handle] = ()) -> None:
        self.state = state
        self.handles = list(handles)


class Proposal:
    """What one batch wants to append to one saga: the facts so far, their events, and the state they lead to.

    Attributes:
        base: The state it was decided on; what it appends comes right after.
        asks: The orders among the facts, whose givers wait.
    """

    __slots__ = ("asks", "base", "events", "facts", "run", "state")

    def __init__(self, run: Run) -> None:
        self.run = run
        self.base = self.state = run.state
        self.facts: list[Fact] = []
        self.asks: list[Ask] = []
        self.events: list[SagaEvent] = []

    def order(self, ask: Ask, now: datetime) -> None:
        """Decide on an order.

        Raises:
            OrderRefused: The saga cannot follow it; nothing was decided.
        """
        events, self.state = advance(self.state, ask.order, now)
        self.asks.append(ask)
        self.events += events

    @property
    def first(self) -> Fact | None:
        """The fact that came first, apart from orders."""
        return self.facts[0] if self.facts else None

    def settle_asks(self) -> None:
        """Those who gave orders may know that they are in the log."""
        for ask in self.asks:
            ask.settle()

    def refuse_asks(self, error: Exception) -> None:
        """Those who gave orders may know that they are not."""
        for ask in self.asks:
            ask.settle(error)

    def add(self, fact: Fact, now: datetime) -> None:
        """Decide on one more fact, in the light of those before it; what cannot be decided is this saga's end alone."""
        try:
            events, state = advance(self.state, fact, now)
        except Exception as error:
            logger.exception("deciding failed", saga_id=self.state.saga_id, fact=repr(fact))
            cannot = CannotGoOn(f"deciding failed: {type(error).__name__}: {error}")
            events, state = advance(self.state, cannot, now)
        self.state = state
        self.facts.append(fact)
        self.events += events


def is_same_start(state: SagaState, saga: str, input_: object) -> bool:
    """Whether a saga that exists is the one a start asks for. Inputs are compared as JSON: `true` is not 1."""
    return state.plan.saga == saga and _canonical(state.input) == _canonical(input_)


def _canonical(value: object) -> bytes:
    return msgspec.json.encode(value, order="deterministic")

"""A saga that runs here, and what one batch proposes to append to it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import msgspec
import structlog

from saga_es.core.decide import decide
from saga_es.core.events import SagaEvent
from saga_es.core.facts import CannotGoOn, Fact
from saga_es.core.state import SagaState, fold
from saga_es.runtime.handle import Handle

logger = structlog.get_logger("saga_es")


class Run:
    """A saga this engine owns: its state as of the last commit, and who waits for its end."""

    __slots__ = ("handles", "state")

    def __init__(self, state: SagaState, handles: Iterable[Handle] = ()) -> None:
        self.state = state
        self.handles = list(handles)


class Proposal:
    """What one batch wants to append to one saga: the facts so far, their events, and the state they lead to."""

    __slots__ = ("events", "facts", "run", "state")

    def __init__(self, run: Run) -> None:
        self.run = run
        self.state = run.state
        self.facts: list[Fact] = []
        self.events: list[SagaEvent] = []

    def add(self, fact: Fact, now: datetime) -> None:
        """Decide on one more fact, in the light of those before it; what cannot be decided is this saga's end alone."""
        try:
            events = decide(self.state, fact, now)
            state = fold(self.state, events)
        except Exception as error:
            logger.exception("deciding failed", saga_id=self.state.saga_id, fact=repr(fact))
            events = decide(self.state, CannotGoOn(f"deciding failed: {type(error).__name__}: {error}"), now)
            state = fold(self.state, events)
        self.state = state
        self.facts.append(fact)
        self.events += events


def is_same_start(state: SagaState, saga: str, input_: object) -> bool:
    """Whether a saga that exists is the one a start asks for. Inputs are compared as JSON: `true` is not 1."""
    return state.plan.saga == saga and _canonical(state.input) == _canonical(input_)


def _canonical(value: object) -> bytes:
    return msgspec.json.encode(value, order="deterministic")

"""Participants, and the network between: the faults decide whether a call arrives, is lost, or arrives twice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import msgspec

from saga_es.core import events as e
from saga_es.core.migration import present_name
from saga_es.core.outcomes import Direction, Outcome, Rejected, Unavailable, Unknown
from saga_es.core.plan import step_of
from saga_es.runtime.calls.caller import Awaited, Caller
from saga_es.runtime.calls.outcomes import outcome_of_error
from saga_es.runtime.calls.port import Call
from saga_es.runtime.calls.transport import Transport
from saga_es.store.ports import Log
from saga_es.testing.faults import CallFault, Faults

ON_THE_WAY_S = 0.01
"""Seconds that a request or an answer travels."""

LATE_S = 5.0
"""Seconds after which a duplicated request arrives again."""

Answer = Callable[[Outcome], None]
At = Callable[[float, Callable[[], object]], None]


class Ran(msgspec.Struct, frozen=True):
    """A call that arrived, and its outcome there; its answer may still be lost."""

    saga_id: str
    step: str
    direction: Direction
    attempt: int
    key: str
    outcome: Outcome


class Network:
    """Carries calls to participants and answers back, in virtual time.

    Args:
        log: The log in which each call must have its intent.
        faults: What goes wrong on the way.
        at: Schedules something for so many seconds later.
        transports: The transports of request steps; they answer at once, in this thread.

    Attributes:
        history: The calls that arrived, in order.
        unfounded: Calls that were made without a committed intent; each is a fault.
    """

    def __init__(self, log: Log, faults: Faults, at: At, transports: Mapping[str, Transport]) -> None:
        self._log = log
        self._faults = faults
        self._at = at
        self._caller = Caller(transports)
        self.history: list[Ran] = []
        self.unfounded: list[Call] = []

    def send(self, call: Call, answer: Answer) -> None:
        """Send a call; it arrives a little later, and its answer a little later again."""
        if not self._has_intent(call):
            self.unfounded.append(call)
        fault = self._faults.call(call.step, call.direction, call.attempt)
        unarrived: dict[CallFault, Outcome] = {
            CallFault.REFUSED: Rejected("refused"),
            CallFault.BUSY: Unavailable("busy"),
            CallFault.REQUEST_LOST: Unknown("the request was lost"),
        }
        if fault in unarrived:
            self._at(ON_THE_WAY_S, partial(answer, unarrived[fault]))
        elif fault is CallFault.SLOW:
            self._at(call.timeout_s + 1, partial(self._arrive, call))
        else:
            self._at(ON_THE_WAY_S, partial(self._deliver, call, fault, answer))
        if fault is CallFault.DUPLICATED:
            self._at(LATE_S, partial(self._arrive, call))

    def _deliver(self, call: Call, fault: CallFault, answer: Answer) -> None:
        outcome = self._arrive(call)
        received = Unknown("the answer was lost") if fault is CallFault.ANSWER_LOST else outcome
        self._at(ON_THE_WAY_S, partial(answer, received))

    def _arrive(self, call: Call) -> Outcome:
        try:
            outcome = self._answer(call)
        except BaseException as error:  # noqa: BLE001 (whatever a step raises is an outcome)
            outcome = outcome_of_error(error)
        self.history.append(Ran(call.saga_id, call.step, call.direction, call.attempt, call.key, outcome))
        return outcome

    def _answer(self, call: Call) -> Outcome:
        """The callee's answer, in this thread, also when it has to be awaited."""
        outcome = self._caller.answer(call)
        return asyncio.run(self._caller.await_result(call, outcome)) if isinstance(outcome, Awaited) else outcome

    def _has_intent(self, call: Call) -> bool:
        kinds = {
            Direction.ACTION: e.StepStarted,
            Direction.COMPENSATION: e.CompensationStarted,
            Direction.PROBE: e.ProbeStarted,
        }
        events = [recorded.event for recorded in self._log.read(call.saga_id)]
        intents = [kinds[call.direction](name, call.attempt) for name in _names(call.step, events)]
        return any(event in intents for event in events)


def _names(step: str, events: Sequence[e.SagaEvent]) -> list[str]:
    """The name of a step or element, and the names that it had before migrations."""
    names = [step]
    for event in reversed(events):
        if isinstance(event, e.SagaMigrated):
            earlier = {now: was for was, now in event.renamed.items()}
            names += [present_name(name, earlier) for name in names if step_of(name) in earlier]
    return names

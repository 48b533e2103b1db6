"""A rehearsal: recorded sagas go through the code once more, as far as code decides without calling anybody.

The engine decides from the log alone; what the code adds to that are the conditions (`when=`). Each that was looked at
in a saga is looked at again, with the values of then: another answer, or an exception, is a difference. The conditions
of the present version are tried on the sagas of older ones, too, with what those know.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import msgspec
from msgspec.structs import replace

from saga_es.core import events as e
from saga_es.core.evolve import evolve
from saga_es.core.outcomes import Completed, Direction, Outcome, Rejected, Skipped, Unavailable
from saga_es.core.plan import step_of
from saga_es.core.state import DONE, SagaState
from saga_es.definition.annotations import CONTEXT
from saga_es.definition.signatures import Function, asked_by
from saga_es.definition.steps import Step
from saga_es.runtime.arguments import given, key_of
from saga_es.runtime.calls.caller import Caller
from saga_es.runtime.calls.port import Call
from saga_es.runtime.needed_code import CodeHere, Missing

SHOWN = 5
"""Ids that are shown for a difference."""


class Difference(msgspec.Struct):
    """A condition that decides otherwise than the log says, or fails.

    Attributes:
        what: The difference, in words that follow "the condition of step …".
        sagas: In how many sagas it was found.
        saga_ids: At most `SHOWN` of their ids.
    """

    saga: str
    plan_id: str
    step: str
    what: str
    sagas: int = 0
    saga_ids: list[str] = []


class Rehearsal:
    """Rehearses sagas with one code, one after the other.

    Attributes:
        sagas: How many were rehearsed.
    """

    def __init__(self, code: CodeHere) -> None:
        self._code = code
        self._caller = Caller()
        self._found: dict[tuple[str, str, str, str], Difference] = {}
        self.sagas = 0

    @property
    def names(self) -> Collection[str]:
        """The definitions that the code has."""
        return self._code.definitions

    @property
    def differences(self) -> list[Difference]:
        """What was found; the most frequent first."""
        return sorted(self._found.values(), key=lambda difference: -difference.sagas)

    def add(self, state: SagaState, events: Sequence[e.SagaEvent]) -> None:
        """Rehearse one saga.

        Args:
            state: The saga before its first event, with its plan.
            events: All its events.
        """
        self.sagas += 1
        found: dict[tuple[str, str, str], None] = {}
        for event in events:
            before, state = state, evolve(state, event)
            decided = _decided(before, event)
            if decided is not None:
                step, has_held = decided
                what = self._looked_at_again(before, step, has_held=has_held)
                found |= {(state.plan_id, step_of(step), what): None} if what else {}
        found |= dict.fromkeys(self._of_the_present(state))
        for key in found:
            one = self._found.setdefault((state.plan.saga, *key), Difference(state.plan.saga, *key))
            one.sagas += 1
            if len(one.saga_ids) < SHOWN:
                one.saga_ids.append(state.saga_id)

    def _looked_at_again(self, state: SagaState, step: str, *, has_held: bool) -> str | None:
        """How a condition differs from what the log says that it decided."""
        written = self._code.written(state, step, Direction.ACTION)
        if isinstance(written, Missing) or written.condition is None:  # the comparison tells what is missing
            return None
        match self._outcome(state, step, written.condition):
            case Completed() if not has_held:
                return "holds now, and the step was skipped"
            case Skipped() if has_held:
                return "does not hold now, and the step was done"
            case Rejected(error) | Unavailable(error):
                return f"fails: {error.removeprefix('the condition failed: ')}"
            case _:
                return None

    def _of_the_present(self, state: SagaState) -> Iterator[tuple[str, str, str]]:
        """The conditions of the present version that fail with what a saga of an older version knows."""
        saga = self._code.definitions.get(state.plan.saga)
        if saga is None or saga.plan_id == state.plan_id:
            return
        done = {step.name for step in state.plan.steps if state.is_done(step.name)}
        as_new = replace(state, plan=saga.plan, plan_id=saga.plan_id, steps={}, fan_outs={}, is_migrated=False)
        as_new = replace(as_new, steps={name: state.step(name) for name in done if state.step(name).status in DONE})
        for planned in saga.plan.steps:
            written = self._code.written(as_new, planned.name, Direction.ACTION)
            if not planned.condition or planned.over is not None or isinstance(written, Missing):
                continue
            if written.condition is None or not _knows_all(as_new, written.condition):
                continue
            if self._is_of(state, planned.name, written):
                continue
            outcome = self._outcome(as_new, planned.name, written.condition)
            if isinstance(outcome, Rejected | Unavailable):
                yield saga.plan_id, planned.name, f"fails: {outcome.error.removeprefix('the condition failed: ')}"

    def _is_of(self, state: SagaState, step: str, written: Step) -> bool:
        """Whether a saga's own plan has the same condition: then what it decided has been compared."""
        own = [planned for planned in state.plan.steps if planned.name == step and planned.condition]
        return bool(own) and self._code.written(state, step, Direction.ACTION) is written

    def _outcome(self, state: SagaState, step: str, condition: Function) -> Outcome:
        """What the condition decides: nothing else is called."""
        key = key_of(state, step, Direction.ACTION)
        call = Call(
            state.saga_id,
            step,
            Direction.ACTION,
            state.step(step).attempts,
            None,
            key,
            given(state, step, Direction.ACTION, key),
            state.plan.step(step).timeout_s,
            condition,
            definition=state.plan.saga,
            plan=state.plan,
            tags=state.tags,
        )
        outcome = self._caller.answer(call)
        assert isinstance(outcome, Completed | Skipped | Rejected | Unavailable), "there is nothing to await"
        return outcome


def _decided(state: SagaState, event: e.SagaEvent) -> tuple[str, bool] | None:
    """The step whose condition had been looked at before this event, and whether it held."""
    match event:
        case e.StepSkipped(step, actor=None) if not state.aborted:
            has_held = False
        case e.StepCompleted(step) | e.ChildStarted(step):
            has_held = True
        case e.WaitStarted(step) if state.step(step).attempts:
            has_held = True
        case _:
            return None
    return (step, has_held) if state.plan.step(step).condition else None


def _knows_all(state: SagaState, condition: Function) -> bool:
    """Whether the saga has the result of each step that the condition asks for."""
    asked = set(asked_by(condition).needs) - {CONTEXT, "input", "saga_id", "key"}
    return all(name in state.steps for name in asked)

"""What a call is given: its idempotency key, and the values that its code may name."""

from __future__ import annotations

from typing import Any

from saga_es.core.outcomes import Direction
from saga_es.core.paths import look_up
from saga_es.core.plan import index_of, step_of
from saga_es.core.state import SagaState
from saga_es.runtime.ids import idempotency_key


def key_of(state: SagaState, step: str, direction: Direction) -> str:
    """The idempotency key of a call. A step that was renamed in a migration keeps the keys of its earlier name."""
    keyed = Direction.COMPENSATION if direction is Direction.COMPENSATION else Direction.ACTION
    return idempotency_key(state.saga_id, _called_as(state, step) if state.is_migrated else step, keyed)


def child_id(state: SagaState, step: str, attempt: int) -> str:
    """The id of the saga that this attempt of a step starts."""
    return idempotency_key(state.saga_id, f"{_called_as(state, step)}/{attempt}", Direction.ACTION)


def _called_as(state: SagaState, step: str) -> str:
    return state.step(step).called_as or step


def given(state: SagaState, step: str, direction: Direction, key: str) -> dict[str, Any]:
    """The arguments that a callee may name. In a compensation, a result that never came is None."""
    given = state.known_to(step)
    if (index := index_of(step) if step[-1] == "]" else None) is not None:
        item = look_up(state.plan.step(step).over or "", given)[index]
        given |= {"item": item, "index": index, step_of(step): state.step(step).result}
    action_key = key_of(state, step, Direction.ACTION) if direction is Direction.COMPENSATION else key
    given |= {"saga_id": state.saga_id, "key": key, "error": state.cause, "action_key": action_key}
    return given

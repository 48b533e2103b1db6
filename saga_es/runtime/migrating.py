"""Migrating sagas to the present plans of their definitions: one saga, or all of a plan."""

from __future__ import annotations

from collections.abc import Mapping

from saga_es.core.commands import Migrate
from saga_es.core.migration import Migration, preview_migration
from saga_es.core.state import SagaState
from saga_es.definition.saga import Saga
from saga_es.errors import CommandRefused


def current(definitions: Mapping[str, Saga], state: SagaState) -> Saga:
    """The present definition of a saga.

    Raises:
        CommandRefused: It is not among these.
    """
    saga = definitions.get(state.plan.saga)
    if saga is None:
        known = ", ".join(sorted(definitions)) or "none"
        why = f"no saga {state.plan.saga!r} is defined here, so it has no present plan; there are: {known}"
        raise CommandRefused(state.saga_id, why)
    return saga


def migrate_to(saga: Saga, actor: str, reason: str) -> Migrate:
    """The command that migrates a saga to the present plan of a definition."""
    return Migrate(saga.plan_id, saga.plan, dict(saga.replaced), actor, reason)


def previewed(state: SagaState, saga: Saga) -> Migration:
    """What that command would do to a saga."""
    return preview_migration(state, saga.plan, saga.plan_id, saga.replaced)

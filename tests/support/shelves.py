"""A log with sagas in all states and families, to be archived from."""

from __future__ import annotations

from datetime import timedelta

from saga_es.core import events as e
from saga_es.core.plan import Child, plan_id
from saga_es.core.state import SagaStatus
from saga_es.store.archive.families import Over
from saga_es.store.log.codec import PLAN, SAGA
from saga_es.store.log.entries import Draft
from tests.conftest import AT, Store
from tests.support.story import a_plan, a_step

ONE = a_plan(a_step("a"))
PLAN_ID = plan_id(ONE)
PARENTS = a_plan(a_step("a", work=Child("order")))
PARENTS_ID = plan_id(PARENTS)

OVER = Over(AT + timedelta(days=1), (SagaStatus.COMPLETED, SagaStatus.COMPENSATED))
"""What ended on the first day."""

DONE: list[e.SagaEvent] = [e.StepStarted("a", 1), e.StepCompleted("a", {"ä": "\u2028"}), e.SagaCompleted()]


def fill(store: Store) -> None:
    """Record the plans, and the sagas that the names say."""
    store.write(*(Draft(id_, PLAN, 0, (plan,), AT) for id_, plan in store.sagas.unrecorded([ONE, PARENTS])))
    saga(store, "completed", *DONE)
    saga(store, "compensated", e.SagaCompensated())
    saga(store, "failed", e.SagaFailed("why"))
    saga(store, "running", e.StepStarted("a", 1))
    saga(store, "late", *DONE, days=2)
    family(store, "whole", *DONE)
    family(store, "torn", e.StepStarted("a", 1))


def saga(store: Store, saga_id: str, *events: e.SagaEvent, days: int = 0, parent: str | None = None) -> None:
    """Write a saga that came to this on that day."""
    plan = PARENTS_ID if parent is None and any(isinstance(event, e.ChildStarted) for event in events) else PLAN_ID
    started = e.SagaStarted("order", plan, {"name": "Show"}, "w1", {"shop": "Köln"}, parent=parent)
    draft = Draft(saga_id, SAGA, 0, (started, *events), AT + timedelta(days=days))
    store.write(draft)


def family(store: Store, saga_id: str, *events: e.SagaEvent) -> None:
    """Write a saga that has completed, and the saga of its step, which came to this."""
    child = f"{saga_id}/a"
    saga(store, saga_id, e.ChildStarted("a", "order", child, {}), e.SagaCompleted())
    saga(store, child, *events, parent=saga_id)

"""Sagas that go on under a newer plan of their definition, on real databases, whoever runs them."""

from __future__ import annotations

import io
import threading
from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec.structs import replace

from saga_es.core import events as e
from saga_es.core.outcomes import Direction
from saga_es.core.plan import RetryPolicy
from saga_es.core.state import SagaStatus
from saga_es.definition.saga import Saga
from saga_es.errors import CommandRefused, StepUnavailable
from saga_es.runtime.ids import idempotency_key
from saga_es.store.archive.bundle import streams_in
from saga_es.store.archive.exporting import export
from saga_es.store.log.codec import PLAN
from saga_es.store.queries.plans import plans_like, sagas_of_plan
from tests.conftest import TIMEOUT_S, OpenEngine, Store
from tests.support.trips import events_of, until

WHO: dict[str, Any] = {"reason": "a new version", "actor": "Ann"}


class Calls(list[tuple[str, str]]):
    """What was called, and with which key."""

    def step(self, name: str, gate: threading.Event | None = None, errors: list[StepUnavailable] | None = None) -> Any:
        """An action that notes its call, waits for a gate, and fails as often as there are errors."""

        def action(key: str) -> str:
            self.append((name, key))
            if gate is not None:
                gate.wait(TIMEOUT_S)
            if errors:
                raise errors.pop()
            return name

        action.__name__ = name
        return action

    def undo(self, name: str) -> Any:
        """A compensation that notes its call, with the key of the action."""

        def compensation(action_key: str) -> None:
            self.append((f"undo {name}", action_key))

        return compensation

    @property
    def names(self) -> list[str]:
        """What was called, in order."""
        return [name for name, _ in self]


def version(calls: Calls, *steps: str, wait_after: str | None = None, **options: Any) -> Saga:
    """A saga of these steps, each with a compensation; one is followed by a wait for a signal."""
    saga = Saga("order")
    written(saga, calls, *steps, wait_after=wait_after, **options)
    return saga


def written(saga: Saga, calls: Calls, *steps: str, wait_after: str | None = None, **options: Any) -> None:
    """The steps are written into the saga."""
    for name in steps:
        about = {key: options.get(f"{name}_{key}") for key in ("gate", "errors")}
        saga.step(retry=RetryPolicy(attempts=3, first_delay_s=0.01, jitter=0))(calls.step(name, **about))
        saga.compensates(name)(calls.undo(name))
        if name == wait_after:
            saga.wait_for("go", timeout_s=None)


def waiting(open_engine: OpenEngine, saga: Saga, saga_id: str = "s-1") -> None:
    """The saga waits for its signal; the worker that ran it is gone."""
    engine = open_engine(saga)
    engine.start(saga, {}, saga_id=saga_id)
    until(lambda: any(isinstance(event, e.WaitStarted) for event in events_of(engine, saga_id)))
    engine.close()


def key_of(step: str) -> str:
    return idempotency_key("s-1", step, Direction.ACTION)


def test_a_migrated_saga_goes_on_under_the_new_plan(open_engine: OpenEngine, store: Store) -> None:
    """What is done stays done, a new step is done, and the view names the new plan."""
    calls = Calls()
    old, new = version(calls, "a", "b", wait_after="a"), version(calls, "a", "second", "c", wait_after="a")
    new.replaces("second", "b")
    waiting(open_engine, old)
    engine = open_engine(new)
    assert plans_like(store.database, old.plan_id[:12]) == [old.plan_id]
    preview = engine.preview_migration("s-1")
    assert (preview.from_plan, preview.to_plan, preview.refused) == (old.plan_id, new.plan_id, [])
    engine.migrate("s-1", **WHO)
    engine.migrate("s-1", **WHO)
    assert list(sagas_of_plan(store.database, new.plan_id)) == [["s-1"]]
    engine.signal("s-1", "go")
    assert engine.follow("s-1").result(TIMEOUT_S).status is SagaStatus.COMPLETED
    assert calls == [("a", key_of("a")), ("second", key_of("second")), ("c", key_of("c"))]
    moved = [event for event in events_of(engine, "s-1") if isinstance(event, e.SagaMigrated)]
    assert [(event.plan_id, event.renamed, event.actor, event.reason) for event in moved] == [
        (new.plan_id, {"b": "second"}, "Ann", "a new version")
    ]


def test_a_renamed_step_is_undone_with_the_key_of_its_call(open_engine: OpenEngine) -> None:
    """The participant knows the call by the key that it had."""
    calls = Calls()
    old, new = version(calls, "a", "b", wait_after="b"), version(calls, "first", "b", wait_after="b")
    new.replaces("first", "a")
    waiting(open_engine, old)
    engine = open_engine(new)
    engine.migrate("s-1", **WHO)
    engine.cancel("s-1", **WHO)
    assert engine.follow("s-1").result(TIMEOUT_S).status is SagaStatus.COMPENSATED
    assert calls[2:] == [("undo b", key_of("b")), ("undo first", key_of("a"))]


def test_a_call_in_flight_is_neither_lost_nor_made_twice(open_engine: OpenEngine) -> None:
    """Its worker migrates the saga meanwhile, and the step that is called is renamed."""
    calls, gate = Calls(), threading.Event()
    old = version(calls, "a", "b", a_gate=gate)
    new = version(calls, "first", "b", "c")
    new.replaces("first", "a")
    with new.retired():
        written(new, calls, "a", a_gate=gate)
    engine = open_engine(new)
    open_engine(old).close()  # its plan is in the log
    request = engine._starts.request(new, {}, saga_id="s-1", key=None, tags=None, starts_at=None)
    engine._put(replace(request, definition=old))
    until(lambda: calls.names == ["a"])
    engine.migrate("s-1", **WHO)
    gate.set()
    assert engine.follow("s-1").result(TIMEOUT_S).status is SagaStatus.COMPLETED
    assert calls.names == ["a", "b", "c"]
    assert engine._worker._dispatch.in_flight == 0
    assert len(engine._worker._timers) == 0


def test_a_retry_of_a_renamed_step_has_the_key_of_its_first_call(open_engine: OpenEngine) -> None:
    """It waited for it when the saga was migrated, by a process that does not run it."""
    calls = Calls()
    slow = RetryPolicy(attempts=3, first_delay_s=3600, jitter=0)
    old, new = Saga("order"), Saga("order")
    for saga, name, errors in ((old, "a", [StepUnavailable("no")]), (new, "first", [])):
        saga.step(retry=slow, compensation=None)(calls.step(name, errors=errors))
    new.replaces("first", "a")
    engine = open_engine(old)
    engine.start(old, {}, saga_id="s-1")
    until(lambda: any(isinstance(event, e.StepFailed) for event in events_of(engine, "s-1")))
    engine.close()
    engine = open_engine(new)
    engine.migrate("s-1", **WHO)
    engine.retry("s-1", **WHO)
    assert engine.follow("s-1").result(TIMEOUT_S).status is SagaStatus.COMPLETED
    assert calls == [("a", key_of("a")), ("first", key_of("a"))]


def test_what_does_not_fit_is_refused_and_nothing_is_recorded(open_engine: OpenEngine, store: Store) -> None:
    """The reason names the step, in the preview as in the refusal; an unknown definition has no plan."""
    calls = Calls()
    waiting(open_engine, version(calls, "a", "b", wait_after="a"))
    engine, stranger = open_engine(version(calls, "x", "a", "b", wait_after="a")), open_engine()
    before = len(store.log.read("s-1"))
    with pytest.raises(CommandRefused, match="step 'a' has begun, and in the new plan it waits for 'x'"):
        engine.migrate("s-1", **WHO)
    assert engine.preview_migration("s-1").refused
    with pytest.raises(CommandRefused, match="no saga 'order' is defined here"):
        stranger.migrate("s-1", **WHO)
    types = [type(recorded.event) for recorded in store.log.read("s-1")[before:]]
    assert set(types) <= {e.SagaTakenOver}


def test_an_export_of_a_migrated_saga_holds_both_of_its_plans(
    open_engine: OpenEngine, store: Store, tmp_path: Any
) -> None:
    """It can be read where neither was ever used."""
    calls = Calls()
    old, new = version(calls, "a", wait_after="a"), version(calls, "a", "b", wait_after="a")
    waiting(open_engine, old)
    open_engine(new).migrate("s-1", **WHO)
    file = io.BytesIO()
    export(store.sagas, "s-1", file, datetime.now(UTC))
    (tmp_path / "bundle").write_bytes(file.getvalue())
    streams = list(streams_in(tmp_path / "bundle"))
    plans = {entries[0].stream_id for entries in streams if entries[0].category == PLAN}
    assert plans == {old.plan_id, new.plan_id}

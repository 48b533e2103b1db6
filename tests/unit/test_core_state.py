"""What is read from the state of a saga: which of its calls are open, and how large its payloads are."""

from __future__ import annotations

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from saga_es.core import events as e
from saga_es.core.commands import Skip
from saga_es.core.evolve import evolve
from saga_es.core.outcomes import Direction
from saga_es.core.plan import Child, Signal
from saga_es.core.state import direction_of, payload_size
from tests.support.story import NOW, STARTED, Past, a_plan, a_step, done, given, started
from tests.unit.test_describe import TOLD

DIRECTIONS: list[tuple[e.Intent, Direction]] = [
    (e.StepStarted("a", 1), Direction.ACTION),
    (e.StepFailed("a", 1, "unknown", "lost", NOW), Direction.ACTION),
    (e.WaitStarted("a", NOW), Direction.ACTION),
    (e.ChildStarted("a", "payment", "saga-2", {}), Direction.ACTION),
    (e.ProbeStarted("a", 1), Direction.PROBE),
    (e.CompensationStarted("a", 1), Direction.COMPENSATION),
    (e.CompensationFailed("a", 1, "unknown", "lost", NOW), Direction.COMPENSATION),
]


@pytest.mark.parametrize(("intent", "direction"), DIRECTIONS, ids=lambda value: type(value).__name__)
def test_an_intent_is_about_one_of_the_calls_of_its_step(intent: e.Intent, direction: Direction) -> None:
    """A step may be asked about while it is undone: the two are not one call."""
    assert direction_of(intent) is direction


@for_all(st.integers(0, 1000))
def test_the_size_of_a_saga_grows_by_what_its_payloads_grow(size: int) -> None:
    """By each byte of its input, its results, its signals, another input of a step, and the input of a child saga."""
    plan = a_plan("a", a_step("pay", work=Child("payment")))
    called: Past = [started({}), e.StepStarted("a", 1)]

    def grown(past: Past, *events: e.SagaEvent) -> list[int]:
        return [payload_size(given(*past, event, plan=plan).state) for event in events]

    text = "x" * size
    for empty, full in (
        grown([], started({"text": ""}), started({"text": text})),
        grown(called, e.StepCompleted("a", ""), e.StepCompleted("a", text)),
        grown(called, e.SignalReceived("ok", ""), e.SignalReceived("ok", text)),
        grown(called, e.InputReplaced("a", {"n": ""}, "Ann", ""), e.InputReplaced("a", {"n": text}, "Ann", "")),
        grown(
            [*called, e.StepStarted("pay", 1)],
            e.ChildStarted("pay", "payment", "saga-2", {"n": ""}),
            e.ChildStarted("pay", "payment", "saga-2", {"n": text}),
        ),
    ):
        assert full - empty == size


def test_the_size_of_a_saga_is_that_of_its_payloads_alone() -> None:
    """Ids and names are no payloads: a child saga is counted with its input."""
    plan = a_plan(a_step("pay", work=Child("payment")))
    running = given(started({}), e.StepStarted("pay", 1), e.ChildStarted("pay", "payment", "s" * 500, {}), plan=plan)
    assert payload_size(running.state) < 100


def test_a_step_that_is_skipped_is_in_doubt_no_more() -> None:
    """A person has looked, and says that there is nothing to undo."""
    plan = a_plan("a", a_step("pay", kind="pivot", compensation=None))
    lost = e.StepFailed("pay", 1, "unknown", "lost")
    past: Past = [STARTED, *done("a"), e.StepStarted("pay", 1), lost, e.SagaFailed("why")]
    story = given(*past, plan=plan)
    assert story.state.step("pay").in_doubt
    story.when(Skip("pay", "Ann", "it was not paid"))
    assert not story.state.step("pay").in_doubt


@pytest.mark.parametrize("event", [event for event, _ in TOLD], ids=lambda event: type(event).__name__)
def test_each_event_is_one_version(event: e.SagaEvent) -> None:
    """Whatever it changes: the next append expects the version of the log."""
    plan = a_plan("a", a_step("w", work=Signal(None), compensation=None))
    before = given(STARTED, e.StepStarted("a", 1), plan=plan).state
    assert evolve(before, event).version == before.version + 1

"""What operators read of a saga: its start and its end, its turn, steps that are given up, and lines of its steps."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from saga_es.client import Client
from saga_es.core.plan import RetryPolicy
from saga_es.definition.saga import Saga
from saga_es.errors import StepRejected, StepUnavailable
from saga_es.logs import NAME, CallFields
from tests.conftest import TIMEOUT_S, OpenEngine, Store
from tests.support.logged import captured_logs

SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # the lines come from above the database


class Keeps(logging.Handler):
    """A handler of the host's."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the record."""
        self.kept.append(record)


def told(lines: list[dict[str, object]], saga_id: str) -> list[tuple[object, object, object]]:
    """What was said of a saga: level, event and step."""
    return [(line["log_level"], line["event"], line.get("step")) for line in lines if line.get("saga_id") == saga_id]


@SQLITE
def test_start_and_end_are_told_and_nothing_in_between(open_engine: OpenEngine) -> None:
    """Of a saga to which nothing happens."""
    saga = Saga("order")
    saga.step(name="pay", compensation=None)(lambda: 1)
    with captured_logs() as lines:
        handle = open_engine(saga).start("order", saga_id="s-1")
        assert handle.result(TIMEOUT_S).completed
    assert told(lines, "s-1") == [("info", "a saga started", None), ("info", "a saga completed", None)]
    assert [line for line in lines if "worker" in line and line["saga"] == "order"]


@SQLITE
def test_a_saga_that_waited_for_a_worker_starts_once(store: Store, open_engine: OpenEngine) -> None:
    """When a worker begins it, not when a client records it."""
    saga = Saga("order")
    saga.step(name="pay", compensation=None)(lambda: 1)
    with captured_logs() as lines:
        Client(store, [saga]).start("order", saga_id="s-1")
        assert told(lines, "s-1") == []
        assert open_engine(saga).follow("s-1").result(TIMEOUT_S).completed
    assert told(lines, "s-1") == [("info", "a saga started", None), ("info", "a saga completed", None)]


@SQLITE
def test_a_saga_that_is_compensated_warns_with_the_step_and_the_reason(open_engine: OpenEngine) -> None:
    """An attempt that is followed by another is no warning; an exception of no meaning has a traceback."""
    saga = Saga("order")
    errors: list[Exception] = [StepRejected("no funds"), KeyError("rate"), StepUnavailable("not now")]

    @saga.step(compensation=None, retry=RetryPolicy(attempts=5, first_delay_s=0.001, jitter=0))
    def pay() -> None:
        raise errors.pop()

    with captured_logs() as lines:
        handle = open_engine(saga).start("order", saga_id="s-1")
        assert not handle.result(TIMEOUT_S).completed
    assert told(lines, "s-1") == [
        ("info", "a saga started", None),
        ("info", "an attempt failed", "pay"),
        ("warning", "a step raised an exception", "pay"),
        ("info", "an attempt failed", "pay"),
        ("warning", "a step is given up", "pay"),
        ("warning", "a saga aborts, what it did is undone", "pay"),
        ("warning", "a saga is compensated", None),
    ]
    (raised,) = [line for line in lines if "exc_info" in line]
    assert (raised["attempt"], raised["direction"], raised["saga"]) == (2, "action", "order")
    assert [line["reason"] for line in lines if line["event"] == "a step is given up"] == ["no funds"]


@SQLITE
def test_a_saga_that_failed_is_an_error_with_the_command_that_explains_it(open_engine: OpenEngine) -> None:
    """It waits for a person."""
    saga = Saga("order")
    once = RetryPolicy(attempts=1)

    @saga.step(retry=once)
    def pay() -> None: ...

    @saga.compensates(pay, retry=once)
    def repay() -> None:
        raise StepRejected("the account is closed")

    @saga.step(compensation=None, retry=once)
    def ship() -> None:
        raise StepRejected("no stock")

    with captured_logs() as lines:
        open_engine(saga).start("order", saga_id="s-1").result(TIMEOUT_S)
    (failed,) = [line for line in lines if line["log_level"] == "error"]
    assert failed["event"] == "a saga failed and waits for a person"
    assert "the account is closed" in str(failed["reason"])
    assert failed["cure"] == "saga-es explain s-1"


@SQLITE
@pytest.mark.parametrize("kind", ["def", "async def", "awaitable"])
def test_a_line_that_a_step_writes_can_have_the_fields_of_its_call(open_engine: OpenEngine, kind: str) -> None:
    """A filter on the host's handler adds them, whatever logger the step uses; elsewhere it adds nothing."""
    saga = Saga("order")
    shop = logging.getLogger("shop")

    def plain() -> None:
        shop.warning("charging")

    async def charging() -> None:
        shop.warning("charging")

    def awaitable() -> Coroutine[None, None, None]:
        return charging()

    act: Callable[[], Any] = {"def": plain, "async def": charging, "awaitable": awaitable}[kind]
    saga.step(name="pay", compensation=None)(act)
    handler = Keeps()
    handler.addFilter(CallFields())
    shop.addHandler(handler)
    try:
        engine = open_engine(saga)
        assert engine.start("order", saga_id="s-1").result(TIMEOUT_S).completed
        shop.warning("outside")
    finally:
        shop.removeHandler(handler)
    assert [vars(record).get(NAME) for record in handler.kept] == [
        {
            "saga_id": "s-1",
            "saga": "order",
            "worker": engine.worker_id,
            "step": "pay",
            "direction": "action",
            "attempt": 1,
        },
        None,
    ]

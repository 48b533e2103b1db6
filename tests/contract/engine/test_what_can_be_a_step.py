"""What can be a step: what is awaitable is awaited, and what is known is given, also where there is a default."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from saga_es import Participant, RetryPolicy, Saga, SagaStatus, StepRejected, open_engine
from tests.conftest import TIMEOUT_S

QUICK = RetryPolicy(attempts=3, first_delay_s=0.01)


class Remote:
    """An object whose call, and whose method, have to be awaited."""

    def __init__(self) -> None:
        self.calls = 0

    async def __call__(self, input: dict[str, Any]) -> int:  # noqa: A002
        """One more than it is given."""
        self.calls += 1
        await asyncio.sleep(0)
        return int(input["n"]) + 1


def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def inner(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return inner


def returning(remote: Remote) -> Callable[..., Awaitable[int]]:
    def step(input: dict[str, Any]) -> Awaitable[int]:  # noqa: A002
        return remote(input)

    return step


def twice_awaited(remote: Remote) -> Callable[..., Any]:
    async def step(input: dict[str, Any]) -> Awaitable[int]:  # noqa: A002
        return remote(input)

    return step


class Later:
    """An awaitable that is no coroutine."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote

    def __call__(self, input: dict[str, Any]) -> Later:  # noqa: A002
        """Itself."""
        self._input = input
        return self

    def __await__(self) -> Any:
        return self._remote(self._input).__await__()


@pytest.mark.parametrize(
    "made",
    [lambda remote: remote, decorated, returning, twice_awaited, Later, functools.partial],
    ids=["itself", "decorated", "returning", "twice awaited", "an object", "a partial"],
)
@pytest.mark.parametrize("place", ["action", "compensation", "probe"])
def test_what_a_call_returns_is_awaited(
    database_url: str, made: Callable[[Remote], Callable[..., Any]], place: str
) -> None:
    """Whatever is wrapped around it: it is called once, and its result is the call's."""
    remote, saga = Remote(), Saga("s")
    nothing: Callable[..., Any] = lambda: 1 // 0 if place == "probe" else None  # noqa: E731
    acts = {**dict.fromkeys(["action", "compensation", "probe"], nothing), place: made(remote)}
    saga.step(name="act", retry=QUICK)(acts["action"])
    saga.compensates("act", retry=QUICK)(acts["compensation"])
    saga.probes("act")(acts["probe"])

    @saga.step(compensation=None)
    def last() -> None:
        if place == "compensation":
            raise StepRejected("enough")

    with open_engine(database_url, saga) as engine:
        result = engine.start(saga, {"n": 1}).result(TIMEOUT_S)
    assert remote.calls == 1
    if place == "compensation":
        assert (result.status, result.error) == (SagaStatus.COMPENSATED, "enough")
    else:
        assert (result.status, result.results) == (SagaStatus.COMPLETED, {"act": 2, "last": None})


def test_what_an_awaited_result_raises_is_the_outcome_of_the_step(database_url: str) -> None:
    """As if the step were an `async def` itself."""
    saga = Saga("s")

    async def refuse() -> None:
        raise StepRejected("sold out")

    saga.step(name="act", compensation=None)(decorated(refuse))
    with open_engine(database_url, saga) as engine:
        result = engine.start(saga).result(TIMEOUT_S)
    assert (result.status, result.error) == (SagaStatus.COMPENSATED, "sold out")


def test_what_is_awaited_too_long_is_cancelled_and_compensated(database_url: str) -> None:
    """Its time-out counts for both: the call, and what it returned."""
    saga, undone, stopped = Saga("s"), [], asyncio.Event()

    async def hang() -> None:
        try:
            await asyncio.sleep(TIMEOUT_S)
        finally:
            stopped.set()

    saga.step(name="act", timeout_s=0.2, retry=RetryPolicy(attempts=1))(decorated(hang))
    saga.compensates("act")(lambda act, action_key: undone.append((act, bool(action_key))))
    with open_engine(database_url, saga) as engine:
        result = engine.start(saga).result(TIMEOUT_S)
    assert (result.status, result.error, undone) == (SagaStatus.COMPENSATED, "no answer within 0.2 s", [(None, True)])
    assert stopped.is_set()


def test_a_condition_that_returns_an_awaitable_is_no_condition_that_holds(database_url: str) -> None:
    """It would always hold; the step is not called, and the reason says what a condition is."""
    saga, called = Saga("s"), []

    async def holds() -> bool:
        return False

    saga.step(name="act", when=decorated(holds), compensation=None)(lambda: called.append(1))
    with open_engine(database_url, saga) as engine:
        result = engine.start(saga).result(TIMEOUT_S)
    assert (result.status, called) == (SagaStatus.COMPENSATED, [])
    assert "a condition is a `def`" in str(result.error)


def test_parameters_with_defaults_are_given_what_is_known(database_url: str) -> None:
    """In actions, compensations, probes and conditions; what is not known at that point keeps its default."""
    saga, given = Saga("defaults"), dict[str, Any]()

    @saga.step
    def pay(
        input: Any = None,  # noqa: A002
        key: str = "none",
        later: Any = "mine",
        error: Any = "mine",
        *,
        item: Any = "mine",
    ) -> Any:
        given["pay"] = (input, key != "none", later, error, item)
        return {"charge": 7}

    @saga.compensates(pay)
    def refund(
        pay: Any = None, action_key: Any = None, error: Any = None, later: Any = "mine", saga_id: Any = None
    ) -> None:
        given["refund"] = (pay, action_key is not None, error, later, saga_id)

    @saga.step(compensation=None, over="input[lines]", when=lambda pay=None: pay is not None)
    def later(pay: Any = None, item: Any = None, index: Any = None, later: Any = "mine") -> Any:
        return [pay["charge"], item, index, later]

    @saga.step(compensation=None)
    def ship(later: Any = None, quantity: int = 3) -> None:
        given["ship"] = (later, quantity)
        raise StepRejected("too heavy")

    with open_engine(database_url, saga) as engine:
        result = engine.start(saga, {"lines": ["a", "b"]}).result(TIMEOUT_S)
    assert result.status is SagaStatus.COMPENSATED
    assert given == {
        "pay": ({"lines": ["a", "b"]}, True, "mine", "mine", "mine"),
        "ship": ([[7, "a", 0, "mine"], [7, "b", 1, "mine"]], 3),
        "refund": ({"charge": 7}, True, "too heavy", "mine", result.saga_id),
    }


def test_a_body_with_defaults_is_given_what_is_known() -> None:
    """A request's body is made as a step is called."""
    request = Participant("desk").post("/{key}", lambda input, pay=None, later="mine": [input, pay, later])  # noqa: A006
    assert (request.asked.needs, request.asked.may_have) == (("key", "input"), ("pay", "later"))
    assert request.json_body({"key": "k", "input": 1, "pay": 2}) == [1, 2, "mine"]

"""What the runtime may ask of an executor holds for the one on threads, and for the simulator's in virtual time."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from queue import Empty, SimpleQueue
from typing import Any

import pytest
from msgspec.structs import replace

from saga_es.core.outcomes import ChildReady, Completed, Direction, Outcome, Rejected, Skipped, Unavailable, Unknown
from saga_es.definition.requests import Participant
from saga_es.definition.steps import Callee
from saga_es.errors import StepRejected, StepUnavailable
from saga_es.runtime.calls.answers import Answer
from saga_es.runtime.calls.executor import Executor
from saga_es.runtime.calls.port import Call
from saga_es.runtime.calls.port import Executor as Port
from saga_es.testing import World
from saga_es.testing.executor import NetworkExecutor
from tests.conftest import TIMEOUT_S

DESK = Participant("desk")


class Desk:
    """A participant that answers each request with its path."""

    def send(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, timeout_s: float) -> Answer:
        """Answer at once."""
        del method, headers, body, timeout_s
        return Answer(200, {}, b'{"path":"%b"}' % path.encode())


class AnyExecutor(ABC):
    """An executor, and the outcomes that it told."""

    def __init__(self, executor: Port) -> None:
        self.port = executor
        self.told: SimpleQueue[tuple[Call, Outcome]] = SimpleQueue()

    def perform(self, *calls: Call) -> list[tuple[Call, Exception]]:
        """Start calls."""
        return self.port.perform(calls, lambda call, outcome: self.told.put((call, outcome)))

    def outcomes(self, *calls: Call) -> dict[str, Outcome]:
        """Make calls; the outcome of each, by its key, and no more than that."""
        assert self.perform(*calls) == []
        self.settle()
        found = [self.told.get(timeout=TIMEOUT_S) for _ in calls]
        with pytest.raises(Empty):
            self.told.get_nowait()
        assert all(any(call is told for call in calls) for told, _ in found)
        return {call.key: outcome for call, outcome in found}

    @abstractmethod
    def settle(self) -> None:
        """Let the time pass that calls take."""


class OnThreads(AnyExecutor):
    """The one that applications use."""

    def __init__(self) -> None:
        super().__init__(Executor({"desk": Desk()}, threads=2))

    def settle(self) -> None:
        """It passes by itself."""


class InVirtualTime(AnyExecutor):
    """The simulator's."""

    def __init__(self) -> None:
        self._world = World([], transports={"desk": Desk()})
        super().__init__(NetworkExecutor(self._world.network, self._world.clock, self._world.faults))

    def settle(self) -> None:
        """Let everything happen."""
        self._world.run()


@pytest.fixture(params=[OnThreads, InVirtualTime], ids=["threads", "simulator"])
def executor(request: pytest.FixtureRequest) -> Iterator[AnyExecutor]:
    """An executor of each kind."""
    made: AnyExecutor = request.param()
    yield made
    made.port.close()


def a_call(callee: Callee | None, key: str = "k-1", **more: Any) -> Call:
    given = {"input": {"n": 1}, "key": key, "saga_id": "saga-1"}
    return Call("saga-1", "seat", Direction.ACTION, 1, callee, key, given, TIMEOUT_S, **more)


def raising(error: BaseException) -> Callable[[], None]:
    def step() -> None:
        raise error

    return step


async def awaited(input: dict[str, int]) -> dict[str, int]:  # noqa: A002 (the name by which a step asks for it)
    return {"n": input["n"] + 1}


OUTCOMES: dict[str, tuple[Call, Outcome]] = {
    "a result": (a_call(lambda: (1, 2)), Completed([1, 2])),
    "arguments by name": (a_call(lambda input, key: [input, key]), Completed([{"n": 1}, "k-1"])),  # noqa: A006
    "an async step": (a_call(awaited), Completed({"n": 2})),
    "a request": (a_call(DESK.get("/seats")), Completed({"path": "/seats"})),
    "a refusal": (a_call(raising(StepRejected("full"))), Rejected("full")),
    "not now": (a_call(raising(StepUnavailable("busy"))), Unavailable("busy")),
    "an exit": (a_call(raising(SystemExit(3))), Unknown("SystemExit: 3")),
    "not wanted": (a_call(lambda: 1, condition=lambda: False), Skipped()),
    "wanted": (a_call(lambda: 1, condition=lambda: True), Completed(1)),
    "a condition alone": (a_call(None, condition=lambda: True), Completed()),
    "the input of a saga": (a_call(lambda: {"n": 2}, child_id="c-1"), ChildReady("c-1", {"n": 2})),
}


@pytest.mark.parametrize("name", OUTCOMES)
def test_a_call_comes_to_exactly_one_outcome(executor: AnyExecutor, name: str) -> None:
    """Whatever is called, and whatever becomes of it."""
    made, expected = OUTCOMES[name]
    call = replace(made)  # a call is made once, and there are two executors
    (outcome,) = executor.outcomes(call).values()
    if isinstance(expected, Unavailable | Unknown):  # these tell the kinds of the error, too
        assert isinstance(outcome, Unavailable | Unknown)
        outcome = replace(outcome, kinds=expected.kinds, **({"frame": None} if isinstance(outcome, Unknown) else {}))
    assert outcome == expected


def test_many_calls_are_started_together_and_each_is_told_once(executor: AnyExecutor) -> None:
    """Of any kind, and some of them fail: each has its own outcome."""
    steps: list[Callee] = [lambda key: key, awaited, raising(StepRejected("full"))]
    calls = [a_call(steps[n % 3], f"k-{n}") for n in range(30)]
    expected = [
        Completed(f"k-{n}") if n % 3 == 0 else Completed({"n": 2}) if n % 3 == 1 else Rejected("full")
        for n in range(30)
    ]
    assert executor.outcomes(*calls) == {call.key: outcome for call, outcome in zip(calls, expected, strict=True)}


def test_no_calls_are_no_outcomes(executor: AnyExecutor) -> None:
    """Nothing is told, and nothing failed."""
    assert executor.outcomes() == {}


def test_a_step_cannot_change_what_it_was_given(executor: AnyExecutor) -> None:
    """It gets copies: the next attempt sees what the first one saw."""
    first = a_call(lambda input: input.pop("n"))  # noqa: A006
    assert [executor.outcomes(call) for call in (first, replace(first))] == [{"k-1": Completed(1)}] * 2


def test_a_call_that_was_given_up_before_it_was_started_never_acts(executor: AnyExecutor) -> None:
    """Nothing is told of it: it was never made."""
    late, next_ = a_call(lambda: 1, "late"), a_call(lambda: 2, "next")
    assert not executor.port.give_up(late)
    assert executor.perform(late) == []
    assert executor.outcomes(next_) == {"next": Completed(2)}
    assert late.began_at is None
    assert executor.port.give_up(next_)


def test_a_call_that_is_given_up_on_its_way_holds_up_no_other(executor: AnyExecutor) -> None:
    """The next one comes to its outcome."""
    gate = threading.Event()
    late = a_call(lambda: gate.wait(TIMEOUT_S) if isinstance(executor, OnThreads) else None, "late")
    assert executor.perform(late) == []
    executor.port.give_up(late)
    assert executor.perform(a_call(lambda: 1, "next")) == []
    executor.settle()
    told = {}
    while "next" not in told:
        call, outcome = executor.told.get(timeout=TIMEOUT_S)
        told[call.key] = outcome
    assert told["next"] == Completed(1)
    gate.set()


def test_a_call_that_says_that_it_goes_on_has_its_whole_time_again(executor: AnyExecutor) -> None:
    """Until nobody waits for it."""
    gate, heard, left = threading.Event(), SimpleQueue[bool](), SimpleQueue[float]()

    def step() -> None:
        assert call.began_at is not None
        call.began_at -= 1000
        left.put(executor.port.left_s(call))
        heard.put(executor.port.goes_on(call))
        left.put(executor.port.left_s(call))
        executor.port.give_up(call)
        heard.put(executor.port.goes_on(call))
        gate.set()

    call = a_call(step)
    assert executor.perform(call) == []
    executor.settle()
    assert gate.wait(TIMEOUT_S)
    assert (left.get() < 0 < left.get(), heard.get(), heard.get()) == (True, True, False)


def test_there_is_capacity_while_nothing_is_under_way(executor: AnyExecutor) -> None:
    """And again, when all has come back."""
    assert executor.port.capacity_of("trip") > 0
    executor.outcomes(*(a_call(lambda: 1, f"k-{n}") for n in range(10)))
    assert executor.port.capacity_of("trip") > 0
    assert not executor.port.is_crowded("trip")

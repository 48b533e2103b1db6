"""`async def` steps that block their event loop: they are named, and cost no other call its time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue

import pytest

from saga_es.core.outcomes import Completed, Direction, Outcome
from saga_es.definition.steps import Callee
from saga_es.runtime.calls import watched
from saga_es.runtime.calls.coroutines import Coroutines
from saga_es.runtime.calls.executor import Executor
from saga_es.runtime.calls.port import Call
from tests.support.logged import captured_logs

TIMEOUT_S = 5.0
SHORT_S = 0.05


class Steps:
    """An executor, and steps that block its loop until a test lets them go."""

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self.loop = loop
        self.executor = Executor(loop=loop)
        self.gate = threading.Event()
        self.blocks = threading.Event()
        self.answers: SimpleQueue[tuple[Call, Outcome]] = SimpleQueue()

    async def block(self) -> None:
        """Stop the loop."""
        self.blocks.set()
        self.gate.wait(TIMEOUT_S)

    def begin(self, *calls: Call) -> None:
        """Have calls made."""
        self.executor.perform(calls, lambda call, outcome: self.answers.put((call, outcome)))

    def answer(self) -> tuple[Call, Outcome]:
        """The next that comes."""
        return self.answers.get(timeout=TIMEOUT_S)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Iterator[Steps]:
    """With a watch that looks often, and soon takes a loop for blocked."""
    monkeypatch.setattr(watched, "LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(watched, "BLOCKED_AFTER_S", 0.1)
    steps = Steps()
    yield steps
    steps.gate.set()
    steps.executor.close()


@pytest.fixture
def named(steps: Steps) -> Iterator[Steps]:
    """Steps on a loop that the user names, with the same watch."""
    assert steps.loop is None
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    named = Steps(loop)
    yield named
    named.gate.set()
    named.executor.close()
    asyncio.run_coroutine_threadsafe(asyncio.sleep(0.01), loop).result(TIMEOUT_S)  # its tasks are cancelled
    loop.call_soon_threadsafe(loop.stop)
    thread.join(TIMEOUT_S)
    loop.close()


@pytest.fixture(params=["steps", "named"])
def anywhere(request: pytest.FixtureRequest) -> Steps:
    """Steps on a loop of the engine's own, and on one that the user names."""
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Steps)
    return found


async def wait() -> None:
    await asyncio.sleep(TIMEOUT_S)


async def quick() -> str:
    await asyncio.sleep(0)
    return threading.current_thread().name


def a_call(callee: Callee, definition: str = "trip", timeout_s: float = SHORT_S) -> Call:
    return Call("saga-1", "act", Direction.ACTION, 1, callee, "k-1", {}, timeout_s, definition=definition)


def until(is_so: Callable[[], bool]) -> None:
    for _ in range(int(TIMEOUT_S / 0.01)):
        if is_so():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it does not come to that")


def test_a_call_is_not_late_while_another_blocks_its_loop(anywhere: Steps) -> None:
    """The one that blocks it is late; the other has the rest of its time when the loop runs again."""
    other, culprit = a_call(wait), a_call(anywhere.block, "slow")
    anywhere.begin(other)
    until(lambda: other.began_at is not None)
    began_at = other.began_at
    anywhere.begin(culprit)
    assert anywhere.blocks.wait(TIMEOUT_S)
    assert not anywhere.gate.wait(4 * SHORT_S)
    assert anywhere.executor.left_s(culprit) <= 0
    assert anywhere.executor.left_s(other) > 0
    anywhere.gate.set()
    assert anywhere.answer()[0] is culprit
    until(lambda: other.began_at != began_at)
    until(lambda: anywhere.executor.left_s(other) <= 0)


def test_a_call_that_blocks_no_loop_is_late_when_its_time_is_over(anywhere: Steps) -> None:
    """As soon as its loop has given a sign of life since."""
    late = a_call(wait)
    anywhere.begin(late)
    until(lambda: late.began_at is not None)
    until(lambda: anywhere.executor.left_s(late) <= 0)


def test_a_step_that_blocks_its_loop_is_named_once_with_its_stack(anywhere: Steps) -> None:
    """As long as it blocks; the log tells which step it is, where it is, and what to do."""
    with captured_logs() as logs:
        anywhere.begin(a_call(anywhere.block, "slow"))
        until(lambda: bool(logs))
        assert not anywhere.gate.wait(0.3)
    (warning,) = logs
    assert (warning["saga"], warning["step"]) == ("slow", "act")
    assert "self.gate.wait(TIMEOUT_S)" in warning["stack"]


def test_calls_that_have_not_begun_move_to_a_loop_that_runs(steps: Steps) -> None:
    """So do those that come later."""
    culprit, others = a_call(steps.block, "slow"), [a_call(quick) for _ in range(20)]
    steps.begin(culprit, *others)
    assert {id(steps.answer()[0]) for _ in others} == set(map(id, others))
    later = a_call(quick)
    steps.begin(later)
    assert steps.answer()[0] is later
    assert steps.answers.empty()


def test_a_step_that_has_blocked_a_loop_has_one_of_its_own_from_then_on(steps: Steps) -> None:
    """Its next call blocks nobody else, not even those that the first one has held up."""
    held_up = a_call(wait)
    steps.begin(held_up)
    until(lambda: held_up.began_at is not None)
    steps.begin(a_call(steps.block, "slow"), a_call(quick, "slow"))
    assert steps.answer()[1] == Completed("saga-es-asyncio-2")
    steps.begin(a_call(quick))
    assert steps.answer()[1] == Completed("saga-es-asyncio-3")
    steps.gate.set()
    steps.answer()
    ours = steps.executor._coroutines
    assert isinstance(ours, Coroutines)
    until(lambda: not any(loop.is_blocked for loop in ours._loops))
    steps.begin(a_call(quick, "slow"))
    assert steps.answer()[1] == Completed("saga-es-asyncio-2")
    steps.begin(a_call(quick))
    assert steps.answer()[1] == Completed("saga-es-asyncio")


def test_what_is_no_step_and_blocks_a_loop_of_the_users_costs_no_call_its_time(named: Steps) -> None:
    """Nothing is moved, nothing is counted: the call has the rest of its time when the loop runs again."""
    call = a_call(wait)
    named.begin(call)
    until(lambda: call.began_at is not None)
    assert named.loop is not None
    with captured_logs() as logs:
        named.loop.call_soon_threadsafe(named.gate.wait, TIMEOUT_S)
        until(lambda: bool(logs))
    assert "the event loop of async steps is blocked" in logs[0]["event"]
    assert named.executor.left_s(call) > 0
    named.gate.set()
    until(lambda: named.executor.left_s(call) <= 0)


def test_a_loop_of_the_users_that_runs_no_more_holds_no_call_up() -> None:
    """Its calls are late by the clock: nothing on it will ever answer."""
    loop = asyncio.new_event_loop()
    named, call = Steps(loop), a_call(wait)
    named.begin(call)
    loop.call_later(SHORT_S, loop.stop)
    loop.run_forever()
    assert call.began_at is not None
    until(lambda: named.executor.left_s(call) <= 0)
    named.executor.close()
    loop.run_until_complete(asyncio.sleep(0.01))
    loop.close()

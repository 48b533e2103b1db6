"""What stands around every call, the event loop that the application names, and how a step hears of a cancel."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from typing import Any

import pytest
from flask import Flask, current_app, g

from saga_es import (
    App,
    DefinitionError,
    Participant,
    RetryPolicy,
    Saga,
    SagaStatus,
    StepContext,
    StepRejected,
    open_engine,
)
from saga_es.flask import SagaES
from tests.conftest import TIMEOUT_S
from tests.support.databases import KINDS, fresh_database

QUICK = RetryPolicy(attempts=2, first_delay_s=0.01)
TENANT: ContextVar[str] = ContextVar("TENANT", default="nobody")


@pytest.fixture
def url(tmp_path: Any) -> Iterator[str]:
    """One database: nothing here depends on its kind."""
    with fresh_database(KINDS[0], tmp_path) as there:
        yield there


def plain_and_awaited(act: Callable[[], Any]) -> Saga:
    """A saga that acts in a `def` and in an `async def`."""
    saga = Saga("both")

    @saga.step(compensation=None, retry=QUICK)
    def plain() -> Any:
        return act()

    @saga.step(compensation=None, retry=QUICK)
    async def awaited() -> Any:
        await asyncio.sleep(0)
        return act()

    return saga


def ended(url: str, saga: Saga, **options: Any) -> Any:
    with open_engine(url, saga, **options) as engine:
        return engine.start(saga, {"tenant": "acme"}, tags={"shop": "7"}).result(TIMEOUT_S)


# ── Around every call ────────────────────────────────────────────────────────────────────────────────────


def test_the_application_context_of_a_flask_application_stands_around_each_step(url: str) -> None:
    """`around=app.app_context` is all that has to be said; each call has a context of its own."""
    app = Flask("shop")
    app.config["CURRENCY"] = "EUR"

    def act() -> list[Any]:
        g.calls = [*g.get("calls", []), current_app.config["CURRENCY"]]
        return g.calls  # type: ignore[no-any-return]

    sagas = SagaES(app, sagas=[plain_and_awaited(act)], around=app.app_context, database_url=url)
    engine = sagas.engine
    try:
        result = engine.start("both").result(TIMEOUT_S)
    finally:
        app.extensions["saga_es"].node.close()
    assert result.results == {"plain": ["EUR"], "awaited": ["EUR"]}


def test_what_stands_around_a_call_knows_the_call(url: str) -> None:
    """A tenant, a trace: from the input, the tags, the key. The first given is the outermost."""
    seen: list[Any] = []

    @contextmanager
    def tenant(context: StepContext) -> Iterator[None]:
        seen.append((context.saga, context.step, context.direction, context.attempt, context.tags["shop"]))
        token = TENANT.set(context.input["tenant"])
        yield
        TENANT.reset(token)

    @contextmanager
    def inner() -> Iterator[None]:
        seen.append(TENANT.get())
        yield

    result = ended(url, plain_and_awaited(TENANT.get), around=[tenant, inner])
    assert result.results == {"plain": "acme", "awaited": "acme"}
    assert seen == [
        ("both", "plain", "action", 1, "7"),
        "acme",
        ("both", "awaited", "action", 1, "7"),
        "acme",
    ]


def test_what_stands_around_a_call_stands_around_each_kind_of_call(url: str) -> None:
    """Actions, probes, requests and compensations."""
    seen: list[tuple[str, str]] = []

    @contextmanager
    def around(context: StepContext) -> Iterator[None]:
        seen.append((context.step, context.direction))
        yield

    saga = Saga("s")
    once = RetryPolicy(attempts=1)

    @saga.step(retry=once)
    def act() -> None:
        raise TimeoutError("lost")

    saga.probes(act)(lambda: "done")
    saga.compensates(act)(lambda: None)
    saga.request("pay", Participant("bank").post("/pays"), compensation=None, retry=once)
    result = ended(url, saga, around=around, participants={"bank": "http://127.0.0.1:9"})
    assert result.status is SagaStatus.COMPENSATED
    assert seen == [("act", "action"), ("act", "probe"), ("pay", "action"), ("act", "compensation")]


def test_what_fails_before_the_call_means_that_nothing_was_called(url: str) -> None:
    """It is tried again, and there is nothing to undo; a rejection ends the step at once."""
    called: list[int] = []
    tries: list[int] = []

    @contextmanager
    def around(context: StepContext) -> Iterator[None]:
        tries.append(context.attempt)
        if context.attempt == 1:
            raise OSError("no connection")
        raise StepRejected("no such tenant")
        yield

    saga = Saga("s")
    saga.step(name="act", retry=QUICK)(lambda: called.append(1))
    saga.compensates("act")(lambda: called.append(2))
    result = ended(url, saga, around=around)
    assert (result.status, result.error, tries, called) == (SagaStatus.COMPENSATED, "no such tenant", [1, 2], [])


def test_what_fails_after_the_call_is_its_outcome(url: str) -> None:
    """A commit that fails: nobody knows what the step did, so it is compensated."""
    undone: list[str] = []

    @contextmanager
    def committing(context: StepContext) -> Iterator[None]:
        yield
        if context.direction == "action":
            raise OSError("the commit failed")

    saga = Saga("s")
    saga.step(name="act", retry=RetryPolicy(attempts=1))(lambda: None)

    @saga.compensates("act")
    def undo(action_key: str) -> None:
        undone.append(action_key)

    result = ended(url, saga, around=committing)
    assert (result.status, result.error) == (SagaStatus.COMPENSATED, "OSError: the commit failed")
    assert len(undone) == 1


@pytest.mark.parametrize("is_awaited", [False, True])
def test_an_error_that_is_not_let_through_is_the_outcome_all_the_same(url: str, *, is_awaited: bool) -> None:
    """Whatever is around must not make a refusal a success."""

    @contextmanager
    def deaf() -> Iterator[None]:
        with suppress(Exception):
            yield

    def refuse() -> None:
        raise StepRejected("sold out")

    async def refuse_later() -> None:
        raise StepRejected("sold out")

    saga = Saga("s")
    saga.step(name="act", compensation=None)(refuse_later if is_awaited else refuse)
    result = ended(url, saga, around=deaf)
    assert (result.status, result.error) == (SagaStatus.COMPENSATED, "sold out")


def test_an_asynchronous_context_manager_stands_around_what_is_awaited(url: str) -> None:
    """A `def` has no event loop: the reason says so, and nothing is called."""

    @asynccontextmanager
    async def around() -> AsyncIterator[None]:
        await asyncio.sleep(0)
        TENANT.set("awaited")
        yield

    saga, called = Saga("s"), []

    @saga.step(compensation=None)
    async def awaited() -> str:
        return TENANT.get()

    @saga.step(compensation=None, retry=RetryPolicy(attempts=1))
    def plain() -> None:
        called.append(1)

    result = ended(url, saga, around=around)
    assert (result.status, result.results, called) == (SagaStatus.COMPENSATED, {"awaited": "awaited"}, [])
    assert "asynchronous context manager" in str(result.error)


def test_what_cannot_stand_around_a_call_is_told_when_the_engine_is_made(url: str) -> None:
    """It takes a context, or nothing."""
    with pytest.raises(DefinitionError, match="must be callable with the call's StepContext"):
        open_engine(url, around=lambda one, two: (one, two))
    with pytest.raises(TypeError, match="give them to the App"):
        open_engine(url, app=App(), around=lambda: None)


def test_context_variables_of_the_starter_are_carried_if_asked_for(url: str) -> None:
    """Each call gets a copy: what it sets is gone after it."""

    def act() -> str:
        was = TENANT.get()
        TENANT.set("changed")
        return was

    saga = plain_and_awaited(act)
    token = TENANT.set("starter")
    try:
        assert ended(url, saga, carries_context=True).results == {"plain": "starter", "awaited": "starter"}
        assert ended(url, saga).results["plain"] in {"nobody", "changed"}
    finally:
        TENANT.reset(token)


# ── The event loop ───────────────────────────────────────────────────────────────────────────────────────


def on_which_thread() -> Saga:
    saga = Saga("where")

    @saga.step(compensation=None)
    async def awaited() -> str:
        await asyncio.sleep(0)
        return threading.current_thread().name

    return saga


def test_async_steps_run_on_the_loop_in_which_the_engine_was_opened(url: str) -> None:
    """Where the program's connections live. To block this loop would be to wait for ever: an error says so."""
    saga = on_which_thread()

    async def main() -> Any:
        async with open_engine(url, saga) as engine:
            handle = engine.start(saga)
            with pytest.raises(RuntimeError, match="await handle"):
                handle.result()
            return await handle

    assert asyncio.run(main()).results == {"awaited": threading.current_thread().name}


def test_async_steps_run_on_the_loop_that_is_named(url: str) -> None:
    """Whoever opens the engine; and on a loop of the engine's own when none is named."""
    saga, loop = on_which_thread(), asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="the-named-loop")
    thread.start()
    try:
        assert ended(url, saga, loop=loop).results == {"awaited": "the-named-loop"}
        assert ended(url, saga).results == {"awaited": "saga-es-asyncio"}
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(TIMEOUT_S)
        loop.close()


def test_a_step_that_blocks_the_loop_of_the_program_costs_no_other_saga_an_attempt(url: str) -> None:
    """Though the other call began before, and its time was over while the loop stood still."""
    other, culprit, begun = Saga("other"), Saga("culprit"), asyncio.Event()

    @other.step(compensation=None, timeout_s=0.5, retry=RetryPolicy(attempts=1))
    async def act() -> str:
        begun.set()
        await asyncio.sleep(0.1)
        return "done"

    @culprit.step(compensation=None)
    async def block() -> None:
        threading.Event().wait(2.0)

    async def main() -> Any:
        async with open_engine(url, other, culprit) as engine:
            handle = engine.start(other, wait=False)
            await begun.wait()
            await engine.start(culprit, wait=False)
            return await handle, handle.status()

    result, story = asyncio.run(main())
    assert (result.status, story.steps[0].attempts) == (SagaStatus.COMPLETED, 1)


def test_a_loop_that_is_closed_fails_no_saga(url: str) -> None:
    """Its steps go on on another."""
    loop = asyncio.new_event_loop()
    loop.close()
    assert ended(url, on_which_thread(), loop=loop).results == {"awaited": "saga-es-asyncio"}


# ── A cancel ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_running_step_can_ask_whether_its_saga_was_cancelled(url: str) -> None:
    """What it answers then still counts: it is compensated."""
    saga, begun, undone = Saga("s"), threading.Event(), list[str | None]()

    @saga.step
    def act(context: StepContext) -> str:
        begun.set()
        until = threading.Event()
        while not context.cancelled:
            until.wait(0.01)
        return f"stopped at {context.step}"

    @saga.compensates(act)
    def undo(act: str | None) -> None:
        undone.append(act)

    with open_engine(url, saga) as engine:
        handle = engine.start(saga)
        assert begun.wait(TIMEOUT_S)
        handle.cancel(reason="enough", actor="me")
        result = handle.result(TIMEOUT_S)
    assert (result.status, undone) == (SagaStatus.COMPENSATED, ["stopped at act"])


@pytest.mark.parametrize("cancellable", [False, True])
def test_a_running_async_step_is_cancelled_with_its_saga_if_it_says_so(url: str, *, cancellable: bool) -> None:
    """Nobody knows what it did: it is compensated without a result. Otherwise its answer is awaited."""
    saga, begun, undone = Saga("s"), threading.Event(), list[str | None]()

    @saga.step(cancellable=cancellable)
    async def act(context: StepContext) -> str:
        begun.set()
        while not context.cancelled:  # noqa: ASYNC110 (this is how a step asks)
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.01)
        return "done"

    @saga.compensates(act)
    def undo(act: str | None) -> None:
        undone.append(act)

    with open_engine(url, saga) as engine:
        handle = engine.start(saga)
        assert begun.wait(TIMEOUT_S)
        handle.cancel(reason="enough", actor="me")
        result = handle.result(TIMEOUT_S)
    assert (result.status, undone) == (SagaStatus.COMPENSATED, [None if cancellable else "done"])

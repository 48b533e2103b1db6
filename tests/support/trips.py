"""A trip: a saga of four steps whose participants write down what they saw, and can be told what to do."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import sqlalchemy as sa

from saga_es.core.plan import RetryPolicy
from saga_es.definition.saga import Saga
from saga_es.runtime.engine import Engine
from saga_es.runtime.inbox import StopRequest
from saga_es.store.log.entries import Draft, Prepared
from saga_es.store.ports import Conflict, Receipt, Written
from saga_es.store.tables import saga_workers
from saga_es.store.writer import Writer
from tests.conftest import AT, NOTE, TIMEOUT_S, NoteWritten, Store

T = TypeVar("T")

STEPS = ("car", "hotel", "flight", "bill")
QUICK = RetryPolicy(attempts=3, first_delay_s=0.02, jitter=0.0)
ONCE = RetryPolicy(attempts=1)

Act = Callable[[int], Any]
"""What a participant does at its n-th call (1-based), before it answers."""


@dataclass
class Diary:
    """The calls that arrived, in order: which, and with which key."""

    calls: list[tuple[str, str]] = field(default_factory=list)

    def note(self, call: str, key: str) -> int:
        """Write a call down; how many of this one there were."""
        self.calls.append((call, key))
        return len(self.keys(call))

    @property
    def names(self) -> list[str]:
        """The calls, without their keys."""
        return [call for call, _ in self.calls]

    def keys(self, call: str) -> list[str]:
        """The keys that one call came with, in order."""
        return [key for name, key in self.calls if name == call]


def trip(
    diary: Diary,
    acts: dict[str, Act] | None = None,
    *,
    steps: Sequence[str] = STEPS,
    retry: RetryPolicy = QUICK,
    timeout_s: float = 30.0,
) -> Saga:
    """The saga; `acts` says what happens inside a call: `car`, or `undo car`. Each second step is `async def`."""
    saga = Saga("trip")
    for place, name in enumerate(steps):
        step = _step(diary, name, (acts or {}).get(name), is_async=place % 2 == 1)
        saga.step(retry=retry, timeout_s=timeout_s)(step)
        saga.compensates(name, retry=retry)(_compensation(diary, name, (acts or {}).get(f"undo {name}")))
    return saga


def _step(diary: Diary, name: str, act: Act | None, *, is_async: bool) -> Callable[..., Any]:
    def plain(input: dict[str, Any], key: str) -> dict[str, Any]:  # noqa: A002 (the name a step asks for)
        count = diary.note(name, key)
        if act is not None:
            act(count)
        return {"id": f"{name}-{input['n']}"}

    async def awaited(input: dict[str, Any], key: str) -> dict[str, Any]:  # noqa: A002 (the name a step asks for)
        return plain(input, key)

    step: Callable[..., Any] = awaited if is_async else plain
    step.__name__ = name
    return step


def _compensation(diary: Diary, name: str, act: Act | None) -> Callable[..., None]:
    def undo(key: str) -> None:
        count = diary.note(f"undo {name}", key)
        if act is not None:
            act(count)

    return undo


def raising(error: Exception, times: int | None = None) -> Act:
    """Raise at the first so many calls; at every call when left out."""

    def act(count: int) -> None:
        if times is None or count <= times:
            raise error

    return act


class Stop:
    """Holds a call until it is let go; tells when the call has arrived."""

    def __init__(self, gate: threading.Event) -> None:
        self.arrived = threading.Event()
        self._gate = gate

    def __call__(self, _count: int) -> None:
        """Arrive, and wait."""
        self.arrived.set()
        self._gate.wait()


def events_of(engine: Engine, stream_id: str) -> list[object]:
    """The events of a stream, without their places."""
    return [recorded.event for recorded in engine.read(stream_id)]


def has_happened(engine: Engine, stream_id: str, kind: type) -> bool:
    """Whether an event of this kind stands in a stream."""
    return any(isinstance(event, kind) for event in events_of(engine, stream_id))


def until(look: Callable[[], T], timeout_s: float = TIMEOUT_S) -> T:
    """What a look finds, as soon as it finds something; nothing tells when, so it is looked often."""
    deadline = time.monotonic() + timeout_s
    while not (found := look()):
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s"
        time.sleep(0.01)
    return found


def worker_of(engine: Engine) -> str:
    """By which name the log knows an engine."""
    return engine._worker.worker_id


def bury(store: Store, engine: Engine) -> None:
    """Have an engine count as gone, as if its lease had run out."""
    with store.database.writing() as connection:
        row = saga_workers.c.worker_id == worker_of(engine)
        assert connection.execute(sa.delete(saga_workers).where(row)).rowcount == 1


def crash(store: Store, engine: Engine) -> None:
    """End an engine from one moment to the next: it says no goodbye, and hears no answer any more."""
    engine._stop_at = AT  # long ago
    engine._inbox.put(StopRequest())
    engine._thread.join(TIMEOUT_S)
    assert not engine.alive
    bury(store, engine)


class Spy(Writer):
    """A writer that remembers which drafts it wrote, batch by batch, and how each ended."""

    def __init__(self, store: Store) -> None:
        super().__init__(store.database, store.log, store.views)
        self.settled: list[tuple[Draft, Receipt]] = []
        self.conflict = threading.Event()

    def write(self, batch: Sequence[Prepared]) -> list[Receipt]:
        """Write, and remember."""
        receipts = super().write(batch)
        self.settled += [(prepared.draft, receipt) for prepared, receipt in zip(batch, receipts, strict=True)]
        if Conflict() in receipts:
            self.conflict.set()
        return receipts

    def appends(self, stream_id: str) -> list[Draft]:
        """The drafts of a stream that were written; each was one append, in one transaction."""
        return [draft for draft, receipt in self.settled if draft.stream_id == stream_id and receipt == Written()]


class Slow(Spy):
    """A writer that can be held up in the middle of a batch, so that facts and orders gather and become the next."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.may_write, self.is_held = threading.Event(), threading.Event()
        self.may_write.set()

    def write(self, batch: Sequence[Prepared]) -> list[Receipt]:
        """Write, as soon as it may."""
        if not self.may_write.is_set():
            self.is_held.set()
            assert self.may_write.wait(TIMEOUT_S)
        return super().write(batch)

    def hold(self, engine: Engine) -> threading.Thread:
        """Have the engine busy with a batch that takes its time."""
        self.may_write.clear()
        writing = threading.Thread(target=engine.append, args=("n-1", NOTE, 0, [NoteWritten("slow")]))
        writing.start()
        assert self.is_held.wait(TIMEOUT_S)
        return writing


def gathered(engine: Engine, count: int) -> None:
    """Wait until so many items are in the inbox of an engine that is held up."""
    until(lambda: len(engine._inbox) == count)

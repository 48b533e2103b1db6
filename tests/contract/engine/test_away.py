"""A participant that is away for a while: its calls wait for it, and go on by themselves when it answers."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from saga_es.core import events as e
from saga_es.core.state import SagaStatus
from saga_es.definition.requests import Participant
from saga_es.definition.saga import Saga
from saga_es.runtime.calls import away
from saga_es.runtime.calls.executor import Executor
from saga_es.runtime.calls.transport import HttpTransport
from tests.conftest import TIMEOUT_S, OpenEngine
from tests.support.trips import events_of, until

SAGAS = 40


class _Venue(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    request_queue_size = 128


@contextmanager
def venue(port: int = 0) -> Iterator[int]:
    """A real participant, on a port; nobody listens there before and after."""
    server = _Server(("127.0.0.1", port), _Venue)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def port() -> int:
    """A port on which nobody listens."""
    with venue() as free:
        return free


def booking(compensation: str | None = None) -> Saga:
    saga, asked = Saga("booking"), Participant("venue")
    saga.request("hall", asked.post("/hall"), compensation=asked.post("/no-hall") if compensation else None)
    return saga


def executor_of(port: int) -> Executor:
    return Executor({"venue": HttpTransport(f"http://127.0.0.1:{port}")}, threads=4)


def is_held(open_: Callable[[str, str], object], saga_id: str) -> bool:
    return open_(saga_id, "hall") is not None


def test_sagas_whose_participant_is_away_wait_for_it_and_complete(open_engine: OpenEngine, port: int) -> None:
    """Few attempts find out, none is spent by those that wait, and other sagas are not held up."""
    saga, quick = booking(), Saga("quick")
    quick.step(compensation=None)(_at_once)
    engine = open_engine(saga, quick, executor=executor_of(port))
    handles = [engine.start(saga) for _ in range(SAGAS)]
    until(lambda: all(is_held(engine.worker.absence, handle.saga_id) for handle in handles[-10:]))
    assert engine.start(quick).result(TIMEOUT_S).completed
    with venue(port):
        assert Counter(handle.result(TIMEOUT_S).status for handle in handles) == {SagaStatus.COMPLETED: SAGAS}
    failed = [event for handle in handles for event in events_of(engine, handle.saga_id) if _has_failed(event)]
    assert len(failed) < SAGAS
    assert engine.worker.absence(handles[-1].saga_id, "hall") is None


def test_what_is_held_back_says_for_whom(open_engine: OpenEngine, port: int) -> None:
    """Since when, and when the next call tries."""
    saga = booking()
    engine = open_engine(saga, executor=executor_of(port))
    handles = [engine.start(saga) for _ in range(SAGAS)]
    absence = until(lambda: engine.worker.absence(handles[-1].saga_id, "hall"))
    assert absence is not None
    assert absence.name == "participant 'venue'"
    wait_s = (absence.next_try_at - absence.since).total_seconds()
    assert 0 < wait_s < TIMEOUT_S + 2 * away.LONGEST_TRY_S
    assert engine.worker.absence("no such saga", "hall") is None


def test_a_held_call_takes_no_capacity_and_does_not_keep_the_engine_open(open_engine: OpenEngine, port: int) -> None:
    """A cancelled saga ends at once; an engine that closes leaves the others to the next, which makes the calls."""
    saga = booking("undo")
    engine = open_engine(saga, executor=executor_of(port))
    handles = [engine.start(saga) for _ in range(SAGAS)]
    until(lambda: is_held(engine.worker.absence, handles[-1].saga_id))
    engine.cancel(handles[-1].saga_id, reason="too late", actor="Ann")
    assert handles[-1].result(TIMEOUT_S).status is SagaStatus.COMPENSATED
    until(lambda: engine._worker.idle)
    engine.close(grace_s=TIMEOUT_S)
    with venue(port):
        second = open_engine(saga, executor=executor_of(port))
        followed = [second.follow(handle.saga_id) for handle in handles[:-1]]
        assert {handle.result(TIMEOUT_S).status for handle in followed} == {SagaStatus.COMPLETED}


def test_new_sagas_stay_pending_while_many_wait_for_the_participant(
    open_engine: OpenEngine, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They have no owner and the engine says why; when the participant is back, all are COMPLETED."""
    monkeypatch.setattr(away, "MOST_HELD", SAGAS // 2)
    saga, quick = booking(), Saga("quick")
    quick.step(compensation=None)(_at_once)
    engine = open_engine(saga, quick, executor=executor_of(port))
    first = [engine.start(saga) for _ in range(SAGAS)]
    until(lambda: engine.worker.absence_for("booking"))
    later = [engine.start(saga) for _ in range(SAGAS)]
    assert engine.start(quick).result(TIMEOUT_S).completed
    first_events = [event for handle in later for event in events_of(engine, handle.saga_id)]
    assert first_events == SAGAS * [e.SagaStarted("booking", saga.plan_id, {})]
    assert engine._worker.active <= SAGAS
    absence = engine.worker.absence_for("booking")
    assert absence is not None
    assert absence.name == "participant 'venue'"
    assert engine.worker.absence_for("quick") is None
    with venue(port):
        statuses = Counter(handle.result(TIMEOUT_S).status for handle in [*first, *later])
        assert statuses == {SagaStatus.COMPLETED: 2 * SAGAS}
    assert engine.worker.absence_for("booking") is None


def _at_once() -> int:
    return 1


def _has_failed(event: object) -> bool:
    return isinstance(event, e.StepFailed)

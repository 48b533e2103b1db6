"""Requests over the network wait on an event loop: many at once, each participant behind its own limit."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from queue import Empty, SimpleQueue

import pytest

from saga_es.core.outcomes import Completed, Direction, Outcome, Unavailable
from saga_es.definition.requests import Participant, Request
from saga_es.runtime.calls.bulkhead import Bulkhead
from saga_es.runtime.calls.executor import Executor
from saga_es.runtime.calls.limits import Limit, Turn
from saga_es.runtime.calls.port import Call, Lane
from saga_es.runtime.calls.transport import HttpTransport
from tests.support.raw_servers import raw_server, request_of
from tests.support.trips import until

PATIENCE_S = 20.0
DONE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
BANK, HOTEL = Participant("bank"), Participant("hotel")

Told = SimpleQueue[tuple[Call, Outcome]]


class Held:
    """A server that holds each request until it is let go."""

    def __init__(self) -> None:
        self.came: SimpleQueue[bytes] = SimpleQueue()
        self.go = threading.Event()

    def __call__(self, taken: socket.socket) -> None:
        """Do so on one connection."""
        while request := request_of(taken):
            self.came.put(request)
            self.go.wait(PATIENCE_S)
            taken.sendall(DONE)


@contextmanager
def an_executor(
    at_once: int = 256, threads: int = 2, limits: Mapping[str, Limit] | None = None, **ports: int
) -> Iterator[Executor]:
    transports = {name: HttpTransport(f"http://127.0.0.1:{port}", at_once) for name, port in ports.items()}
    executor = Executor(transports, threads, bulkhead=Bulkhead(at_once, limits))
    try:
        yield executor
    finally:
        executor.close()
        for transport in transports.values():
            transport.close()


def a_call(callee: Request, timeout_s: float = PATIENCE_S) -> Call:
    return Call("saga-1", "pay", Direction.ACTION, 1, callee, "k-1", {"input": {}}, timeout_s)


def perform(executor: Executor, *calls: Call) -> Told:
    told: Told = SimpleQueue()
    executor.perform(calls, lambda call, outcome: told.put((call, outcome)))
    return told


def outcomes(told: Told, count: int) -> list[Outcome]:
    return [told.get(timeout=PATIENCE_S)[1] for _ in range(count)]


@pytest.mark.parametrize("body", [None, lambda: {"n": 1}], ids=["without a body", "with a body"])
def test_many_more_requests_than_threads_are_in_flight_at_once(body: object) -> None:
    """They wait for their answers on no thread, also when a function makes their bodies."""
    held = Held()
    request = BANK.post("/pays", body)  # type: ignore[arg-type]
    with raw_server(held) as server, an_executor(bank=server.port) as executor:
        told = perform(executor, *(a_call(request) for _ in range(50)))
        for _ in range(50):
            held.came.get(timeout=PATIENCE_S)
        assert told.empty()
        held.go.set()
        assert outcomes(told, 50) == [Completed({})] * 50


def test_no_participant_has_more_requests_than_its_limit_and_none_waits_for_another() -> None:
    """What waits for its turn has not begun: its time-out does not run, and given up it is never made."""
    held, open_one = Held(), Held()
    open_one.go.set()
    with (
        raw_server(held) as bank,
        raw_server(open_one) as hotel,
        an_executor(at_once=2, bank=bank.port, hotel=hotel.port) as executor,
    ):
        calls = [a_call(BANK.post("/pays")) for _ in range(5)]
        told = perform(executor, *calls)
        for _ in range(2):
            held.came.get(timeout=PATIENCE_S)
        assert outcomes(perform(executor, *(a_call(HOTEL.post("/rooms")) for _ in range(9))), 9) == [Completed({})] * 9
        assert [call.began_at is None for call in calls] == [False, False, True, True, True]
        assert executor.waiting == 3
        assert not executor.give_up(calls[3])
        with pytest.raises(Empty):
            held.came.get_nowait()
        held.go.set()
        assert {id(told.get(timeout=PATIENCE_S)[0]) for _ in range(4)} == {id(calls[n]) for n in (0, 1, 2, 4)}
        assert held.came.qsize() == 1 + 1
        assert calls[3].began_at is None


def test_a_request_that_is_given_up_makes_room_for_the_next() -> None:
    """Its connection is closed: a participant that hangs keeps nothing of ours."""
    held = Held()
    with raw_server(held) as server, an_executor(at_once=1, bank=server.port) as executor:
        hanging, following = a_call(BANK.post("/pays/hangs")), a_call(BANK.post("/pays/follows"))
        told = perform(executor, hanging, following)
        assert b"hangs" in held.came.get(timeout=PATIENCE_S)
        assert executor.give_up(hanging)
        assert b"follows" in held.came.get(timeout=PATIENCE_S)
        held.go.set()
        ended = {id(call): outcome for call, outcome in (told.get(timeout=PATIENCE_S) for _ in range(2))}
        assert ended[id(following)] == Completed({})


def test_requests_that_are_given_up_before_they_began_wait_no_more() -> None:
    """Who counts them would leave new sagas in the log for ever: they were never made, and are out of the way."""
    held = Held()
    with raw_server(held) as server, an_executor(at_once=1, bank=server.port) as executor:
        room = executor.capacity_of("")
        hanging, *waiting = (a_call(BANK.post("/pays")) for _ in range(9))
        told = perform(executor, hanging, *waiting)
        held.came.get(timeout=PATIENCE_S)
        assert executor.waiting_of("")[0] == 8
        assert not any(executor.give_up(call) for call in waiting)
        held.go.set()
        assert outcomes(told, 1) == [Completed({})]
        until(lambda: executor.waiting_of("")[0] == 0)
        assert (executor.capacity_of(""), executor.waiting) == (room, 0)
        assert held.came.empty()


def test_a_condition_of_the_application_is_asked_on_a_thread() -> None:
    """It may block: no other request stands behind it."""
    held, blocks = Held(), threading.Event()
    held.go.set()

    def wanted() -> bool:
        return blocks.wait(PATIENCE_S)

    with raw_server(held) as server, an_executor(bank=server.port) as executor:
        slow = a_call(BANK.post("/pays"))
        slow.condition = wanted
        told = perform(executor, slow)
        assert outcomes(perform(executor, a_call(BANK.post("/pays"))), 1) == [Completed({})]
        blocks.set()
        assert outcomes(told, 1) == [Completed({})]


def test_a_closed_executor_tells_nothing_of_requests_that_it_cuts() -> None:
    """The next worker makes them again, and those that wait were never made."""
    held = Held()
    with raw_server(held) as server, an_executor(at_once=1, bank=server.port) as executor:
        told = perform(executor, a_call(BANK.post("/pays")), a_call(BANK.post("/pays")))
        held.came.get(timeout=PATIENCE_S)
        executor.close()
        assert told.empty()
        held.go.set()
        assert held.came.empty()


def test_a_request_for_which_the_system_gives_no_thread_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was sent; so is the next that waited for its turn."""

    def refuses(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with an_executor(at_once=1, bank=9) as executor:
        monkeypatch.setattr(threading.Thread, "start", refuses)
        told = perform(executor, a_call(BANK.post("/pays")), a_call(BANK.post("/pays")))
        why = "nothing was sent: RuntimeError: can't start new thread"
        assert outcomes(told, 2) == [Unavailable(why), Unavailable(why)]


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        (Limit(3), "participant 'bank', which gets at most 3 at once"),
        (Limit(50, 0.5), "participant 'bank', which gets at most 50 at once and 0.5 a second"),
    ],
)
def test_a_turn_says_what_its_participant_gets(limit: Limit, words: str) -> None:
    """A person who asks why nothing moves reads both limits, where there are two."""
    assert Turn("bank", 3, limit).words == words


def test_calls_begin_as_fast_as_the_rate_of_their_participant_and_no_other_waits() -> None:
    """By a clock of the test: the first at once, each further one when its time has come."""
    now = 100.0
    woken: list[tuple[float, Lane]] = []
    bulkhead = Bulkhead(limits={"bank": Limit(50, rate=4)}, now=lambda: now)
    bulkhead.later = lambda wait_s, lane: woken.append((wait_s, lane))
    calls = [a_call(BANK.post("/pays")) for _ in range(4)]
    calls[2].is_given_up = True

    def told(_call: Call, _outcome: Outcome) -> None:
        """Nobody asks."""

    assert [call for call, _ in bulkhead.enter((call, told) for call in calls)] == calls[:1]
    assert len(bulkhead.enter([(a_call(HOTEL.post("/rooms")), told)])) == 1
    assert woken == [(0.25, calls[0].lane)]
    assert bulkhead.leave(calls[0]) == []
    assert len(woken) == 1, "it is woken once"
    assert bulkhead.turn_of(calls[1]) == Turn("bank", 3, Limit(50, 4))
    now += 0.25
    assert [call for call, _ in bulkhead.wake(calls[0].lane)] == calls[1:3], "what was given up takes nobody's turn"
    now += 0.25
    assert [call for call, _ in bulkhead.wake(calls[0].lane)] == calls[3:]
    assert bulkhead.waiting == 0


def test_a_rate_lets_all_calls_through_in_the_end() -> None:
    """They wait on no thread, and are woken by themselves."""
    held = Held()
    held.go.set()
    with raw_server(held) as server, an_executor(limits={"bank": Limit(2, rate=200)}, bank=server.port) as executor:
        told = perform(executor, *(a_call(BANK.post("/pays")) for _ in range(30)))
        assert outcomes(told, 30) == [Completed({})] * 30

"""The threads of calls: as many as are needed, never more than allowed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from queue import SimpleQueue

import pytest

from saga_es.runtime.calls.pool import Pool, Work
from tests.support.logged import captured_logs

TIMEOUT_S = 10.0


def submit(pool: Pool, *work: Work, lane: str = "hotel") -> None:
    pool.submit([(("participant", lane), piece) for piece in work])


def test_work_is_started_in_the_order_of_submission() -> None:
    """One thread does one after the other."""
    told: SimpleQueue[int] = SimpleQueue()
    pool = Pool(1)
    for number in range(50):
        submit(pool, lambda number=number: told.put(number))  # type: ignore[misc]
    assert [told.get(timeout=TIMEOUT_S) for _ in range(50)] == list(range(50))
    pool.close()


def test_there_are_never_more_threads_than_allowed() -> None:
    """However much is submitted at once."""
    told: SimpleQueue[threading.Thread] = SimpleQueue()
    pool = Pool(3)
    for _ in range(100):
        submit(pool, lambda: told.put(threading.current_thread()))
    assert len({told.get(timeout=TIMEOUT_S) for _ in range(100)}) <= 3
    pool.close()


def test_no_thread_is_started_in_vain(monkeypatch: pytest.MonkeyPatch) -> None:
    """While all that are allowed are busy, work waits for one of them; none comes only to go again."""
    start, started, told, gate = threading.Thread.start, SimpleQueue[None](), SimpleQueue[str](), threading.Event()

    def counted(thread: threading.Thread) -> None:
        started.put(None)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", counted)
    pool = Pool(3)

    def held() -> None:
        told.put("came")
        assert gate.wait(TIMEOUT_S)
        told.put("went")

    for lane in ("hotel", "bank"):
        submit(pool, held, held, lane=lane)
    assert [told.get(timeout=TIMEOUT_S) for _ in range(3)] == ["came"] * 3
    gate.set()
    assert sorted(told.get(timeout=TIMEOUT_S) for _ in range(5)) == ["came", *["went"] * 4]
    assert started.qsize() == 3
    pool.close()


def test_all_threads_that_are_allowed_work_at_once() -> None:
    """Each piece of work waits for the two others; twice, so that idle threads are used again."""
    told: SimpleQueue[int] = SimpleQueue()
    pool = Pool(3)
    for _ in range(2):
        together = threading.Barrier(3, timeout=TIMEOUT_S)
        for _ in range(3):
            submit(pool, lambda together=together: told.put(together.wait()))  # type: ignore[misc]
        assert {told.get(timeout=TIMEOUT_S) for _ in range(3)} == {0, 1, 2}
    pool.close()


def test_a_closed_pool_lets_its_threads_end() -> None:
    """When what was submitted before is done; they are daemons, so a hung one keeps no process from ending."""
    told: SimpleQueue[threading.Thread] = SimpleQueue()
    pool = Pool(2)
    submit(pool, lambda: told.put(threading.current_thread()))
    pool.close()
    thread = told.get(timeout=TIMEOUT_S)
    assert thread.daemon
    thread.join(TIMEOUT_S)
    assert not thread.is_alive()


def test_a_piece_that_takes_its_time_holds_up_no_other() -> None:
    """Work that was submitted together is not done together: another thread goes on with the rest."""
    told: SimpleQueue[int] = SimpleQueue()
    pool = Pool(2)
    gate = threading.Event()
    submit(pool, lambda: told.put(gate.wait(TIMEOUT_S)), *(lambda n=n: told.put(n) for n in range(2, 50)))
    assert [told.get(timeout=TIMEOUT_S) for _ in range(2, 50)] == list(range(2, 50))
    gate.set()
    assert told.get(timeout=TIMEOUT_S) is True
    pool.close()


def test_no_work_is_lost_between_threads_that_come_and_go() -> None:
    """Many threads submit while those of the pool fall asleep and wake."""
    told: SimpleQueue[int] = SimpleQueue()
    pool = Pool(4)

    def submit_many() -> None:
        for _ in range(500):
            submit(pool, lambda: told.put(1))

    threads = [threading.Thread(target=submit_many) for _ in range(6)]
    for thread in threads:
        thread.start()
    assert sum(told.get(timeout=TIMEOUT_S) for _ in range(3000)) == 3000
    pool.close()


@pytest.mark.parametrize("error", [ValueError("oops"), SystemExit(3), KeyboardInterrupt()], ids=repr)
def test_a_thread_outlives_whatever_its_work_raises(error: BaseException) -> None:
    """Work should not, but a thread that ended would be missing for ever; what it was is logged."""
    told: SimpleQueue[threading.Thread] = SimpleQueue()
    pool = Pool(1)

    def fail() -> None:
        told.put(threading.current_thread())
        raise error

    with captured_logs() as logs:
        submit(pool, fail, fail)
        submit(pool, lambda: told.put(threading.current_thread()))
        assert len({told.get(timeout=TIMEOUT_S) for _ in range(3)}) == 1
    assert [log["log_level"] for log in logs] == ["error"] * 2
    assert threads_of(pool, 1)
    pool.close()
    assert threads_of(pool, 0)


def test_where_no_more_threads_can_be_started_those_there_are_do_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container may allow a process fewer than the settings do; nothing is lost, and no thread ends by that."""
    told: SimpleQueue[int] = SimpleQueue()
    pool = Pool(3)
    submit(pool, lambda: told.put(-1))
    assert told.get(timeout=TIMEOUT_S) == -1

    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    for _ in range(3):
        submit(pool, *(partial(told.put, number) for number in range(20)))
        assert [told.get(timeout=TIMEOUT_S) for _ in range(20)] == list(range(20))
    assert threads_of(pool, 1)
    with pytest.raises(RuntimeError):
        submit(Pool(3), lambda: None)
    pool.close()


# ── Work that was given up ───────────────────────────────────────────────────────────────────────────────


class Hanging:
    """Pieces of work that each hold a thread until they are let go."""

    def __init__(self, pool: Pool, count: int, lane: str = "hotel") -> None:
        self._gates = [threading.Event() for _ in range(count)]
        self._pieces = [partial(self._hang, gate) for gate in self._gates]
        self._pool = pool
        self._told: SimpleQueue[None] = SimpleQueue()
        submit(pool, *self._pieces, lane=lane)

    def _hang(self, gate: threading.Event) -> None:
        self._told.put(None)
        gate.wait(TIMEOUT_S)

    def begun(self, count: int) -> None:
        """Wait until so many more hang."""
        for _ in range(count):
            self._told.get(timeout=TIMEOUT_S)

    def give_up(self, *numbers: int) -> None:
        """Nobody waits for these any more."""
        for number in numbers:
            self._pool.give_up(lambda work, number=number: work is self._pieces[number])  # type: ignore[misc]

    def let_go(self) -> None:
        """All come back."""
        for gate in self._gates:
            gate.set()


class Gates:
    """Whatever a test leaves hanging comes back at its end."""

    def __init__(self) -> None:
        self._all: list[Hanging] = []

    def hang(self, pool: Pool, count: int, lane: str = "hotel") -> Hanging:
        """So many pieces that hang."""
        hanging = Hanging(pool, count, lane)
        self._all.append(hanging)
        return hanging

    def let_all_go(self) -> None:
        """All come back."""
        for hanging in self._all:
            hanging.let_go()


@pytest.fixture
def gates() -> Iterator[Gates]:
    """For work to hang on; open in the end."""
    gates = Gates()
    yield gates
    gates.let_all_go()


def threads_of(pool: Pool, count: int) -> bool:
    """Whether it comes to have so many."""
    for _ in range(int(TIMEOUT_S / 0.01)):
        if len(pool._seats) == count:
            return True
        threading.Event().wait(0.01)
    return False


def test_work_that_was_given_up_and_hangs_holds_up_no_other_lane(gates: Gates) -> None:
    """Neither what waits already nor what comes later; and as many as are allowed work at once."""
    told: SimpleQueue[int] = SimpleQueue()
    pool = Pool(2)
    hanging = gates.hang(pool, 2)
    hanging.begun(2)
    submit(pool, lambda: told.put(1), lane="car")
    hanging.give_up(0, 1)
    assert told.get(timeout=TIMEOUT_S) == 1
    together = threading.Barrier(2, timeout=TIMEOUT_S)
    submit(pool, *(lambda: told.put(together.wait()) for _ in range(2)), lane="car")
    assert {told.get(timeout=TIMEOUT_S) for _ in range(2)} == {0, 1}
    pool.close()


def test_work_that_was_given_up_counts_for_its_lane_until_it_comes_back(gates: Gates) -> None:
    """There are never more pieces of a lane under way than are allowed: what its threads are at is still being done."""
    told: SimpleQueue[int] = SimpleQueue()
    pool = Pool(2)
    hanging = gates.hang(pool, 2)
    hanging.begun(2)
    submit(pool, lambda: told.put(1))
    hanging.give_up(0)
    submit(pool, lambda: told.put(2), lane="car")
    assert told.get(timeout=TIMEOUT_S) == 2
    assert told.empty()
    hanging.let_go()
    assert told.get(timeout=TIMEOUT_S) == 1
    pool.close()


def test_threads_that_hung_and_were_replaced_end_when_they_come_back(gates: Gates) -> None:
    """Then there are as many as are allowed, and all of them work."""
    told: SimpleQueue[int] = SimpleQueue()
    pool = Pool(2)
    first = gates.hang(pool, 2)
    first.begun(2)
    first.give_up(0, 1)
    second = gates.hang(pool, 2, lane="car")
    second.begun(2)
    assert threads_of(pool, 4)
    first.let_go()
    assert threads_of(pool, 2)
    second.let_go()
    for _ in range(2):
        together = threading.Barrier(2, timeout=TIMEOUT_S)
        submit(pool, *(lambda together=together: told.put(together.wait()) for _ in range(2)))
        assert {told.get(timeout=TIMEOUT_S) for _ in range(2)} == {0, 1}
    assert threads_of(pool, 2)
    pool.close()
    assert threads_of(pool, 0)


def test_a_thread_that_hung_and_was_not_replaced_goes_on(gates: Gates) -> None:
    """Nothing else was to be done meanwhile, so none was started."""
    told: SimpleQueue[threading.Thread] = SimpleQueue()
    pool = Pool(1)
    hanging = gates.hang(pool, 1)
    hanging.begun(1)
    hanging.give_up(0)
    hanging.let_go()
    for _ in range(20):
        submit(pool, lambda: told.put(threading.current_thread()))
    assert len({told.get(timeout=TIMEOUT_S) for _ in range(20)}) <= 2, "it may not have been back for the first"
    assert threads_of(pool, 1)
    pool.close()


def test_a_lane_in_which_all_hang_stops_alone_and_a_warning_names_it_once(gates: Gates) -> None:
    """With the numbers and the cure; what waits is done when one comes back."""
    told: SimpleQueue[str] = SimpleQueue()
    with captured_logs() as logs:
        pool = Pool(2)
        hanging = gates.hang(pool, 3)
        hanging.begun(2)
        hanging.give_up(0)
        assert logs == []
        hanging.give_up(1)
        submit(pool, lambda: told.put("car"), lane="car")
        assert told.get(timeout=TIMEOUT_S) == "car"
        for lane in ("ship", "hotel"):
            submit(pool, lambda lane=lane: told.put(lane), lane=lane)  # type: ignore[misc]
        assert told.get(timeout=TIMEOUT_S) == "ship"
    (warning,) = logs
    numbers = {name: warning[name] for name in ("participant", "hanging", "call_threads", "waiting")}
    assert numbers == {"participant": "hotel", "hanging": 2, "call_threads": 2, "waiting": 1}
    assert "a time-out for each socket" in warning["cure"]
    hanging.let_go()
    assert told.get(timeout=TIMEOUT_S) == "hotel"
    assert threads_of(pool, 2)
    pool.close()


def test_lanes_take_turns() -> None:
    """However much waits in one, the next piece of another waits for one piece of each."""
    told: SimpleQueue[str] = SimpleQueue()
    pool = Pool(1)
    gate = threading.Event()
    submit(pool, lambda: told.put(str(gate.wait(TIMEOUT_S))), lane="first")
    submit(pool, *(partial(told.put, "hotel") for _ in range(50)))
    submit(pool, *(partial(told.put, "car") for _ in range(2)), lane="car")
    submit(pool, partial(told.put, "ship"), lane="ship")
    gate.set()
    heard = [told.get(timeout=TIMEOUT_S) for _ in range(54)]
    assert heard[:6] == ["True", "hotel", "car", "ship", "hotel", "car"]
    pool.close()


def test_no_thread_is_lost_or_won_between_work_that_comes_back_and_work_that_is_given_up() -> None:
    """Pieces that are given up at the very moment in which they end."""
    told: SimpleQueue[int] = SimpleQueue()
    pool = Pool(3)
    for _ in range(300):
        pieces = [partial(told.put, number) for number in range(6)]
        submit(pool, *pieces)
        for piece in pieces:
            pool.give_up(lambda work, piece=piece: work is piece)  # type: ignore[misc]
    assert len([told.get(timeout=TIMEOUT_S) for _ in range(1800)]) == 1800
    for _ in range(3):
        together = threading.Barrier(3, timeout=TIMEOUT_S)
        submit(pool, *(lambda together=together: told.put(together.wait()) for _ in range(3)))
        assert {told.get(timeout=TIMEOUT_S) for _ in range(3)} == {0, 1, 2}
    assert threads_of(pool, 3)
    assert pool._hanging == 0
    pool.close()

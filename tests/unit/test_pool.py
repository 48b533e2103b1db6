"""The threads of calls: as many as are needed, never more than allowed."""

from __future__ import annotations

import threading
from queue import SimpleQueue

from saga_es.runtime.pool import Pool

PATIENCE_S = 10.0


def test_work_is_started_in_the_order_of_submission() -> None:
    """One thread does one after the other."""
    told: SimpleQueue[int] = SimpleQueue()
    pool = Pool(1)
    for number in range(50):
        pool.submit(lambda number=number: told.put(number))  # type: ignore[misc]
    assert [told.get(timeout=PATIENCE_S) for _ in range(50)] == list(range(50))
    pool.close()


def test_there_are_never_more_threads_than_allowed() -> None:
    """However much is submitted at once."""
    told: SimpleQueue[threading.Thread] = SimpleQueue()
    pool = Pool(3)
    for _ in range(100):
        pool.submit(lambda: told.put(threading.current_thread()))
    assert len({told.get(timeout=PATIENCE_S) for _ in range(100)}) <= 3
    pool.close()


def test_all_threads_that_are_allowed_work_at_once() -> None:
    """Each piece of work waits for the two others; twice, so that idle threads are used again."""
    told: SimpleQueue[int] = SimpleQueue()
    pool = Pool(3)
    for _ in range(2):
        together = threading.Barrier(3, timeout=PATIENCE_S)
        for _ in range(3):
            pool.submit(lambda together=together: told.put(together.wait()))  # type: ignore[misc]
        assert {told.get(timeout=PATIENCE_S) for _ in range(3)} == {0, 1, 2}
    pool.close()


def test_a_closed_pool_lets_its_threads_end() -> None:
    """When what was submitted before is done; they are daemons, so a hung one keeps no process from ending."""
    told: SimpleQueue[threading.Thread] = SimpleQueue()
    pool = Pool(2)
    pool.submit(lambda: told.put(threading.current_thread()))
    pool.close()
    thread = told.get(timeout=PATIENCE_S)
    assert thread.daemon
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


def test_a_piece_that_takes_its_time_holds_up_no_other() -> None:
    """Work that was submitted together is not done together: another thread goes on with the rest."""
    told: SimpleQueue[int] = SimpleQueue()
    pool = Pool(2)
    gate = threading.Event()
    pool.submit(lambda: told.put(gate.wait(PATIENCE_S)), *(lambda n=n: told.put(n) for n in range(2, 50)))
    assert [told.get(timeout=PATIENCE_S) for _ in range(2, 50)] == list(range(2, 50))
    gate.set()
    assert told.get(timeout=PATIENCE_S) is True
    pool.close()


def test_no_work_is_lost_between_threads_that_come_and_go() -> None:
    """Many threads submit while those of the pool fall asleep and wake."""
    told: SimpleQueue[int] = SimpleQueue()
    pool = Pool(4)

    def submit() -> None:
        for _ in range(500):
            pool.submit(lambda: told.put(1))

    threads = [threading.Thread(target=submit) for _ in range(6)]
    for thread in threads:
        thread.start()
    assert sum(told.get(timeout=PATIENCE_S) for _ in range(3000)) == 3000
    pool.close()

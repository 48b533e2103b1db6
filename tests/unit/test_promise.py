"""Something that will be known once: told to threads, to futures, and to those who come late."""

from __future__ import annotations

import threading

import pytest

from saga_es.runtime.waiting.promise import Promise

TIMEOUT_S = 10.0


def test_all_threads_that_wait_are_told() -> None:
    """However many there are."""
    promise: Promise[int] = Promise()
    told: list[int] = []
    threads = [threading.Thread(target=lambda: told.append(promise.wait(TIMEOUT_S))) for _ in range(5)]
    for thread in threads:
        thread.start()
    promise.resolve(7)
    for thread in threads:
        thread.join(TIMEOUT_S)
    assert told == [7] * 5


def test_who_is_first_counts() -> None:
    """A second value, or an error, changes nothing."""
    promise: Promise[int] = Promise()
    promise.resolve(1)
    promise.resolve(2)
    promise.resolve(None, ValueError("late"))
    assert promise.wait(0) == promise.future.result(0) == 1


@pytest.mark.parametrize("asked_before", [True, False])
def test_a_future_tells_the_same(asked_before: bool) -> None:  # noqa: FBT001
    """Whether it was asked for before the value was known, or after."""
    value, error = Promise[int](), Promise[int]()
    if asked_before:
        assert not value.future.done()
        assert not error.future.done()
    value.resolve(3)
    error.resolve(None, ValueError("no"))
    assert value.future.result(0) == 3
    assert isinstance(error.future.exception(0), ValueError)
    with pytest.raises(ValueError, match="no"):
        error.wait()


@pytest.mark.parametrize("timeout", [0.0, -1.0, 0.001])
def test_patience_ends(timeout: float) -> None:
    """Also of one who has none, or less than none."""
    with pytest.raises(TimeoutError):
        Promise[int]().wait(timeout)

"""A promise: a value that is set once. Threads wait for it, and a future makes it available to asyncio and callbacks.

It is a lock that is held until the value is set. A `concurrent.futures.Future` costs ten times as much, and each saga
needs two promises; so the future is made only if it is needed.
"""

from __future__ import annotations

from concurrent.futures import Future
from threading import Lock
from typing import Generic, TypeVar

T = TypeVar("T")

_SETTLING = Lock()
"""Held while a value is set, so that the first value stays. One lock serves all promises: it is held for a moment."""


class Promise(Generic[T]):
    """A value or an error, set once; the first counts.

    Attributes:
        is_known: Whether the value or the error is set.
    """

    __slots__ = ("_error", "_future", "_gate", "_value", "is_known")

    def __init__(self) -> None:
        self._gate = Lock()
        self._gate.acquire()
        self.is_known = False
        self._value: T | None = None
        self._error: Exception | None = None
        self._future: Future[T] | None = None

    def resolve(self, value: T | None, error: Exception | None = None) -> None:
        """Set the value or the error, and wake all waiting threads. Does nothing if it is set already."""
        with _SETTLING:
            if self.is_known:
                return
            self._value, self._error, self.is_known = value, error, True
            future = self._future
        self._gate.release()
        if future is not None:
            self._pass_on(future)

    def wait(self, timeout: float | None = None) -> T:
        """Block until the value is set, and return it.

        Args:
            timeout: Seconds to wait; None: for ever.

        Raises:
            TimeoutError: It took longer than `timeout` seconds.
            Exception: The error that was set instead of a value.
        """
        if not self.is_known:
            if not self._gate.acquire(timeout=-1 if timeout is None else max(0.0, timeout)):
                raise TimeoutError
            self._gate.release()  # for the next waiting thread
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]  # it is set

    @property
    def future(self) -> Future[T]:
        """The promise as a future of the standard library."""
        with _SETTLING:
            if self._future is None:
                self._future = Future()
                if self.is_known:
                    self._pass_on(self._future)
            return self._future

    def _pass_on(self, future: Future[T]) -> None:
        if self._error is None:
            future.set_result(self._value)  # type: ignore[arg-type]  # it is set
        else:
            future.set_exception(self._error)

"""Something that will be known once, and is waited for: by threads, in asyncio, or by a callback.

A lock that is held until then. A `concurrent.futures.Future` costs ten times as much, and each saga needs two; so it is
made only for those who need one.
"""

from __future__ import annotations

from concurrent.futures import Future
from threading import Lock
from typing import Generic, TypeVar

T = TypeVar("T")

_SETTLING = Lock()
"""Held for a moment, so that what is known first stays; one for all, for none is held while anything else is done."""


class Promise(Generic[T]):
    """A value, or an error, that is told once; who is first counts."""

    __slots__ = ("_error", "_future", "_gate", "_is_known", "_value")

    def __init__(self) -> None:
        self._gate = Lock()
        self._gate.acquire()
        self._is_known = False
        self._value: T | None = None
        self._error: Exception | None = None
        self._future: Future[T] | None = None

    def resolve(self, value: T | None, error: Exception | None = None) -> None:
        """Let all who wait, and will wait, know; nothing happens if they do already."""
        with _SETTLING:
            if self._is_known:
                return
            self._value, self._error, self._is_known = value, error, True
            future = self._future
        self._gate.release()
        if future is not None:
            self._pass_on(future)

    def wait(self, timeout: float | None = None) -> T:
        """The value, as soon as it is known.

        Raises:
            TimeoutError: It took longer than `timeout` seconds.
            Exception: What was told instead of a value.
        """
        if not self._is_known:
            if not self._gate.acquire(timeout=-1 if timeout is None else max(0.0, timeout)):
                raise TimeoutError
            self._gate.release()  # for the next who waits
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]  # it was told

    @property
    def future(self) -> Future[T]:
        """The same as a future of the standard library."""
        with _SETTLING:
            if self._future is None:
                self._future = Future()
                if self._is_known:
                    self._pass_on(self._future)
            return self._future

    def _pass_on(self, future: Future[T]) -> None:
        if self._error is None:
            future.set_result(self._value)  # type: ignore[arg-type]  # it was told
        else:
            future.set_exception(self._error)

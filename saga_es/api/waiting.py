"""Requests that wait for the end of a saga: they have a bound of their own, and keep no other request from its turn."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from saga_es.api.problems import RETRY_AFTER_S, Problem

_TURNS = "saga_es.turns"


class Turns:
    """A WSGI application whose requests are served so many at once; those that wait for a saga are not counted.

    The server has a thread for each request, counted or waiting. A request that comes over no server of ours, such as
    a call within the process, has no turn, and waits without a bound.

    Args:
        at_once: Requests served at once.
        most_waiting: Requests that wait for a saga at once.
    """

    def __init__(self, app: WSGIApplication, at_once: int, most_waiting: int) -> None:
        self._app = app
        self._turns = threading.Semaphore(at_once)
        self._most_waiting = most_waiting
        self._places = threading.BoundedSemaphore(most_waiting)
        self._streams = threading.BoundedSemaphore(max(1, most_waiting // 2))

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request when it has its turn."""
        environ[_TURNS] = self
        with self._turns:
            return self._app(environ, start_response)

    @contextmanager
    def given_up(self) -> Iterator[None]:
        """While this holds, the request waits for a saga, and another has its turn.

        Raises:
            Problem: So many requests wait already.
        """
        if not self._places.acquire(blocking=False):
            why = f"{self._most_waiting} requests wait for their sagas, the limit (SAGA_ES_WAITING_REQUESTS)"
            cure = "try again, or send `Prefer: respond-async`, which does not wait"
            raise Problem(429, f"{why}; {cure}", headers={"Retry-After": str(RETRY_AFTER_S)})
        try:
            self._turns.release()
            try:
                yield
            finally:
                self._turns.acquire()
        finally:
            self._places.release()

    def stream(self) -> Callable[[], None] | None:
        """Take a place for an answer that goes on and on: half of the places of those that wait, at most.

        Returns:
            What gives the place back; None if none is free.
        """
        if not self._streams.acquire(blocking=False):
            return None
        if self._places.acquire(blocking=False):
            return self._leave
        self._streams.release()
        return None

    def _leave(self) -> None:
        self._places.release()
        self._streams.release()


def place_of_a_stream(environ: dict[str, Any]) -> Callable[[], None] | None:
    """A place for an answer that goes on and on, and what gives it back; None where there is none.

    A server that is not ours has no such places: a stream could take the only thread that it has.
    """
    turns = environ.get(_TURNS)
    return turns.stream() if isinstance(turns, Turns) else None


@contextmanager
def waiting_for_a_saga(environ: dict[str, Any]) -> Iterator[None]:
    """While this holds, the request of this environment waits for a saga.

    Raises:
        Problem: Too many requests wait already.
    """
    turns = environ.get(_TURNS)
    if not isinstance(turns, Turns):
        yield
        return
    with turns.given_up():
        yield

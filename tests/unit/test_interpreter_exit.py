"""What an engine does when the interpreter ends, and starts no more threads."""

from __future__ import annotations

import threading

import pytest

from saga_es.errors import StoreUnavailable
from saga_es.runtime.waiting.outage import with_timeout


def no_more(_thread: threading.Thread) -> None:
    raise RuntimeError("can't create new thread at interpreter shutdown")


def test_where_no_thread_can_be_started_it_acts_on_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that ends in `atexit` says goodbye all the same, and its errors are the caller's."""
    monkeypatch.setattr(threading.Thread, "start", no_more)
    done: list[str] = []
    with_timeout(1.0, lambda: done.append(threading.current_thread().name))
    assert done == [threading.current_thread().name]

    def away() -> None:
        raise StoreUnavailable("away")

    with pytest.raises(StoreUnavailable, match="away"):
        with_timeout(1.0, away)

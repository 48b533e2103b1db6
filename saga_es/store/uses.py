"""The uses of a thing that are under way, and a time at which there are none."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class Uses:
    """Who uses a thing now. A thread may use it again within a use."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._by_thread: Counter[int] = Counter()
        self._are_held = False

    @contextmanager
    def one(self) -> Iterator[None]:
        """A use; it waits to begin while uses are held."""
        thread = threading.get_ident()
        with self._changed:
            while self._are_held and not self._by_thread[thread]:
                self._changed.wait()
            self._by_thread[thread] += 1
        try:
            yield
        finally:
            with self._changed:
                self._by_thread[thread] -= 1
                if not self._by_thread[thread]:
                    del self._by_thread[thread]
                    self._changed.notify_all()

    def hold(self, timeout_s: float) -> None:
        """Let none begin before `go_on`, and wait so long for those of other threads to end."""
        own = threading.get_ident()
        with self._changed:
            self._are_held = True
            self._changed.wait_for(lambda: not self._by_thread.keys() - {own}, timeout_s)

    def go_on(self) -> None:
        """Let those begin that wait."""
        with self._changed:
            self._are_held = False
            self._changed.notify_all()

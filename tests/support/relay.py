"""A stretch of network that a test can cut, or freeze: a TCP relay in front of a real server."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Self


class Relay:
    """Passes bytes on to an address, until it is cut; then connections are closed, and new ones too."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._whole = True
        self._flows = threading.Event()
        self._flows.set()
        self._holds = threading.Event()
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()
        self._flows.set()
        # A blocked accept() is not ended by close(), but by shutdown().
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join()
        for thread in self._threads:
            thread.join()

    def cut(self) -> None:
        """Break every connection, and let none be made."""
        with self._lock:
            self._whole = False
            for end in self._open:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            self._open.clear()

    def mend(self) -> None:
        """Let connections be made again."""
        with self._lock:
            self._whole = True

    def freeze(self) -> None:
        """Accept whatever comes, and pass nothing on any more: for each end, the other is there and says nothing."""
        self._flows.clear()

    def has_frozen(self, timeout_s: float) -> bool:
        """Whether a question or an answer is held, or will be in time: somebody hears nothing."""
        return self._holds.wait(timeout_s)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                self._join(near)

    def _join(self, near: socket.socket) -> None:
        with self._lock:
            if not self._whole:
                near.close()
                return
            far = socket.create_connection(self._target)
            self._open += [near, far]
            thread = threading.Thread(target=self._both_ways, args=(near, far))
            self._threads.append(thread)
            thread.start()

    def _both_ways(self, near: socket.socket, far: socket.socket) -> None:
        back = threading.Thread(target=self._pass_on, args=(far, near, near), kwargs={"is_asked": False})
        back.start()
        self._pass_on(near, far, near, is_asked=True)
        back.join()
        near.close()
        far.close()

    def _pass_on(self, source: socket.socket, sink: socket.socket, near: socket.socket, *, is_asked: bool) -> None:
        with contextlib.suppress(OSError):
            while (chunk := source.recv(65_536)) and self._lets_through(near, is_asked=is_asked):
                if not self._flows.is_set():
                    self._holds.set()
                self._flows.wait()
                sink.sendall(chunk)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _lets_through(self, near: socket.socket, *, is_asked: bool) -> bool:
        """Whether bytes are passed on, or the connection ends here."""
        del near, is_asked
        return True


class Cutter(Relay):
    """A relay that cuts one connection, once: where the n-th message is on its way there, or its answer back."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port)
        self._left: int | None = None
        self._loses_answer = False
        self._unanswered: socket.socket | None = None

    def cut_at(self, message: int, *, loses_answer: bool) -> None:
        """Cut at this message from now on, counted over all connections; 1 is the next one."""
        with self._lock:
            self._left, self._loses_answer, self._unanswered = message, loses_answer, None

    @property
    def has_cut(self) -> bool:
        """Whether it came to that; if not, it will not any more."""
        with self._lock:
            has_cut = self._left is not None and self._left <= 0 and self._unanswered is None
            self._left = None
            return has_cut

    def _lets_through(self, near: socket.socket, *, is_asked: bool) -> bool:
        with self._lock:
            if not is_asked:
                is_lost = near is self._unanswered
                self._unanswered = None if is_lost else self._unanswered
                return not is_lost
            if self._left is None or self._left <= 0:
                return True
            self._left -= 1
            if self._left == 0 and self._loses_answer:
                self._unanswered = near
                return True
            return self._left > 0

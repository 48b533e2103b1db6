"""A way from a network of its own to a server outside of it: TCP there, a file between, TCP here."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sqlalchemy.engine import URL

Connect = Callable[[], socket.socket]
PORTS = {"postgresql": 5432, "mysql": 3306, "mariadb": 3306}


@contextmanager
def listening(file: Path, url: URL) -> Iterator[None]:
    """Who connects to the file talks to the server of the URL."""
    there = (url.host or "127.0.0.1", url.port or PORTS[url.get_backend_name()])
    with socket.socket(socket.AF_UNIX) as near:
        near.bind(str(file))
        near.listen()
        forward(near, lambda: socket.create_connection(there))
        yield
        near.shutdown(socket.SHUT_RDWR)


def forward(near: socket.socket, connect: Connect) -> None:
    """Carry what comes in at a listening socket to a connection of its own, and back, until it is shut down."""
    threading.Thread(target=_accept, args=(near, connect), daemon=True).start()


def _accept(near: socket.socket, connect: Connect) -> None:
    with suppress(OSError):
        while True:
            ends = near.accept()[0], connect()
            for one, other in (ends, ends[::-1]):
                threading.Thread(target=_carry, args=(one, other), daemon=True).start()


def _carry(one: socket.socket, other: socket.socket) -> None:
    with suppress(OSError):
        while some := one.recv(65536):
            other.sendall(some)
    with suppress(OSError):
        other.shutdown(socket.SHUT_RDWR)
    one.close()

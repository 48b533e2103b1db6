"""A proxy that gives tunnels, and remembers who asked for what."""

from __future__ import annotations

import contextlib
import selectors
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tests.support.raw_servers import LONGEST_S, raw_server, request_of

STANDS = b"HTTP/1.1 200 Connection established\r\nVia: 1.1 a-proxy\r\n\r\n"


@dataclass
class TunnelProxy:
    """A proxy that serves.

    Attributes:
        port: Where, on the loopback.
        asked: The heads of the requests that came.
    """

    port: int
    asked: list[bytes] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def targets(self) -> list[str]:
        """What tunnels were asked to."""
        return [head.split(b" ")[1].decode() for head in self.asked]


@contextlib.contextmanager
def tunnel_proxy(
    leads_to: Callable[[str], int] = lambda target: int(target.rpartition(":")[2]),
) -> Iterator[TunnelProxy]:
    """A proxy whose tunnels all lead to the loopback.

    Args:
        leads_to: The port there, for the target that was asked for.
    """
    asked: list[bytes] = []

    def script(taken: socket.socket) -> None:
        head = request_of(taken)
        if not head:
            return
        asked.append(head)
        target = head.split(b" ")[1].decode()
        with socket.create_connection(("127.0.0.1", leads_to(target)), LONGEST_S) as there:
            taken.sendall(STANDS)
            _pump(taken, there)

    with raw_server(script) as server:
        yield TunnelProxy(server.port, asked)


def _pump(one: socket.socket, other: socket.socket) -> None:
    """Give each what the other says, until one of them has ended."""
    with selectors.DefaultSelector() as ready:
        ready.register(one, selectors.EVENT_READ, other)
        ready.register(other, selectors.EVENT_READ, one)
        while found := ready.select(LONGEST_S):
            for key, _ in found:
                said = key.fileobj.recv(65_536)  # type: ignore[union-attr]
                if not said:
                    return
                key.data.sendall(said)

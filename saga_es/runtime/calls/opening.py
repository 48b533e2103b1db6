"""Opening a connection to a participant, on a thread or on an event loop. Both give the same kind of socket.

First to the participant, or to a proxy that gives a tunnel to it; then with TLS, from here to the participant.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from ipaddress import ip_address
from typing import Any, NamedTuple, TypeVar

from saga_es.runtime.calls.address import Address
from saga_es.runtime.calls.proxies import NoTunnel, Proxy, Tunnel, asking
from saga_es.runtime.calls.reading import READ_SIZE, left_s

T = TypeVar("T")

Place = tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]
"""One address of a host, as `getaddrinfo` gives it."""


class Way(NamedTuple):
    """How a connection to a participant is opened.

    Attributes:
        address: Where the participant is.
        tls: The TLS that is spoken with it, if any.
        proxy: Through whom; None: directly.
        lookups: Looks up the host that is reached first.
    """

    address: Address
    tls: ssl.SSLContext | None
    proxy: Proxy | None
    lookups: Lookups

    @property
    def first(self) -> Address:
        """Who is reached first."""
        return self.address if self.proxy is None else self.proxy.address


@contextmanager
def _of(proxy: Proxy | None) -> Iterator[None]:
    """What fails here is a fault of the proxy, if there is one; a time-out stays one."""
    try:
        yield
    except OSError as error:
        if proxy is None or isinstance(error, TimeoutError):
            raise
        raise NoTunnel(f"its proxy cannot be reached: {error.strerror or error}") from error


# ── On a thread ──────────────────────────────────────────────────────────────────────────────────────────


def opened(way: Way, deadline: float) -> socket.socket:
    """A connection, with TLS where the way has it; it waits on this thread."""
    with _of(way.proxy):
        sock = _reached(way.first, deadline)
    try:
        if way.proxy is not None:
            _tunnel(sock, way.proxy, way.address, deadline)
        if way.tls is None:
            return sock
        sock.settimeout(left_s(deadline))
        return _wrapped(sock, way.tls, way.address, handshakes=True)
    except BaseException:
        sock.close()
        raise


def _tunnel(sock: socket.socket, proxy: Proxy, address: Address, deadline: float) -> None:
    tunnel, stands = Tunnel(address), False
    with _of(proxy):
        sock.settimeout(left_s(deadline))
        sock.sendall(asking(proxy, address))
        while not stands:
            sock.settimeout(left_s(deadline))
            stands = tunnel.take(sock.recv(READ_SIZE))


def _reached(address: Address, deadline: float) -> socket.socket:
    """A connection to the first of the host's addresses that answers. Each has its share of the time that is left."""
    found = _places(address)
    for number, place in enumerate(found):
        sock = _made(place)
        try:
            sock.settimeout(left_s(deadline) / (len(found) - number))
            sock.connect(place[4])
        except BaseException as error:
            sock.close()
            if number == len(found) - 1 or not isinstance(error, OSError):
                raise
        else:
            return sock
    raise OSError(f"the host {address.host} has no address")


def _places(address: Address) -> Sequence[Place]:
    return socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)


def _made(place: Place) -> socket.socket:
    family, kind, protocol, _, _ = place
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        sock.close()
        raise
    return sock


def _wrapped(sock: socket.socket, tls: ssl.SSLContext, address: Address, *, handshakes: bool) -> ssl.SSLSocket:
    # A body that ends with the connection is whole only if TLS says so (RFC 9112, 9.8).
    return tls.wrap_socket(
        sock, server_hostname=address.host, suppress_ragged_eofs=False, do_handshake_on_connect=handshakes
    )


# ── On an event loop ─────────────────────────────────────────────────────────────────────────────────────


class Lookups:
    """Looks the addresses of one host up, for any number of connections that are opened at once.

    The system's function blocks, perhaps for long. It runs on a thread of its own, one for all who ask meanwhile: a
    host whose servers of names are silent costs one thread, and holds up no other participant. The thread does not keep
    the process from ending.

    Args:
        address: The host.
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        self._is_number = _is_number(address.host)
        self._under_way: asyncio.Future[Sequence[Place]] | None = None

    async def places(self) -> Sequence[Place]:
        """The addresses of the host."""
        if self._is_number:
            return _places(self._address)
        found = self._under_way
        if found is None or found.done() or found.get_loop() is not asyncio.get_running_loop():
            found = self._under_way = on_own_thread(partial(_places, self._address), "saga-es-lookup")
        return await asyncio.shield(found)


def on_own_thread(act: Callable[[], T], name: str) -> asyncio.Future[T]:
    """Act on a thread of its own, which does not keep the process from ending.

    Raises:
        RuntimeError: The system allows no more threads.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def run() -> None:
        try:
            resolve = partial(_resolve, done, act(), None)
        except Exception as error:  # noqa: BLE001 (who waits for it raises it)
            resolve = partial(_resolve, done, None, error)
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            loop.call_soon_threadsafe(resolve)

    threading.Thread(target=run, name=name, daemon=True).start()
    return done


def _resolve(done: asyncio.Future[Any], result: Any, error: Exception | None) -> None:
    if done.done():  # who waited for it was cancelled
        return
    if error is None:
        done.set_result(result)
    else:
        done.set_exception(error)
        done.exception()  # those who asked may all have gone


def _is_number(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


async def opened_on_loop(way: Way, deadline: float) -> socket.socket:
    """A connection, with TLS where the way has it; it waits on the event loop."""
    with _of(way.proxy):
        sock = await _reached_on_loop(way, deadline)
    try:
        if way.proxy is not None:
            async with asyncio.timeout(left_s(deadline)):
                await _tunnel_on_loop(sock, way.proxy, way.address)
        return sock if way.tls is None else await _handshaken(sock, way.tls, way.address, deadline)
    except BaseException:
        sock.close()
        raise


async def _reached_on_loop(way: Way, deadline: float) -> socket.socket:
    async with asyncio.timeout(left_s(deadline)):
        found = await way.lookups.places()
    for number, place in enumerate(found):
        sock = _made(place)
        try:
            sock.settimeout(0.0)
            async with asyncio.timeout(left_s(deadline) / (len(found) - number)):
                await _connected(sock, place[4])
        except BaseException as error:
            sock.close()
            if number == len(found) - 1 or not isinstance(error, OSError):
                raise
        else:
            return sock
    raise OSError(f"the host {way.first.host} has no address")


async def _tunnel_on_loop(sock: socket.socket, proxy: Proxy, address: Address) -> None:
    tunnel, stands, left = Tunnel(address), False, memoryview(asking(proxy, address))
    with _of(proxy):
        while left:
            left = left[await when_ready(sock, partial(sock.send, left), writes=True) :]
        while not stands:
            stands = tunnel.take(await when_ready(sock, partial(sock.recv, READ_SIZE)))


async def _handshaken(sock: socket.socket, tls: ssl.SSLContext, address: Address, deadline: float) -> ssl.SSLSocket:
    secure = _wrapped(sock, tls, address, handshakes=False)
    try:
        async with asyncio.timeout(left_s(deadline)):
            await when_ready(secure, secure.do_handshake)
    except BaseException:
        secure.close()
        raise
    return secure


async def _connected(sock: socket.socket, where: Any) -> None:
    error = sock.connect_ex(where)
    if error == errno.EINPROGRESS:
        await _ready(sock, writes=True)
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if error:
        raise OSError(error, os.strerror(error))


async def when_ready(sock: socket.socket, act: Callable[[], T], *, writes: bool = False, is_early: bool = False) -> T:
    """Act on a socket that does not block, as soon as it can be done.

    Args:
        sock: The socket.
        act: Reads from it or writes to it.
        writes: Whether it writes.
        is_early: Whether it can hardly be done yet: then it is not even tried, which would cost an exception.
    """
    if is_early:
        await _ready(sock, writes=writes)
    while True:
        try:
            return act()
        except BlockingIOError:
            await _ready(sock, writes=writes)
        except ssl.SSLWantReadError:
            await _ready(sock, writes=False)
        except ssl.SSLWantWriteError:
            await _ready(sock, writes=True)


async def _ready(sock: socket.socket, *, writes: bool) -> None:
    loop, descriptor = asyncio.get_running_loop(), sock.fileno()
    ready: asyncio.Future[None] = loop.create_future()
    if writes:
        loop.add_writer(descriptor, _wake, ready)
    else:
        loop.add_reader(descriptor, _wake, ready)
    try:
        await ready
    finally:
        if loop.is_closed():  # the coroutine was left behind, and is thrown away
            pass
        elif writes:
            loop.remove_writer(descriptor)
        else:
            loop.remove_reader(descriptor)


def _wake(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)

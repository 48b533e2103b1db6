"""Connections to one participant: they stay open, send each request in one piece, and know whether a byte of it left.

Opening, sending and reading are done by us, because the one question that a saga asks of an error is whether a byte of
the request can have left, and no library answers it: everything that is raised before the first byte was handed to the
system is `NothingLeft`, whatever its class. An exchange waits on a thread or on an event loop; all else is the same.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

from saga_es.runtime.calls.address import Address
from saga_es.runtime.calls.answers import Answer
from saga_es.runtime.calls.credentials import trusting
from saga_es.runtime.calls.opening import Lookups, Way, opened, opened_on_loop, when_ready
from saga_es.runtime.calls.proxies import Proxy
from saga_es.runtime.calls.reading import READ_SIZE, SWITCHING_PROTOCOLS, Reading, left_s
from saga_es.runtime.calls.writing import host_of, written

PIECE = 16_384
"""The most bytes given to the system at once. TLS makes one record of them (RFC 8446, 5.1), and a record that was cut
cannot be read: when the first piece fails, the participant has nothing of the request that it could act on."""

_ALERT = b"\x15\x03"
"""How an alert of TLS begins on the wire (RFC 8446, 5.1): what a port that speaks TLS answers to plain HTTP."""

_REFUSED_US = frozenset(
    {
        "TLSV13_ALERT_CERTIFICATE_REQUIRED",
        "SSLV3_ALERT_BAD_CERTIFICATE",
        "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE",
        "SSLV3_ALERT_CERTIFICATE_REVOKED",
        "SSLV3_ALERT_CERTIFICATE_EXPIRED",
        "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
        "TLSV1_ALERT_UNKNOWN_CA",
        "TLSV1_ALERT_ACCESS_DENIED",
        "TLSV1_ALERT_DECRYPT_ERROR",
    }
)
"""In TLS 1.3 a client may send before the server has looked at the client's certificate. With one of these alerts the
server ends the handshake, and never reads what was sent (RFC 8446, 4.4.2.4 and 6.2)."""


class NothingLeft(Exception):
    """Nothing was done: no byte of the request left, or none was read. The cause says why."""


class Written(NamedTuple):
    """A request as bytes, and how a new connection for it is opened."""

    method: str
    data: bytes
    way: Way


class Connections:
    """The connections to one participant. Any thread and any event loop may use them.

    Args:
        address: Where it is.
        kept: How many stay open when they are not in use.
        context: Gives the TLS of a new connection; None: as this machine trusts.
        proxy: Gives the proxy of a new connection; None: it goes directly.
    """

    def __init__(
        self,
        address: Address,
        kept: int,
        context: Callable[[], ssl.SSLContext] | None = None,
        proxy: Callable[[], Proxy] | None = None,
    ) -> None:
        tls = trusting() if address.is_tls and context is None else None
        self._way = Way(address, tls, None, Lookups(address))
        self._host = host_of(address)
        self._context = context if address.is_tls else None
        self._proxy = proxy
        self._idle: deque[_Connection] = deque(maxlen=kept)
        weakref.finalize(self, _close_all, self._idle)

    def close(self) -> None:
        """Close those that are not in use."""
        _close_all(self._idle)

    def written(self, method: str, target: str, headers: Mapping[str, str], body: bytes | None) -> Written:
        """A request, ready to be sent.

        Raises:
            NothingLeft: It cannot be written, or the TLS or the proxy of now cannot be told.
        """
        try:
            data = written(self._host, method, target, headers, body)
            way = self._present_way()
        except Exception as error:
            raise NothingLeft(str(error)) from error
        return Written(method, data, way)

    def exchange(self, request: Written, deadline: float) -> Answer:
        """Send a request once, and read the answer, both by the deadline; it waits on this thread.

        Raises:
            NothingLeft: Nothing can have been done.
            Exception: The request, or a part of it, was sent, and no whole answer came.
        """
        try:
            connection = self._taken() or _Connection(opened(request.way, deadline), request.way)
        except Exception as error:
            raise NothingLeft(str(error)) from error
        try:
            answer = connection.exchange(request.data, request.method, deadline)
        except BaseException:
            connection.close()
            raise
        self._give_back(connection)
        return answer

    async def exchange_on_loop(self, request: Written, deadline: float) -> Answer:
        """The same, waiting on the event loop.

        Raises:
            NothingLeft: Nothing can have been done.
            Exception: The request, or a part of it, was sent, and no whole answer came.
        """
        try:
            connection = self._taken()
            if connection is None:
                connection = _Connection(await opened_on_loop(request.way, deadline), request.way)
        except Exception as error:
            raise NothingLeft(str(error)) from error
        try:
            async with asyncio.timeout(left_s(deadline)):
                answer = await connection.exchange_on_loop(request.data, request.method)
        except BaseException:
            connection.close()
            raise
        self._give_back(connection)
        return answer

    def _present_way(self) -> Way:
        """The way of now. Connections that were opened another way are not used again."""
        way = self._way
        tls = way.tls if self._context is None else self._context()
        proxy = None if self._proxy is None else self._proxy()
        if tls is way.tls and proxy == way.proxy:
            return way
        lookups = way.lookups if proxy is None or proxy == way.proxy else Lookups(proxy.address)
        self._way = Way(way.address, tls, proxy, lookups)
        _close_all(self._idle)
        return self._way

    def _taken(self) -> _Connection | None:
        """An open connection that is not in use; those that the participant has closed are dropped."""
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:  # another thread took the last one
                break
            if connection.is_quiet():
                return connection
            connection.close()
        return None

    def _give_back(self, connection: _Connection) -> None:
        if connection.is_reusable and connection.way is self._way and len(self._idle) < (self._idle.maxlen or 0):
            self._idle.append(connection)
        else:
            connection.close()


class _Connection:
    """One open connection.

    Attributes:
        way: How it was opened.
        is_reusable: Whether another request may be sent on it.
    """

    def __init__(self, sock: socket.socket, way: Way) -> None:
        self._sock = sock
        self.way = way
        self._is_new = True
        self._version = sock.version() if isinstance(sock, ssl.SSLSocket) else None
        self.is_reusable = False

    def exchange(self, request: bytes, method: str, deadline: float) -> Answer:
        """Send a request, and read its answer; it waits on this thread."""
        self.is_reusable = False
        left = memoryview(request)
        try:
            left = left[self._sent(left, deadline) :]
        except OSError as error:  # such as a kept connection that the participant has closed meanwhile
            raise NothingLeft(str(error)) from error
        while left:
            left = left[self._sent(left, deadline) :]
        reading = Reading(method)
        try:
            while reading.answer is None:
                self._sock.settimeout(left_s(deadline))
                reading.take(self._sock.recv(READ_SIZE))
        except Exception as error:
            self._check_whether_it_was_read(error, reading)
            raise
        return self._whole(reading, reading.answer)

    async def exchange_on_loop(self, request: bytes, method: str) -> Answer:
        """The same, waiting on the event loop; whoever asks keeps the time."""
        self.is_reusable = False
        self._sock.settimeout(0.0)
        left = memoryview(request)
        try:
            left = left[await self._sent_on_loop(left) :]
        except asyncio.CancelledError:  # its time is over
            raise NothingLeft("the connection takes no request") from None
        except OSError as error:
            raise NothingLeft(str(error)) from error
        while left:
            left = left[await self._sent_on_loop(left) :]
        reading = Reading(method)
        try:
            while reading.answer is None:
                receive = partial(self._sock.recv, READ_SIZE)  # TLS may have more than the system knows of
                reading.take(await when_ready(self._sock, receive, is_early=self._version is None))
        except Exception as error:
            self._check_whether_it_was_read(error, reading)
            raise
        return self._whole(reading, reading.answer)

    def is_quiet(self) -> bool:
        """Whether the participant has neither closed the connection nor said something unasked."""
        try:
            self._sock.settimeout(0.0)
            socket.socket.recv(self._sock, 1, socket.MSG_PEEK)  # of TLS too, what came is looked at as it came
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    def close(self) -> None:
        """Close it."""
        self._sock.close()

    def _sent(self, data: memoryview, deadline: float) -> int:
        self._sock.settimeout(left_s(deadline))
        return self._sock.send(data[:PIECE])

    async def _sent_on_loop(self, data: memoryview) -> int:
        return await when_ready(self._sock, partial(self._sock.send, data[:PIECE]), writes=True)

    def _whole(self, reading: Reading, answer: Answer) -> Answer:
        self._is_new = False
        is_last = reading.is_last or answer.status == SWITCHING_PROTOCOLS
        self.is_reusable = not (is_last or reading.has_more())
        return answer

    def _check_whether_it_was_read(self, error: Exception, reading: Reading) -> None:
        """Look at what came instead of an answer.

        Raises:
            NothingLeft: It says that nobody has read the request.
        """
        if reading.first == _ALERT and self._version is None:
            raise NothingLeft("TLS is spoken there; its URL has to begin with https://") from None
        if self._is_unwelcome(error, reading):
            raise NothingLeft(str(error)) from error

    def _is_unwelcome(self, error: Exception, reading: Reading) -> bool:
        """Whether the participant ended the handshake, for want of a certificate of ours: it has read no request."""
        is_first = self._is_new and not reading.received
        return is_first and self._version == "TLSv1.3" and getattr(error, "reason", None) in _REFUSED_US


def _close_all(idle: deque[_Connection]) -> None:
    while idle:
        idle.pop().close()

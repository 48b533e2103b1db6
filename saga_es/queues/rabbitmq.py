"""RabbitMQ, over AMQP 0-9-1: one thread for a connection, whatever number of calls wait for their replies.

Commands and replies are persistent, in durable queues, and confirmed by the broker. What is not confirmed when a
connection is lost is sent again: the key of the call decides what becomes of a message that arrives twice.
"""

from __future__ import annotations

import selectors
import socket
import threading
import time
from contextlib import suppress
from typing import Any

import amqp

from saga_es.logs import logger
from saga_es.publish.brokers.url import BrokerUrl
from saga_es.queues.offices import RETRY_S, TIMEOUT_S

PERSISTENT = 2
SOONEST_RETRY_S = 0.05
HEARTBEAT_S = 20
LOOK_EVERY_S = 5.0


class Connected:
    """A connection on a thread of its own, which is opened again whenever it is lost.

    Args:
        url: The broker, and the queue for commands.
        purpose: Names the thread.
    """

    def __init__(self, url: BrokerUrl, purpose: str) -> None:
        self._url = url
        self._queue = url.options["queue"]
        self._lock = threading.Lock()
        self._is_closing = False
        self._woken, self._waker = socket.socketpair()
        self._woken.settimeout(0)
        self._waker.settimeout(0)
        self._thread = threading.Thread(target=self._run, name=f"saga-es-{purpose}", daemon=True)
        self._has_warned = False

    def _open(self, channel: Any) -> None:
        """A connection is there."""
        raise NotImplementedError

    def _work(self, channel: Any) -> None:
        """Send what there is to send."""
        raise NotImplementedError

    def _away(self, error: BaseException) -> None:
        """There is no connection."""
        raise NotImplementedError

    def _lost(self) -> None:
        """The connection is lost."""
        raise NotImplementedError

    def _end(self, channel: Any) -> None:
        """The last thing before the connection is closed."""
        raise NotImplementedError

    @property
    def _may_end(self) -> bool:
        return self._is_closing

    def _wake(self) -> None:
        with suppress(OSError):  # it was woken so often that its buffer is full, or is closed
            self._waker.send(b"!")

    def _stop(self, timeout_s: float) -> None:
        self._is_closing = True
        self._wake()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        if not self._thread.is_alive():
            self._woken.close()
            self._waker.close()

    # ── On the thread ────────────────────────────────────────────────────────────────────────────────────

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._woken, selectors.EVENT_READ)
            while not self._may_end:
                try:
                    connection, channel = self._connect()
                except Exception as error:  # noqa: BLE001 (whatever the client says of a broker that is away)
                    self._warn(error)
                    self._away(error)
                    if not self._may_end:
                        self._pause(selector)
                    continue
                self._has_warned = False
                self._serve(selector, connection, channel)

    def _connect(self) -> tuple[Any, Any]:
        url = self._url
        connection = amqp.Connection(
            host=url.hosts[0],
            userid=url.user or "guest",
            password=url.password or "guest",
            virtual_host=url.place or "/",
            ssl={"server_hostname": url.hosts[0].rpartition(":")[0]} if url.is_tls else False,
            heartbeat=HEARTBEAT_S,
            connect_timeout=TIMEOUT_S,
            read_timeout=TIMEOUT_S,
            write_timeout=TIMEOUT_S,
        )
        try:
            connection.connect()
            _see_queue(connection, self._queue)
            channel = connection.channel()
            channel.confirm_select()
            self._open(channel)
        except BaseException:
            with suppress(Exception):  # whatever a broken connection says of its end
                connection.collect()
            raise
        return connection, channel

    def _serve(self, selector: selectors.BaseSelector, connection: Any, channel: Any) -> None:
        sock = connection.sock
        selector.register(sock, selectors.EVENT_READ)
        try:
            while not self._may_end:
                self._work(channel)
                self._look(selector, connection, sock)
            with suppress(Exception):  # the broker may be gone; what is left there vanishes by itself
                self._end(channel)
                connection.close()
        except Exception as error:  # noqa: BLE001 (a connection is lost in many ways)
            self._warn(error)
            self._lost()
        finally:
            with suppress(Exception):  # the client may have closed it
                selector.unregister(sock)
            with suppress(Exception):
                connection.collect()

    def _look(self, selector: selectors.BaseSelector, connection: Any, sock: Any) -> None:
        """Wait until something came, or there is something to send."""
        has_more = bool(getattr(sock, "pending", int)())  # TLS has unpacked more than was read
        ready = {key.fileobj for key, _ in selector.select(0 if has_more else LOOK_EVERY_S)}
        if self._woken in ready:
            self._sleep_again()
        if has_more or sock in ready:
            connection.drain_events(timeout=TIMEOUT_S)
        connection.heartbeat_tick()

    def _pause(self, selector: selectors.BaseSelector) -> None:
        """Wait for a moment, or until there is something to send."""
        time.sleep(SOONEST_RETRY_S)
        if selector.select(RETRY_S):
            self._sleep_again()

    def _sleep_again(self) -> None:
        with suppress(OSError):
            while self._woken.recv(4096):
                pass

    def _warn(self, error: BaseException) -> None:
        if self._has_warned or self._is_closing:
            return
        self._has_warned = True
        logger.warning(
            "the broker of a participant is away, and is tried again",
            broker=self._url.name,
            error=f"{type(error).__name__}: {error}",
        )


def _see_queue(connection: Any, queue: str) -> None:
    """A queue that is there is taken as it is; else a durable one is declared."""
    try:
        with connection.channel() as channel:
            channel.queue_declare(queue, passive=True)
    except amqp.NotFound:  # it closed its channel
        with connection.channel() as channel:
            channel.queue_declare(queue, durable=True, auto_delete=False)


def bytes_of(message: Any) -> bytes:
    """The content of a message, which the client gives as text if the sender named an encoding."""
    body = message.body
    return body.encode() if isinstance(body, str) else bytes(body)

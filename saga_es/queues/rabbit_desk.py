"""Commands to a service behind RabbitMQ, and its replies."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import amqp

from saga_es.publish.brokers.url import BrokerUrl
from saga_es.queues.messages import REPLY_TYPE
from saga_es.queues.offices import CLOSE_TIMEOUT_S, Handle, Replied
from saga_es.queues.rabbitmq import PERSISTENT, Connected, bytes_of
from saga_es.store.host_time import monotonic_s


class _Done(NamedTuple):
    """A command that was done: its connection, its delivery there, and the reply."""

    connection: int
    tag: int
    reply: Replied | None


class RabbitDesk(Connected):
    """Takes commands from the queue of a service: a command is taken off it when its reply is safe at the broker.

    Args:
        url: The broker, and the queue.
        handle: Does what a command says.
        threads: How many commands are under way at once.
    """

    def __init__(self, url: BrokerUrl, handle: Handle, threads: int) -> None:
        super().__init__(url, "replies")
        self._handle = handle
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="saga-es-command")
        self._connection = 0
        self._under_way = 0
        self._done: deque[_Done] = deque()
        self._unconfirmed: dict[int, _Done] = {}
        self._sent = 0
        self._consumer: str | None = None
        self._ends_at = 0.0

    def open(self) -> None:
        """See `Desk`."""
        self._thread.start()

    def close(self, grace_s: float) -> None:
        """See `Desk`."""
        self._ends_at = monotonic_s() + grace_s
        self._stop(grace_s + CLOSE_TIMEOUT_S)
        self._pool.shutdown(wait=False, cancel_futures=True)

    @property
    def _may_end(self) -> bool:
        if not self._is_closing:
            return False
        is_idle = not (self._under_way or self._done or self._unconfirmed)
        return is_idle or monotonic_s() >= self._ends_at

    def _open(self, channel: Any) -> None:
        self._connection += 1
        self._sent = 0
        channel.basic_qos(0, self._threads, False)  # noqa: FBT003 (as the client has it)
        channel.events["basic_ack"].add(lambda tag, multiple: self._confirmed(channel, tag, multiple=multiple))
        channel.events["basic_nack"].add(lambda tag, multiple: self._nacked(channel, tag, multiple=multiple))
        self._consumer = channel.basic_consume(self._queue, callback=lambda message: self._got(channel, message))

    def _work(self, channel: Any) -> None:
        if self._is_closing and self._consumer is not None:
            channel.basic_cancel(self._consumer)
            self._consumer = None
        while self._done:
            done = self._done.popleft()
            if done.reply is None:
                if done.connection == self._connection:
                    channel.basic_reject(done.tag, requeue=False)
                continue
            self._sent += 1
            self._unconfirmed[self._sent] = done
            message = amqp.Message(
                done.reply.content,
                content_type="application/json",
                type=REPLY_TYPE,
                delivery_mode=PERSISTENT,
                correlation_id=done.reply.id,
            )
            channel.basic_publish(message, "", done.reply.to)

    def _away(self, error: BaseException) -> None:
        """Commands under way go on; the broker gives them again, and their replies are sent when it is back."""

    def _lost(self) -> None:
        self._done.extendleft(reversed(self._unconfirmed.values()))
        self._unconfirmed.clear()

    def _end(self, channel: Any) -> None:
        """Nothing more is to be said."""

    def _got(self, channel: Any, message: Any) -> None:
        if self._consumer is None and self._is_closing:
            channel.basic_reject(message.delivery_tag, requeue=True)
            return
        with self._lock:
            self._under_way += 1
        self._pool.submit(self._do, self._connection, message.delivery_tag, bytes_of(message))

    def _confirmed(self, channel: Any, tag: int, *, multiple: bool) -> None:
        tags = [sent for sent in self._unconfirmed if sent <= tag] if multiple else [tag]
        for done in (self._unconfirmed.pop(sent) for sent in tags if sent in self._unconfirmed):
            if done.connection == self._connection:
                channel.basic_ack(done.tag)

    def _nacked(self, channel: Any, tag: int, *, multiple: bool) -> None:
        """A reply was refused: the command is given again."""
        tags = [sent for sent in self._unconfirmed if sent <= tag] if multiple else [tag]
        for done in (self._unconfirmed.pop(sent) for sent in tags if sent in self._unconfirmed):
            if done.connection == self._connection:
                channel.basic_reject(done.tag, requeue=True)

    # ── On the threads of the commands ───────────────────────────────────────────────────────────────────

    def _do(self, connection: int, tag: int, content: bytes) -> None:
        reply = self._handle(content)
        with self._lock:
            self._done.append(_Done(connection, tag, reply))
            self._under_way -= 1
        self._wake()

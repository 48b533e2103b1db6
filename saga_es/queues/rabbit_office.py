"""Commands to a participant behind RabbitMQ, and its replies."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import amqp

from saga_es.publish.brokers.url import BrokerUrl
from saga_es.queues.messages import COMMAND_TYPE
from saga_es.queues.offices import CLOSE_TIMEOUT_S, Heard, Letter, Letters
from saga_es.queues.rabbitmq import PERSISTENT, Connected, bytes_of

REPLIES_KEPT_MS = 30 * 60_000
"""For how long the queue of replies of a worker that is gone is kept."""

AT_ONCE = 1000
"""How many replies are on their way to a worker at once."""

LONGEST_TTL_MS = 2**32 - 1


class Returned(Exception):
    """The broker has no queue for a command, or refuses it."""


class RabbitOffice(Connected):
    """Sends commands to the queue of a participant, and hears replies from a queue of its own.

    Args:
        url: The broker, and the queue.
        hear: Is told each reply.
    """

    def __init__(self, url: BrokerUrl, hear: Heard) -> None:
        super().__init__(url, "commands")
        self._hear = hear
        self._replies = f"saga_es.replies.{uuid4().hex}"
        self._letters = Letters()
        self._unconfirmed: dict[int, Letter] = {}
        self._sent_before: set[str] = set()
        self._sent = 0
        self._consumer = ""

    def post(self, letter: Letter) -> None:
        """See `Office`."""
        self._letters.add(letter)
        with self._lock:
            if self._thread.ident is None:
                self._thread.start()
        self._wake()

    def close(self) -> None:
        """See `Office`."""
        self._stop(CLOSE_TIMEOUT_S)

    def _open(self, channel: Any) -> None:
        channel.queue_declare(self._replies, durable=True, auto_delete=False, arguments={"x-expires": REPLIES_KEPT_MS})
        channel.basic_qos(0, AT_ONCE, False)  # noqa: FBT003 (as the client has it)
        channel.events["basic_ack"].add(self._confirmed)
        channel.events["basic_nack"].add(self._nacked)
        channel.events["basic_return"].add(_returned)
        self._consumer = channel.basic_consume(self._replies, callback=lambda message: self._got(channel, message))
        self._sent = 0

    def _work(self, channel: Any) -> None:
        while (letter := self._letters.next()) is not None:
            if letter.is_over():
                self._sent_before.discard(letter.id)
                continue
            self._sent += 1
            self._unconfirmed[self._sent] = letter
            message = amqp.Message(
                letter.content(self._replies),
                content_type="application/json",
                type=COMMAND_TYPE,
                delivery_mode=PERSISTENT,
                message_id=letter.id,
                correlation_id=letter.id,
                reply_to=self._replies,
                expiration=str(min(max(int(letter.ttl_s * 1000), 1), LONGEST_TTL_MS)),
            )
            channel.basic_publish(message, "", self._queue, mandatory=True)

    def _away(self, error: BaseException) -> None:
        self._letters.away(error)

    def _lost(self) -> None:
        self._letters.again.extend(self._unconfirmed.values())
        self._sent_before = {letter.id for letter in self._letters.again}
        self._unconfirmed.clear()

    def _end(self, channel: Any) -> None:
        channel.basic_cancel(self._consumer)
        channel.queue_delete(self._replies)

    def _got(self, channel: Any, message: Any) -> None:
        self._hear(bytes_of(message))
        channel.basic_ack(message.delivery_tag)

    def _confirmed(self, tag: int, multiple: bool) -> None:  # noqa: FBT001 (as the client calls it)
        self._sent_before -= {letter.id for letter in self._take(tag, multiple=multiple)}

    def _nacked(self, tag: int, multiple: bool) -> None:  # noqa: FBT001 (as above)
        for letter in self._take(tag, multiple=multiple):
            if letter.id in self._sent_before:  # the first time it may have been taken: what became of it is not known
                continue
            letter.refused(Returned(f"RabbitMQ refused the command for the queue {self._queue!r}"))

    def _take(self, tag: int, *, multiple: bool) -> list[Letter]:
        tags = [sent for sent in self._unconfirmed if sent <= tag] if multiple else [tag]
        return [self._unconfirmed.pop(sent) for sent in tags if sent in self._unconfirmed]


def _returned(error: BaseException, exchange: str, routing_key: str, message: Any) -> None:
    """Connect again, which declares the queue, and send again what is not confirmed."""
    del error, exchange, message
    raise Returned(f"RabbitMQ has no queue {routing_key!r} any more")

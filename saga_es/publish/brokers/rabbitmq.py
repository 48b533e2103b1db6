"""RabbitMQ, over AMQP 0-9-1, with publisher confirms (rabbitmq.com/docs/confirms)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import amqp

from saga_es.publish.brokers.outgoing import TIMEOUT_S, NotTaken, Outgoing
from saga_es.publish.brokers.url import BrokerUrl
from saga_es.store.host_time import monotonic_s

DEFAULT_EXCHANGE = "saga_es"
PERSISTENT = 2


class RabbitMQ:
    """A channel in confirm mode. A batch is sent at once; then all of its confirms are waited for.

    An exchange that is there is taken as it is; else a durable topic exchange is declared.
    """

    def __init__(self, url: BrokerUrl) -> None:
        self._exchange = url.options.get("exchange", DEFAULT_EXCHANGE)
        self._connection = amqp.Connection(
            host=url.hosts[0],
            userid=url.user or "guest",
            password=url.password or "guest",
            virtual_host=url.place or "/",
            ssl={"server_hostname": url.hosts[0].rpartition(":")[0]} if url.is_tls else False,
            connect_timeout=TIMEOUT_S,
            read_timeout=TIMEOUT_S,
            write_timeout=TIMEOUT_S,
        )
        self._unconfirmed: set[int] = set()
        self._refused = 0
        self._sent = 0
        try:
            self._connection.connect()
            self._declare()
            self._channel = self._connection.channel()
            self._channel.confirm_select()
        except BaseException:
            self.close()
            raise
        self._channel.events["basic_ack"].add(self._confirmed)
        self._channel.events["basic_nack"].add(self._nacked)

    def send(self, messages: Sequence[Outgoing]) -> None:
        """See `Sender`.

        Raises:
            NotTaken: The broker refused some, or has not confirmed all in time.
        """
        for message in messages:
            self._sent += 1
            self._unconfirmed.add(self._sent)
            content = amqp.Message(
                message.body,
                content_type=message.content_type,
                delivery_mode=PERSISTENT,
                message_id=message.id,
            )
            self._channel.basic_publish(content, self._exchange, message.topic)
        deadline = monotonic_s() + TIMEOUT_S
        while self._unconfirmed and (left_s := deadline - monotonic_s()) > 0:
            with suppress(TimeoutError):
                self._connection.drain_events(timeout=left_s)
        if self._refused or self._unconfirmed:
            raise NotTaken(
                f"RabbitMQ refused {self._refused} and did not confirm {len(self._unconfirmed)} of {len(messages)} "
                f"messages within {TIMEOUT_S:g} s"
            )

    def close(self) -> None:
        """See `Sender`."""
        with suppress(Exception):  # whatever a broken connection says of its end
            self._connection.collect()

    def _declare(self) -> None:
        try:
            with self._connection.channel() as channel:
                channel.exchange_declare(self._exchange, "topic", passive=True)
        except amqp.NotFound:  # it closed its channel
            with self._connection.channel() as channel:
                channel.exchange_declare(self._exchange, "topic", durable=True, auto_delete=False)

    def _confirmed(self, tag: int, multiple: bool) -> None:  # noqa: FBT001 (as the client calls it)
        if multiple:
            self._unconfirmed = {sent for sent in self._unconfirmed if sent > tag}
        else:
            self._unconfirmed.discard(tag)

    def _nacked(self, tag: int, multiple: bool) -> None:  # noqa: FBT001 (as above)
        before = len(self._unconfirmed)
        self._confirmed(tag, multiple)
        self._refused += before - len(self._unconfirmed)

"""Kafka, with the idempotent producer of librdkafka."""

from __future__ import annotations

from collections.abc import Sequence

from confluent_kafka import KafkaError, Producer
from confluent_kafka import Message as Delivered

from saga_es.publish.brokers.outgoing import TIMEOUT_S, NotTaken, Outgoing
from saga_es.publish.brokers.url import BrokerUrl


class Kafka:
    """A producer whose key is the stream's id, so that one partition has all events of a saga, in their order.

    Options of the URL are librdkafka's. They win over ours, except that each message is acknowledged by all replicas.
    """

    def __init__(self, url: BrokerUrl) -> None:
        credentials = {"sasl.username": url.user, "sasl.password": url.password} if url.user else {}
        self._topic = url.place
        self._errors: list[str] = []
        self._last_trouble = ""
        self._producer = Producer(
            {
                "client.id": "saga_es",
                "linger.ms": 2,
                **credentials,
                **url.options,
                "bootstrap.servers": ",".join(url.hosts),
                "enable.idempotence": True,
                "message.timeout.ms": int(TIMEOUT_S * 900),  # before `flush` gives up: the reason is told
                "log_level": 0,  # else it writes to stderr; what failed is logged once, with the next try
                "error_cb": self._note,
            }
        )

    def send(self, messages: Sequence[Outgoing]) -> None:
        """See `Sender`.

        Raises:
            NotTaken: Not all were acknowledged in time.
        """
        for message in messages:
            self._producer.produce(
                self._topic,
                message.body,
                message.stream_id,
                on_delivery=self._answered,
                headers={"content-type": message.content_type, "id": message.id},
            )
        left = self._producer.flush(TIMEOUT_S)
        if self._errors or left:
            why = next(iter(self._errors), f"{left} are still on their way after {TIMEOUT_S:g} s")
            trouble = f" ({self._last_trouble})" if self._last_trouble else ""
            raise NotTaken(f"Kafka did not take {max(left, len(self._errors))} of {len(messages)}: {why}{trouble}")

    def close(self) -> None:
        """See `Sender`; what is still on its way is dropped, it will be sent again."""
        self._producer.purge()
        self._producer.flush(0)

    def _answered(self, error: KafkaError | None, message: Delivered) -> None:
        del message
        if error is not None:
            self._errors.append(error.str())

    def _note(self, error: KafkaError) -> None:
        self._last_trouble = error.str()

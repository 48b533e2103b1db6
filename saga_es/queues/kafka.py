"""What both sides of a topic of Kafka share: the configuration of the client, and the address of a reply.

librdkafka keeps the connections, and comes back to brokers by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from confluent_kafka import KafkaError

from saga_es.publish.brokers.url import BrokerUrl

REPLIES = ".replies"
"""Ends the name of the topic for the replies to the commands of a topic."""

SESSION_MS = 10_000
"""How soon the commands of a process that died are given to another."""


class ReplyTo(NamedTuple):
    """Where a worker reads its replies: one partition, in which its name is the key of its own."""

    topic: str
    partition: int
    worker: str

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.worker}"

    @classmethod
    def parse(cls, text: str) -> ReplyTo:
        """Read what a command says.

        Raises:
            ValueError: It is no such address.
        """
        topic, partition, worker = text.split("/")
        return cls(topic, int(partition), worker)


def configuration(url: BrokerUrl, note: Callable[[KafkaError], None]) -> dict[str, Any]:
    """What producers and consumers have in common; options of the URL win over ours."""
    credentials = {"sasl.username": url.user, "sasl.password": url.password} if url.user else {}
    return {
        "client.id": "saga_es",
        "allow.auto.create.topics": True,
        **credentials,
        **url.options,
        "bootstrap.servers": ",".join(url.hosts),
        "log_level": 0,  # else it writes to stderr
        "error_cb": note,
    }


def of_producer(url: BrokerUrl, note: Callable[[KafkaError], None]) -> dict[str, Any]:
    """For a producer, whose messages are acknowledged by all replicas, once."""
    # A time to wait for more messages would be added to each call.
    own = {"enable.idempotence": True, "linger.ms": 0}
    common = configuration(url, note)
    del common["allow.auto.create.topics"]
    return {**common, **own}


def of_consumer(url: BrokerUrl, note: Callable[[KafkaError], None], group: str) -> dict[str, Any]:
    """For a consumer, which says itself how far it is."""
    own = {"enable.auto.commit": False, "auto.offset.reset": "earliest"}
    return {"group.id": group, "session.timeout.ms": SESSION_MS, **configuration(url, note), **own}

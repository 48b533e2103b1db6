"""What is published, and where: `App(publish=[...])` and the setting `publish`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import msgspec

from saga_es.errors import NotInstalled
from saga_es.publish.brokers.outgoing import Outgoing, Sender
from saga_es.publish.brokers.url import LONGEST_NAME, BrokerUrl, parse_broker_url
from saga_es.publish.messages import Message
from saga_es.store.log.entries import Entry

CLOUD_EVENT = "application/cloudevents+json; charset=utf-8"
JSON = "application/json"

_SENDERS = {
    "rabbitmq": ("amqp", "rabbitmq:RabbitMQ"),
    "kafka": ("confluent_kafka", "kafka:Kafka"),
    "nats": ("nats", "nats:Nats"),
    "redis": ("redis", "redis:Redis"),
}
"""The module of the client, and the class in `brokers/`, by the kind of the broker."""

ToMessage = Callable[[dict[str, Any]], Mapping[str, Any] | None]
"""Makes of a CloudEvent the message that is published instead of it; None: nothing is."""


class Publish(msgspec.Struct, frozen=True):
    """Events of the log, published to a broker: at least once, and those of a saga in their order.

    A publisher that is new begins at the beginning of the log.

    Attributes:
        url: The broker, and where on it the messages go; `docs/messaging.md` has the form of each.
        categories: Publish events of these categories alone, such as `saga`; empty: of all.
        types: Publish events of these types alone, such as `SagaCompleted`; empty: of all.
        sagas: Publish events of sagas of these definitions alone; empty: of all, and those that belong to no saga.
        tenants: Publish events of sagas of these tenants alone, where an empty text stands for no tenant; empty: of
            all, and those that belong to no saga.
        message: Makes of each CloudEvent another message, or None to publish none; a pure function, since the same
            event may be published again. If it raises, the publisher tries again, and goes no further.
        name: Names the publisher in the log; by default the broker and where on it. Under another name, everything
            is published again.
    """

    url: str
    categories: Collection[str] = ()
    types: Collection[str] = ()
    sagas: Collection[str] = ()
    message: ToMessage | None = None
    name: str = ""
    tenants: Collection[str] = ()

    def __repr__(self) -> str:
        """Without the URL, which may hold a password."""
        return f"Publish({self.name!r})"


class Broker:
    """A broker as a target. It connects when there is something to send, and anew after each failure.

    Args:
        publish: What to publish, and where.

    Raises:
        NotInstalled: The client of this kind of broker is not.
        ValueError: The URL is none of a broker, or the name is too long.
    """

    at_once = 1000
    begins_at_end = False

    def __init__(self, publish: Publish) -> None:
        self._url: BrokerUrl = parse_broker_url(publish.url)
        if len(publish.name) > LONGEST_NAME:
            raise ValueError(
                f"the name of a publisher has at most {LONGEST_NAME} characters, {publish.name!r} has more"
            )
        self.name = publish.name or self._url.name
        self._publish = publish
        self._sender: Sender | None = None
        client, _ = _SENDERS[self._url.kind]
        if find_spec(client) is None:
            raise NotInstalled([client], self._url.kind, f"to publish to {self.name}")

    def wants(self, entry: Entry) -> bool:
        """Whether category and type are chosen."""
        chosen = self._publish
        return (not chosen.categories or entry.category in chosen.categories) and (
            not chosen.types or entry.type in chosen.types
        )

    def deliver(self, messages: Sequence[Message]) -> None:
        """Send what is chosen of them.

        Raises:
            Exception: Of any class: the broker is away, or did not take all.
        """
        made = (self._outgoing(message) for message in messages if self._chooses(message))
        outgoing = [message for message in made if message is not None]
        if not outgoing:
            return
        try:
            if self._sender is None:
                self._sender = self._connect()
            self._sender.send(outgoing)
        except BaseException:
            self.close()
            raise

    def _chooses(self, message: Message) -> bool:
        sagas, tenants = self._publish.sagas, self._publish.tenants
        return (not sagas or message.saga in sagas) and (not tenants or message.tenant in tenants)

    def close(self) -> None:
        """Close the connection, if there is one."""
        sender, self._sender = self._sender, None
        if sender is not None:
            sender.close()

    def _connect(self) -> Sender:
        module, _, name = _SENDERS[self._url.kind][1].partition(":")
        sender: Sender = getattr(import_module(f"saga_es.publish.brokers.{module}"), name)(self._url)
        return sender

    def _outgoing(self, message: Message) -> Outgoing | None:
        body, content_type = message.json(), CLOUD_EVENT
        if self._publish.message is not None:
            made = self._publish.message(msgspec.json.decode(body))
            if made is None:
                return None
            body, content_type = msgspec.json.encode(made), JSON
        entry = message.entry
        topic = ".".join(part for part in (entry.category, message.saga, entry.type) if part)
        return Outgoing(message.id, entry.stream_id, topic, body, content_type)

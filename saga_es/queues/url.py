"""The URL of a queue: a participant's address behind a broker, and where a service takes its commands."""

from __future__ import annotations

from typing import Final

from saga_es.publish.brokers.url import SCHEMES, SUBJECT, TOPIC, BrokerUrl, parse_with

EXAMPLES: Final = {
    "rabbitmq": "amqp://user:password@host/vhost?queue=NAME",
    "nats": "nats://user:password@host:4222/SUBJECT",
    "kafka": "kafka://host:9092/TOPIC",
}
_OPTIONS: Final = {"rabbitmq": {"queue"}, "nats": set[str]()}


def is_queue(url: str) -> bool:
    """Whether a URL is that of a broker, and not of HTTP."""
    return url.partition("://")[0].lower() in SCHEMES


def parse_queue_url(url: str) -> BrokerUrl:
    """Parse the URL of a queue.

    Raises:
        ValueError: It is none; with the cure, and without the URL, which may hold a password.
    """
    return parse_with(url, EXAMPLES, _OPTIONS, _wrong_place)


def _wrong_place(url: BrokerUrl) -> str | None:
    match url.kind:
        case "rabbitmq":
            return None if url.options.get("queue") else "the queue is missing"
        case "nats":
            is_subject = SUBJECT.fullmatch(url.place)
            return None if is_subject else "the subject is missing, or has blanks or wildcards"
        case "kafka":
            return None if TOPIC.fullmatch(url.place) else "the topic is missing, or Kafka knows no such name"
        case kind:
            return f"{kind} has no queues for participants"

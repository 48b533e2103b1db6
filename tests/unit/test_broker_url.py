"""The URL of a broker: what is taken, what is refused with its cure, and what is never shown."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from saga_es.publish import Publish
from saga_es.publish.brokers.nats import waves
from saga_es.publish.brokers.outgoing import Outgoing
from saga_es.publish.brokers.url import parse_broker_url


@pytest.mark.parametrize(
    ("url", "parsed"),
    [
        (
            "amqp://ada:p%40ss@rabbit/shop?exchange=sagas",
            ("rabbitmq", ("rabbit:5672",), False, "ada", "p@ss", "shop", {"exchange": "sagas"}),
        ),
        ("amqps://rabbit", ("rabbitmq", ("rabbit:5671",), True, "", "", "", {})),
        ("amqp://rabbit/%2F", ("rabbitmq", ("rabbit:5672",), False, "", "", "/", {})),
        ("kafka://one:9093,two/sagas", ("kafka", ("one:9093", "two:9092"), False, "", "", "sagas", {})),
        (
            "kafka://one/sagas?security.protocol=SSL",
            ("kafka", ("one:9092",), False, "", "", "sagas", {"security.protocol": "SSL"}),
        ),
        ("nats://[::1]:4333/a.b", ("nats", ("[::1]:4333",), False, "", "", "a.b", {})),
        ("tls://nats/a", ("nats", ("nats:4222",), True, "", "", "a", {})),
        (
            "rediss://:secret@redis/3?stream=sagas&maxlen=9",
            ("redis", ("redis:6379",), True, "", "secret", "3", {"stream": "sagas", "maxlen": "9"}),
        ),
    ],
)
def test_a_url_says_which_broker_where_and_who(url: str, parsed: tuple[Any, ...]) -> None:
    """The ports are the usual ones; what is escaped is read."""
    assert msgspec.structs.astuple(parse_broker_url(url)) == parsed


@pytest.mark.parametrize(
    ("url", "cure"),
    [
        ("http://ada:hunter2@rabbit/x", "no URL of a broker"),
        ("amqp:hunter2", "no URL of a broker"),
        ("kafka://ada:hunter2@/topic", "no URL of a broker"),
        ("kafka://ada:hunter2@one,,two/topic", "no URL of a broker"),
        ("nats://ada:hunter2@nats:99999/a", "no URL of a broker"),
        ("nats://ada:hunter2@nats:x/a", "no URL of a broker"),
        ("kafka://ada:hunter2@one", "the topic is missing"),
        ("kafka://ada:hunter2@one/a/b", "Kafka knows no such name"),
        ("nats://ada:hunter2@nats", "the subject is missing"),
        ("nats://ada:hunter2@nats/a.*", "wildcards"),
        ("nats://ada:hunter2@nats/a?stream=x", "stream: unknown to a nats URL"),
        ("redis://ada:hunter2@redis/0", "the stream is missing"),
        ("redis://ada:hunter2@redis/x?stream=s", "the database is a number"),
        ("redis://ada:hunter2@redis?stream=s&maxlen=many", "maxlen is a number"),
        ("amqp://ada:hunter2@rabbit?queue=x", "queue: unknown to a rabbitmq URL"),
        ("amqp://ada:hunter2@rabbit?exchange=", "the exchange has no name"),
    ],
)
def test_what_is_no_url_of_a_broker_is_refused_with_the_cure(url: str, cure: str) -> None:
    """And without the password, which would stand in a log."""
    with pytest.raises(ValueError, match=cure) as refused:
        parse_broker_url(url)
    assert "hunter2" not in str(refused.value)
    assert "://" in str(refused.value)


def test_a_publisher_keeps_its_name_when_the_password_changes() -> None:
    """Under another name, everything would be published again."""
    first, second, other = (
        parse_broker_url(url).name
        for url in (
            "kafka://ada:one@kafka/sagas?sasl.password=x",
            "kafka://ada:two@kafka/sagas",
            "kafka://ada:one@kafka/others",
        )
    )
    assert first == second != other
    assert all(secret not in repr(Publish("kafka://ada:one@kafka/sagas")) for secret in ("ada", "one"))


def test_each_stream_occurs_once_in_a_wave() -> None:
    """An event is sent when the one before it is acknowledged."""
    sent = [Outgoing(f"{stream}/{n}", stream, "t", b"", "j") for n, stream in enumerate("abacbb")]
    told = [[message.id for message in wave] for wave in waves(sent)]
    assert told == [["a/0", "b/1", "c/3"], ["a/2", "b/4"], ["b/5"]]

"""The URL of a broker: where it is, who we are there, and where on it the messages go."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from hashlib import sha256
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import msgspec

LONGEST_NAME = 54
SCHEMES = {
    "amqp": "rabbitmq",
    "amqps": "rabbitmq",
    "kafka": "kafka",
    "nats": "nats",
    "tls": "nats",
    "redis": "redis",
    "rediss": "redis",
}
"""The extra of the package that has the client, by scheme."""

EXAMPLES = {
    "rabbitmq": "amqp://user:password@host/vhost?exchange=NAME",
    "kafka": "kafka://host:9092/TOPIC",
    "nats": "nats://host:4222/SUBJECT",
    "redis": "redis://host:6379/0?stream=NAME",
}
_PORTS = {"amqp": 5672, "amqps": 5671, "kafka": 9092, "nats": 4222, "tls": 4222, "redis": 6379, "rediss": 6379}
_OPTIONS: dict[str, AbstractSet[str]] = {"rabbitmq": {"exchange"}, "nats": set[str](), "redis": {"stream", "maxlen"}}
"""What may stand behind the `?`; Kafka's are those of librdkafka."""

SUBJECT = re.compile(r"[^\s.*>]+(\.[^\s.*>]+)*")
"""A subject of NATS to which one can publish."""

TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")


class BrokerUrl(msgspec.Struct, frozen=True):
    """A broker, and where on it the messages go.

    Attributes:
        kind: `rabbitmq`, `kafka`, `nats` or `redis`.
        hosts: One or more of `host:port`.
        is_tls: Whether the scheme says so; Kafka says it by the option `security.protocol`.
        place: The virtual host, topic, subject or database.
        options: What stands behind the `?`.
    """

    kind: str
    hosts: tuple[str, ...]
    is_tls: bool
    user: str
    password: str
    place: str
    options: dict[str, str]

    def __repr__(self) -> str:
        """Without what nobody should read."""
        return f"BrokerUrl({self.name!r})"

    @property
    def name(self) -> str:
        """Names the broker and the place, the same after a password was changed; shows neither user nor password."""
        shown = {key: value for key, value in self.options.items() if not key.startswith(("sasl.", "ssl."))}
        told = repr((self.kind, self.hosts, self.place, sorted(shown.items())))
        digest = sha256(told.encode()).hexdigest()[:8]
        return f"{self.kind} {self.hosts[0]}"[: LONGEST_NAME - 9] + f"-{digest}"


def parse_broker_url(url: str) -> BrokerUrl:
    """Parse a URL.

    Raises:
        ValueError: Nothing can be published there; with the cure, and without the URL, which may hold a password.
    """
    return parse_with(url, EXAMPLES, _OPTIONS, _wrong_place)


def parse_with(
    url: str,
    examples: Mapping[str, str],
    options_of: Mapping[str, AbstractSet[str]],
    wrong_place: Callable[[BrokerUrl], str | None],
) -> BrokerUrl:
    """Parse a URL of a broker for one purpose.

    Args:
        url: The URL.
        examples: A URL of each kind of broker.
        options_of: What may stand behind the `?`, by kind; of a kind that is missing, everything.
        wrong_place: Says what is wrong with the place on the broker.

    Raises:
        ValueError: It is none; with the cure, and without the URL, which may hold a password.
    """
    try:
        parts = urlsplit(url)
        hosts = _hosts(parts)
        options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
    except ValueError as error:
        raise ValueError(f"this is no URL of a broker; write one such as {', '.join(examples.values())}") from error
    kind = SCHEMES[parts.scheme]
    example = examples.get(kind) or ", ".join(examples.values())
    if unknown := sorted(options.keys() - options_of.get(kind, options.keys())):
        raise ValueError(f"{', '.join(unknown)}: unknown to a {kind} URL; write {example}")
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    place = unquote(parts.path.removeprefix("/"))
    found = BrokerUrl(kind, hosts, parts.scheme in {"amqps", "rediss", "tls"}, user, password, place, options)
    if (wrong := wrong_place(found)) is not None:
        raise ValueError(f"{wrong}; write {example}")
    return found


def _hosts(parts: SplitResult) -> tuple[str, ...]:
    if parts.scheme not in SCHEMES or not parts.netloc:
        raise ValueError
    hosts = parts.netloc.rpartition("@")[2].split(",")
    for host in hosts:
        name, port = urlsplit(f"//{host}").hostname, urlsplit(f"//{host}").port
        if not name or port == 0:
            raise ValueError
    default = _PORTS[parts.scheme]
    return tuple(host if urlsplit(f"//{host}").port else f"{host.removesuffix(':')}:{default}" for host in hosts)


def _wrong_place(url: BrokerUrl) -> str | None:
    match url.kind:
        case "kafka":
            return None if TOPIC.fullmatch(url.place) else "the topic is missing, or Kafka knows no such name"
        case "nats":
            return None if SUBJECT.fullmatch(url.place) else "the subject is missing, or has blanks or wildcards"
        case "redis":
            if not url.options.get("stream"):
                return "the stream is missing"
            if url.place and not url.place.isdecimal():
                return "the database is a number"
            return None if url.options.get("maxlen", "1").isdecimal() else "maxlen is a number"
        case _:
            return None if url.options.get("exchange", "saga_es") else "the exchange has no name"

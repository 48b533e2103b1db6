"""Queues of participants on real brokers, and a participant that answers commands as a test says."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Self
from uuid import uuid4

import amqp
import msgspec

from saga_es.queues.messages import Command, Reply, content_of
from tests.support import brokers
from tests.support.left_out import left_out
from tests.support.programs import Absent

TIMEOUT_S = 60.0


def new_queue() -> str:
    """The URL of a queue that nobody has used yet, on a RabbitMQ that answers."""
    try:
        server = brokers.rabbitmq()
    except Absent as absent:
        left_out("rabbitmq", str(absent))
    answers(server.port)
    return f"amqp://guest:guest@127.0.0.1:{server.port}/?queue=hotel-{uuid4().hex}"


def new_subject() -> str:
    """The URL of a subject of NATS that nobody has used yet."""
    try:
        server = brokers.nats_server()
    except Absent as absent:
        left_out("nats", str(absent))
    return f"nats://127.0.0.1:{server.port}/hotel.{uuid4().hex}"


def new_topic() -> str:
    """The URL of a topic of Kafka's mock cluster that nobody has used yet."""
    soon = "fetch.wait.max.ms=20"  # the mock cluster answers when this is over, a real one when there is something
    return f"kafka://{brokers.kafka().at}/hotel-{uuid4().hex}?{soon}"


def answers(port: int) -> None:
    """Wait until a RabbitMQ that was started lets clients in."""
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        try:
            with amqp.Connection(f"127.0.0.1:{port}", connect_timeout=5, read_timeout=5):
                return
        except (OSError, amqp.AMQPError):
            assert time.monotonic() < deadline
            time.sleep(0.1)


class Scripted:
    """Takes commands off a queue one by one, and answers when the test says so."""

    def __init__(self, url: str) -> None:
        host, _, rest = url.removeprefix("amqp://guest:guest@").partition("/")
        self._queue = rest.partition("queue=")[2]
        self._connection = amqp.Connection(host)

    def __enter__(self) -> Self:
        self._connection.connect()
        self._channel = self._connection.channel()
        self._channel.queue_declare(self._queue, durable=True, auto_delete=False)
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def next(self) -> Command:
        """The next command; waits for it."""
        deadline = time.monotonic() + TIMEOUT_S
        while (message := self._channel.basic_get(self._queue, no_ack=True)) is None:
            assert time.monotonic() < deadline, "no command came"
            time.sleep(0.01)
        assert message.properties["message_id"] == message.properties["correlation_id"]
        return msgspec.json.decode(message.body, type=Command)

    def reply(self, command: Command, status: int, body: Any = None, **changed: str) -> None:
        """Answer a command, perhaps with other ids than its own."""
        content, text = content_of(None if body is None else msgspec.json.encode(body))
        answer = Reply(changed.get("id", command.id), changed.get("key", command.key), status, {}, content, text)
        self.say(command.reply_to, msgspec.json.encode(answer))

    def say(self, to: str, content: bytes) -> None:
        """Send anything to a queue."""
        self._channel.basic_publish(amqp.Message(content), "", to)

    @property
    def waiting(self) -> int:
        """How many commands are in the queue."""
        count: int = self._channel.queue_declare(self._queue, passive=True).message_count
        return count


class Counted:
    """A WSGI application that counts the calls of each key, and answers them as a function says."""

    def __init__(self, answers: Callable[[int, str], tuple[int, Any]]) -> None:
        self._answers = answers
        self._lock = threading.Lock()
        self.calls: list[tuple[str, str]] = []

    def __call__(self, environ: dict[str, Any], start: Any) -> list[bytes]:
        """Answer a call, as PEP 3333 has it."""
        key, method = environ["HTTP_IDEMPOTENCY_KEY"], environ["REQUEST_METHOD"]
        with self._lock:
            self.calls.append((method, key))
            count = self.calls.count((method, key))
        status, body = self._answers(count, method)
        start(f"{status} Said", [("Content-Type", "application/json")])
        return [msgspec.json.encode(body)]

    def keys(self, method: str) -> list[str]:
        """The keys of the calls of one method, in order."""
        return [key for its, key in self.calls if its == method]


def now() -> datetime:
    """The time of this machine."""
    return datetime.now(UTC)

"""The service's side of a queue: each command is a request to a WSGI application, and its answer the reply."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from types import TracebackType
from typing import Self

import msgspec

from saga_es.errors import NotInstalled
from saga_es.logs import logger
from saga_es.queues.messages import Command, reply_of
from saga_es.queues.offices import Desk, Replied
from saga_es.queues.url import parse_queue_url
from saga_es.runtime.calls.answers import Answer, NotSent
from saga_es.runtime.calls.transport import WsgiApp, WsgiTransport

GRACE_S = 5.0
DESKS = {
    "rabbitmq": ("amqp", "rabbit_desk:RabbitDesk"),
    "nats": ("nats", "nats_desk:NatsDesk"),
    "kafka": ("confluent_kafka", "kafka_desk:KafkaDesk"),
}
"""The module of the client, and the class in this folder, by the kind of the broker."""


class Listener:
    """Takes commands off a queue until it is closed. Another may take commands off the same queue beside it.

    Args:
        url: The broker, and the queue: `amqp://user:password@host/vhost?queue=NAME`.
        app: Does what the commands say: it gets each as the request that it would be over HTTP.
        threads: How many commands are under way at once.
        caller: Who calls, for the application to see.

    Raises:
        NotInstalled: The client of this kind of broker is not.
        ValueError: The URL is none of a queue.
    """

    def __init__(self, url: str, app: WsgiApp, threads: int = 8, caller: object = True) -> None:  # noqa: FBT002 (an object that stands for itself)
        where = parse_queue_url(url)
        client, place = DESKS[where.kind]
        if find_spec(client) is None:
            raise NotInstalled([client], where.kind, f"to take commands from {where.name}")
        module, _, name = place.partition(":")
        self._transport = WsgiTransport(app, caller)
        self._desk: Desk = getattr(import_module(f"saga_es.queues.{module}"), name)(where, self._handle, threads)

    def open(self) -> Self:
        """Begin to take commands. A broker that is away is tried again until it is there."""
        self._desk.open()
        return self

    def close(self, grace_s: float = GRACE_S) -> None:
        """Take no more commands.

        Args:
            grace_s: Seconds that those under way get to finish; what is not done then is given to another process.
        """
        self._desk.close(grace_s)

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _handle(self, content: bytes) -> Replied | None:
        try:
            command = msgspec.json.decode(content, type=Command)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            logger.warning("a message in a queue of commands is no command, and is put aside", error=str(error))
            return None
        return Replied(command.reply_to, command.id, reply_of(command, self._answer(command)))

    def _answer(self, command: Command) -> Answer:
        body = command.content
        headers = command.as_headers
        if body is not None and not any(name.lower() == "content-type" for name in headers):
            headers = {**headers, "Content-Type": "application/json"}
        try:
            return self._transport.send(command.method, command.path, headers, body, 0)
        except NotSent as error:
            return _problem(503, error)
        except BaseException as error:  # a command that is never answered would be given again for ever
            logger.exception("a command failed", saga_id=command.saga_id, step=command.step, key=command.key)
            return _problem(500, error)


def _problem(status: int, error: BaseException) -> Answer:
    detail = {"status": status, "detail": str(error) or type(error).__name__}
    return Answer(status, {"content-type": "application/problem+json"}, msgspec.json.encode(detail))

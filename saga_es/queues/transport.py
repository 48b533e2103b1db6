"""The transport to a participant behind a queue: a call waits for its reply on no thread.

The key decides. A reply to the very message answers its call. A reply to an earlier message of the same call answers
it only if it says that the call was done: an older refusal says nothing about the message that is under way. Any other
reply changes nothing.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotInTime
from datetime import timedelta
from importlib import import_module
from importlib.util import find_spec
from uuid import uuid4

import msgspec

from saga_es.errors import NotInstalled
from saga_es.logs import CALL, logger
from saga_es.publish.brokers.url import BrokerUrl
from saga_es.queues.messages import Command, Reply, content_of, split_headers
from saga_es.queues.offices import PATIENCE, Letter, Office
from saga_es.queues.url import parse_queue_url
from saga_es.runtime.calls.answers import Answer, AnswerLost, NotSent
from saga_es.store.host_time import host_now, monotonic_s

REMEMBERED = 10_000
"""How many messages are remembered whose calls nobody waits for any more."""

_DONE = 2
"""The hundreds of a status that says that a call was done."""

OFFICES = {
    "rabbitmq": ("amqp", "rabbit_office:RabbitOffice"),
    "nats": ("nats", "nats_office:NatsOffice"),
    "kafka": ("confluent_kafka", "kafka_office:KafkaOffice"),
}
"""The module of the client, and the class in this folder, by the kind of the broker."""

_Same = tuple[str, str, str]
"""What is the same for all messages of one call: its key, its method and its path."""


class _Waiting(msgspec.Struct, frozen=True, eq=False):
    """A call that waits for its reply."""

    same: _Same
    future: Future[Answer]


class QueueTransport:
    """Over a broker. It connects when it is first used, and again whenever the connection is lost.

    Args:
        url: The broker, and the queue of the participant.
        name: The participant, as errors name it.

    Raises:
        NotInstalled: The client of this kind of broker is not.
        ValueError: The URL is none of a queue.
    """

    def __init__(self, url: str, name: str = "the participant") -> None:
        self.url: BrokerUrl = parse_queue_url(url)
        self._name = name
        client, _ = OFFICES[self.url.kind]
        if find_spec(client) is None:
            raise NotInstalled([client], self.url.kind, f"to call {name} behind its queue")
        self._lock = threading.Lock()
        self._office: Office | None = None
        self._waiting: dict[str, _Waiting] = {}
        self._over: dict[str, _Same] = {}

    async def exchange(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, timeout_s: float
    ) -> Answer:
        """Send, and await the answer; see `Transport.send`."""
        return await asyncio.wrap_future(self._begin(method, path, headers, body, timeout_s, PATIENCE * timeout_s))

    def send(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, timeout_s: float) -> Answer:
        """Send, and wait for the answer on this thread, for a call outside any saga; see `Transport`."""
        future = self._begin(method, path, headers, body, timeout_s, patience_s=0.0)
        try:
            return future.result(timeout_s)
        except NotInTime:
            future.cancel()
            raise AnswerLost(f"no answer from {self._name}: it took longer than {timeout_s:g} s") from None

    def close(self) -> None:
        """End the connection; calls that wait are left as they are."""
        with self._lock:
            office, self._office = self._office, None
        if office is not None:
            office.close()

    def _begin(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes | None,
        timeout_s: float,
        patience_s: float,
    ) -> Future[Answer]:
        named, others = split_headers(headers)
        content, text = content_of(body)
        call = CALL.get()
        command = Command(
            id=uuid4().hex,
            reply_to="",
            method=method,
            path=path,
            deadline=host_now() + timedelta(seconds=timeout_s),
            saga="" if call is None else call.definition,
            direction="" if call is None else str(call.direction),
            attempt=1 if call is None else call.attempt,
            headers=others,
            body=content,
            text=text,
            **named,
        )
        future: Future[Answer] = Future()
        with self._lock:
            if self._office is None:
                self._office = self._connect()
            self._waiting[command.id] = _Waiting((command.key, method, path), future)
        future.add_done_callback(lambda _: self._forget(command.id))
        self._office.post(
            Letter(
                command.id,
                lambda reply_to: msgspec.json.encode(msgspec.structs.replace(command, reply_to=reply_to)),
                timeout_s,
                monotonic_s() + patience_s,
                future.done,
                lambda why: self._refused(command.id, why),
            )
        )
        return future

    def _connect(self) -> Office:
        module, _, name = OFFICES[self.url.kind][1].partition(":")
        office: Office = getattr(import_module(f"saga_es.queues.{module}"), name)(self.url, self._hear)
        return office

    def _forget(self, id_: str) -> None:
        """Nobody waits for this message any more; a reply may still come."""
        with self._lock:
            waiting = self._waiting.pop(id_, None)
            if waiting is None:
                return
            self._over[id_] = waiting.same
            while len(self._over) > REMEMBERED:
                del self._over[next(iter(self._over))]

    # ── On the thread of the connection ──────────────────────────────────────────────────────────────────

    def _hear(self, content: bytes) -> None:
        try:
            reply = msgspec.json.decode(content, type=Reply)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            logger.warning("what came back from a participant is no reply", participant=self._name, error=str(error))
            return
        for waiting in self._answered_by(reply):
            if waiting.future.set_running_or_notify_cancel():
                waiting.future.set_result(reply.answer)

    def _answered_by(self, reply: Reply) -> list[_Waiting]:
        """The calls that a reply answers; they do not wait any more."""
        with self._lock:
            if reply.id in self._waiting:
                ids = [reply.id]
            elif reply.status // 100 == _DONE and (same := self._over.get(reply.id)) is not None and same[0]:
                ids = [id_ for id_, waiting in self._waiting.items() if waiting.same == same]
            else:
                return []
            found = [self._waiting.pop(id_) for id_ in ids]
            self._over |= {id_: waiting.same for id_, waiting in zip(ids, found, strict=True)}
            return found

    def _refused(self, id_: str, why: BaseException) -> None:
        with self._lock:
            waiting = self._waiting.pop(id_, None)
        if waiting is not None and waiting.future.set_running_or_notify_cancel():
            waiting.future.set_exception(NotSent(f"{self._name} cannot be reached: {str(why) or type(why).__name__}"))

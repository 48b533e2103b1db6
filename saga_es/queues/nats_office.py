"""Commands to a participant behind NATS JetStream, and its replies."""

from __future__ import annotations

import asyncio
import threading
from uuid import uuid4

from nats.errors import TimeoutError as NotInTime
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig

from saga_es.publish.brokers.url import BrokerUrl
from saga_es.queues.nats_connection import REPLIES, REPLIES_KEPT_S, NatsConnected
from saga_es.queues.offices import CLOSE_TIMEOUT_S, Heard, Letter, Letters

LISTENED_S = 1.0
AT_ONCE = 100
"""How many commands are sent before the first of them is acknowledged."""


class NatsOffice(NatsConnected):
    """Sends commands to the subject of a participant, and hears replies from a subject of its own.

    Args:
        url: The servers, and the subject.
        hear: Is told each reply.
    """

    def __init__(self, url: BrokerUrl, hear: Heard) -> None:
        super().__init__(url, "commands")
        self._hear = hear
        self._name = uuid4().hex
        self._replies = f"saga_es.replies.{self._name}"
        self._lock = threading.Lock()
        self._letters = Letters()

    def post(self, letter: Letter) -> None:
        """See `Office`."""
        self._letters.add(letter)
        with self._lock:
            if self._thread.ident is None:
                self._thread.start()
        self._wake()

    def close(self) -> None:
        """See `Office`."""
        self._stop(CLOSE_TIMEOUT_S)

    async def _serve(self, stream: JetStreamContext) -> None:
        work = [asyncio.ensure_future(self._send_all(stream)), asyncio.ensure_future(self._listen(stream))]
        try:
            await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in work:
                task.cancel()
            ends = await asyncio.gather(*work, return_exceptions=True)
        for end in ends:
            if isinstance(end, Exception):
                raise end

    async def _send_all(self, stream: JetStreamContext) -> None:
        while not self._is_closing:
            wave = self._wave()
            if not wave:
                await self._woken.wait()
                self._woken.clear()
                continue
            again = self._letters.again
            again.extend(wave)  # until they are acknowledged
            await asyncio.gather(*(self._send(stream, letter) for letter in wave))
            for _ in wave:
                again.popleft()

    async def _send(self, stream: JetStreamContext, letter: Letter) -> None:
        headers = {"Nats-Msg-Id": letter.id, "Content-Type": "application/json"}
        await stream.publish(self._subject, letter.content(self._replies), headers=headers)

    def _wave(self) -> list[Letter]:
        """What is sent next; what may have been sent before comes first."""
        found: list[Letter] = []
        while (self._letters.again or len(found) < AT_ONCE) and (letter := self._letters.next()) is not None:
            if not letter.is_over():
                found.append(letter)
        return found

    async def _listen(self, stream: JetStreamContext) -> None:
        config = ConsumerConfig(inactive_threshold=REPLIES_KEPT_S)
        replies = await stream.pull_subscribe(self._replies, durable=self._name, stream=REPLIES, config=config)
        while not self._is_closing:
            try:
                heard = await replies.fetch(1, timeout=LISTENED_S)
            except (NotInTime, TimeoutError):
                continue
            for message in heard:
                self._hear(message.data)
                await message.ack()

    def _away(self, error: BaseException) -> None:
        self._letters.away(error)

"""Commands to a service behind NATS JetStream, and its replies."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from hashlib import sha256

from nats.aio.msg import Msg
from nats.errors import TimeoutError as NotInTime
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig

from saga_es.publish.brokers.url import BrokerUrl
from saga_es.queues.nats_connection import NatsConnected
from saga_es.queues.offices import CLOSE_TIMEOUT_S, Handle
from saga_es.store.host_time import monotonic_s

ACK_WAIT_S = 10.0
"""How soon the command of a process that died is given to another; one that works says so three times as often."""

LISTENED_S = 1.0


class NatsDesk(NatsConnected):
    """Takes commands off the subject of a service: a command is acknowledged when its reply is stored.

    All processes of the service share one consumer, which is named after the subject.

    Args:
        url: The servers, and the subject.
        handle: Does what a command says.
        threads: How many commands are under way at once.
    """

    def __init__(self, url: BrokerUrl, handle: Handle, threads: int) -> None:
        super().__init__(url, "replies")
        self._handle = handle
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="saga-es-command")
        self._durable = (
            f"saga_es_{sha256(self._subject.encode()).hexdigest()[:16]}"  # all processes of a service share it
        )
        self._ends_at = 0.0

    def open(self) -> None:
        """See `Desk`."""
        self._thread.start()

    def close(self, grace_s: float) -> None:
        """See `Desk`."""
        self._ends_at = monotonic_s() + grace_s
        self._stop(grace_s + CLOSE_TIMEOUT_S)
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _serve(self, stream: JetStreamContext) -> None:
        name = await stream.find_stream_name_by_subject(self._subject)
        config = ConsumerConfig(ack_wait=ACK_WAIT_S, max_ack_pending=-1)
        await stream.pull_subscribe(self._subject, durable=self._durable, stream=name, config=config)
        work = [asyncio.ensure_future(self._take(stream, name)) for _ in range(self._threads)]
        ending = asyncio.ensure_future(self._end(work))
        try:
            await asyncio.wait(work, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            for task in (*work, ending):
                task.cancel()
            ends = await asyncio.gather(*work, ending, return_exceptions=True)
        for end in ends:
            if isinstance(end, Exception):
                raise end

    async def _end(self, work: Iterable[asyncio.Task[None]]) -> None:
        """End what is under way when the grace of a process that ends is over."""
        while not self._is_closing:
            await self._woken.wait()
            self._woken.clear()
        await asyncio.sleep(max(0.0, self._ends_at - monotonic_s()))
        for task in work:
            task.cancel()

    async def _take(self, stream: JetStreamContext, name: str) -> None:
        commands = await stream.pull_subscribe_bind(durable=self._durable, stream=name)
        while not self._is_closing:
            try:
                taken = await commands.fetch(1, timeout=LISTENED_S)
            except (NotInTime, TimeoutError):
                continue
            for message in taken:
                await self._do(stream, message)

    async def _do(self, stream: JetStreamContext, message: Msg) -> None:
        doing = asyncio.get_running_loop().run_in_executor(self._pool, self._handle, message.data)
        while not doing.done():
            await asyncio.wait((doing,), timeout=ACK_WAIT_S / 3)
            if not doing.done():
                await message.in_progress()
        reply = doing.result()
        if reply is None:
            await message.term()
            return
        await stream.publish(reply.to, reply.content, headers={"Content-Type": "application/json"})
        with suppress(NotInTime):  # it is given again, and answered from the barrier
            await message.ack()

    def _away(self, error: BaseException) -> None:
        """Commands are given again when the server is back."""

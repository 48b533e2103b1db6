"""NATS JetStream: one event loop on a thread for a connection, whatever number of calls wait for their replies.

Commands and replies are stored in streams before they are acknowledged. A connection is not mended by the client:
another one is made, and what is not acknowledged is sent again under the same id, which JetStream stores once.
"""

from __future__ import annotations

import asyncio
import threading
from abc import ABC, abstractmethod
from contextlib import suppress

from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import RetentionPolicy, StreamConfig
from nats.js.errors import NotFoundError

from saga_es.logs import logger
from saga_es.publish.brokers.url import BrokerUrl
from saga_es.queues.offices import RETRY_S, TIMEOUT_S

SOONEST_RETRY_S = 0.05
REPLIES = "saga_es_replies"
REPLIES_KEPT_S = 30 * 60.0
"""For how long replies are kept that nobody has heard."""


class NatsConnected(ABC):
    """A connection on an event loop of its own, which is opened again whenever it is lost.

    Args:
        url: The servers, and the subject for commands.
        purpose: Names the thread.
    """

    def __init__(self, url: BrokerUrl, purpose: str) -> None:
        self._url = url
        self._subject = url.place
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=f"saga-es-{purpose}", daemon=True)
        self._is_closing = False
        self._has_warned = False
        self._trouble = ""
        self._woken = asyncio.Event()

    @abstractmethod
    async def _serve(self, stream: JetStreamContext) -> None:
        """Do the work on a connection, until it is cancelled or the work is over; raise when it is lost."""

    @abstractmethod
    def _away(self, error: BaseException) -> None:
        """There is no connection."""

    def _wake(self) -> None:
        with suppress(RuntimeError):  # it is closed
            self._loop.call_soon_threadsafe(self._woken.set)

    def _stop(self, timeout_s: float) -> None:
        self._is_closing = True
        self._wake()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        else:
            self._loop.close()

    # ── On the thread ────────────────────────────────────────────────────────────────────────────────────

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._main())
        finally:
            self._loop.close()

    async def _main(self) -> None:
        while not self._is_closing:
            client, ended = Client(), asyncio.Event()
            try:
                await self._connect(client, ended)
                await self._see_stream(client.jetstream(timeout=TIMEOUT_S))
            except Exception as error:  # noqa: BLE001 (whatever the client says of a server that is away)
                await _close(client)
                self._warn(error)
                self._away(error)
                await self._pause()
                continue
            self._has_warned = False
            await self._until_lost(client, ended)
            await _close(client)

    async def _connect(self, client: Client, ended: asyncio.Event) -> None:
        async def note(error: Exception) -> None:
            self._trouble = f"{type(error).__name__}: {error}"

        async def end() -> None:
            ended.set()

        scheme = "tls" if self._url.is_tls else "nats"
        await client.connect(
            [f"{scheme}://{host}" for host in self._url.hosts],
            name="saga_es",
            user=self._url.user or None,
            password=self._url.password or None,
            allow_reconnect=False,
            max_reconnect_attempts=1,  # by default the first connection is tried for minutes
            reconnect_time_wait=0,
            connect_timeout=int(TIMEOUT_S),
            error_cb=note,
            closed_cb=end,
            disconnected_cb=end,
        )

    async def _until_lost(self, client: Client, ended: asyncio.Event) -> None:
        work = asyncio.ensure_future(self._serve(client.jetstream(timeout=TIMEOUT_S)))
        lost = asyncio.ensure_future(ended.wait())
        await asyncio.wait((work, lost), return_when=asyncio.FIRST_COMPLETED)
        for task in (work, lost):
            task.cancel()
        results = await asyncio.gather(work, lost, return_exceptions=True)
        if isinstance(results[0], Exception):
            self._warn(results[0])
            await self._pause()

    async def _see_stream(self, stream: JetStreamContext) -> None:
        """A stream that takes the subject is used as it is; else one is made, whose messages go when they are done."""
        try:
            await stream.find_stream_name_by_subject(self._subject)
        except NotFoundError:
            name = self._subject.replace(".", "_")
            await stream.add_stream(
                StreamConfig(name=name, subjects=[self._subject], retention=RetentionPolicy.WORK_QUEUE)
            )
        try:
            await stream.stream_info(REPLIES)
        except NotFoundError:
            await stream.add_stream(StreamConfig(name=REPLIES, subjects=["saga_es.replies.*"], max_age=REPLIES_KEPT_S))

    async def _pause(self) -> None:
        """Wait for a moment, or until there is something to send."""
        await asyncio.sleep(SOONEST_RETRY_S)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._woken.wait(), RETRY_S)
        self._woken.clear()

    def _warn(self, error: BaseException) -> None:
        if self._has_warned or self._is_closing:
            return
        self._has_warned = True
        why = self._trouble or f"{type(error).__name__}: {error}"
        logger.warning("the broker of a participant is away, and is tried again", broker=self._url.name, error=why)


async def _close(client: Client) -> None:
    with suppress(Exception):  # whatever a broken connection says of its end
        await client.close()

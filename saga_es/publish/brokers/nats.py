"""NATS JetStream: what was acknowledged is stored, and is stored once while the stream remembers the message's id."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator, Sequence
from concurrent.futures import TimeoutError as NotInTime
from contextlib import suppress
from itertools import zip_longest
from typing import Any, TypeVar

from nats.aio.client import Client
from nats.errors import NoServersError
from nats.js import JetStreamContext
from nats.js.api import PubAck
from nats.js.errors import NoStreamResponseError, NotFoundError

from saga_es.publish.brokers.outgoing import TIMEOUT_S, NotTaken, Outgoing
from saga_es.publish.brokers.url import BrokerUrl

T = TypeVar("T")


class Nats:
    """A connection on an event loop of its own, so that the server's pings are answered while nothing is sent.

    A stream that takes the subject is used as it is; where there is none, one is made that has the subject's name.
    """

    def __init__(self, url: BrokerUrl) -> None:
        self._subject = url.place
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="saga-es-nats", daemon=True)
        self._thread.start()
        self._client = Client()
        self._ended = asyncio.Event()
        self._last_error = ""
        scheme = "tls" if url.is_tls else "nats"
        try:
            self._run(
                self._client.connect(
                    [f"{scheme}://{host}" for host in url.hosts],
                    name="saga_es",
                    user=url.user or None,
                    password=url.password or None,
                    allow_reconnect=False,  # another connection is made, and the batch is sent again
                    max_reconnect_attempts=1,  # by default the first connection is tried for minutes
                    reconnect_time_wait=0,
                    connect_timeout=int(TIMEOUT_S),
                    error_cb=self._note_error,
                    closed_cb=self._note_end,
                )
            )
            self._stream: JetStreamContext = self._client.jetstream(timeout=TIMEOUT_S)
            self._run(self._see_stream())
        except NoServersError:
            self.close()
            raise NotTaken(f"no server of NATS can be reached: {self._last_error}") from None
        except BaseException:
            self.close()
            raise

    def send(self, messages: Sequence[Outgoing]) -> None:
        """See `Sender`."""
        self._run(self._publish(messages))

    def close(self) -> None:
        """See `Sender`."""
        with suppress(Exception):  # whatever a broken connection says of its end
            self._run(self._client.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(TIMEOUT_S)
        if not self._thread.is_alive():
            self._loop.close()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(2 * TIMEOUT_S)
        except NotInTime:
            future.cancel()
            raise NotTaken(f"NATS did not answer within {2 * TIMEOUT_S:g} s") from None

    async def _see_stream(self) -> None:
        try:
            await self._stream.find_stream_name_by_subject(self._subject)
        except NotFoundError:
            await self._stream.add_stream(name=self._subject.replace(".", "_"), subjects=[self._subject])

    async def _note_error(self, error: Exception) -> None:
        """Without this, the client writes to the log of the host."""
        self._last_error = f"{type(error).__name__}: {error}"

    async def _note_end(self) -> None:
        self._ended.set()

    async def _publish(self, messages: Sequence[Outgoing]) -> None:
        for wave in waves(messages):
            acknowledgements = [await self._begin(message) for message in wave]
            try:
                await self._while_connected(asyncio.gather(*acknowledgements))
            except NoStreamResponseError:
                raise NotTaken(
                    f"no stream of NATS takes the subject {self._subject!r} any more; one is made at the next try"
                ) from None

    async def _begin(self, message: Outgoing) -> asyncio.Future[PubAck]:
        headers = {"Nats-Msg-Id": message.id, "Content-Type": message.content_type}
        return await self._stream.publish_async(self._subject, message.body, headers=headers)

    async def _while_connected(self, acknowledged: asyncio.Future[Any]) -> None:
        """Wait for what was sent, but not on a connection that has ended: the client waits there until the time-out."""
        ended = asyncio.ensure_future(self._ended.wait())
        await asyncio.wait((acknowledged, ended), return_when=asyncio.FIRST_COMPLETED)
        ended.cancel()
        if not acknowledged.done():
            acknowledged.cancel()
            raise NotTaken("the connection to NATS ended")
        acknowledged.result()


def waves(messages: Sequence[Outgoing]) -> Iterator[list[Outgoing]]:
    """First the first message of each stream, then the second of each, and so on.

    If one message is refused, those after it may be stored; and NATS would drop them as duplicates when all are sent
    again, behind the refused one. So a saga's next event waits until the one before is acknowledged.
    """
    by_stream: dict[str, list[Outgoing]] = {}
    for message in messages:
        by_stream.setdefault(message.stream_id, []).append(message)
    for wave in zip_longest(*by_stream.values()):
        yield [message for message in wave if message is not None]

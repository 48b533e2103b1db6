"""Redis: messages are added to a stream; whether they outlive the server is what its append-only file is for."""

from __future__ import annotations

from collections.abc import Sequence

from redis import Redis as Client
from redis.backoff import NoBackoff
from redis.retry import Retry

from saga_es.publish.brokers.outgoing import TIMEOUT_S, Outgoing
from saga_es.publish.brokers.url import BrokerUrl

FIELD = "event"
"""The field of an entry that holds the message."""


class Redis:
    """A connection. A batch is one transaction: Redis has all of it, or nothing, and no other client's in between."""

    def __init__(self, url: BrokerUrl) -> None:
        host, _, port = url.hosts[0].rpartition(":")
        self._stream = url.options["stream"]
        self._most = int(url.options["maxlen"]) if "maxlen" in url.options else None
        self._client = Client(
            host=host.strip("[]"),
            port=int(port),
            db=int(url.place or 0),
            username=url.user or None,
            password=url.password or None,
            ssl=url.is_tls,
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
            client_name="saga_es",
            retry=Retry(NoBackoff(), 0),  # the publisher tries again, and says so
        )

    def send(self, messages: Sequence[Outgoing]) -> None:
        """See `Sender`."""
        with self._client.pipeline(transaction=True) as pipeline:
            for message in messages:
                pipeline.xadd(self._stream, {FIELD: message.body}, maxlen=self._most)
            pipeline.execute()

    def close(self) -> None:
        """See `Sender`."""
        self._client.close()

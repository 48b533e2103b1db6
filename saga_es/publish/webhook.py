"""Webhooks: a server is told how sagas end, signed by the scheme of Standard Webhooks (standardwebhooks.com, 1.0.0)."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Sequence
from hashlib import sha256
from urllib.parse import urlsplit

from saga_es.publish.messages import Message
from saga_es.runtime.calls.transport import HttpTransport
from saga_es.store.host_time import host_now
from saga_es.store.log.codec import SAGA
from saga_es.store.log.entries import Entry

TIMEOUT_S = 10.0
ENDS = frozenset({"SagaCompleted", "SagaCompensated", "SagaFailed", "SagaResolved"})
SECRET = "whsec_"  # noqa: S105 (what a secret begins with)
KEY_BYTES = range(24, 65)
SECRET_CURE = f"set it to {SECRET} and 24 to 64 random bytes in base64; `openssl rand -base64 32` makes some"
LONGEST_NAME = 40


class Refused(Exception):
    """The server answered, and did not take the message."""


class Webhook:
    """A server as a target: a POST for each end and each failure of a saga, one after the other.

    The body is the event as a CloudEvent. Any 2xx is an acknowledgement; after anything else the same message is sent
    again, later, with the same `webhook-id`.

    Args:
        url: Where to send.
        secret: What `key_of` takes.

    Raises:
        BadAddress: Calls could not carry all of the URL.
        ValueError: The secret is none.
    """

    at_once = 1
    begins_at_end = True

    def __init__(self, url: str, secret: str) -> None:
        parts = urlsplit(url)
        digest = sha256(url.encode()).hexdigest()[:8]
        self.name = f"webhook {(parts.hostname or '')[:LONGEST_NAME]}-{digest}"[:54]
        self._key = key_of(secret)
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._transport = HttpTransport(f"{parts.scheme}://{parts.netloc}", connections=1, name=self.name)

    def wants(self, entry: Entry) -> bool:
        """Ends and failures of sagas."""
        return entry.category == SAGA and entry.type in ENDS

    def deliver(self, messages: Sequence[Message]) -> None:
        """Send each.

        Raises:
            NotSent: The server cannot be reached.
            AnswerLost: It did not answer within `TIMEOUT_S`.
            Refused: It answered with another status than 2xx.
        """
        for message in messages:
            body, now_s = message.json(), int(host_now().timestamp())
            headers = {
                "Content-Type": "application/cloudevents+json; charset=utf-8",
                "webhook-id": message.id,
                "webhook-timestamp": str(now_s),
                "webhook-signature": signature(self._key, message.id, now_s, body),
            }
            if message.trace is not None:
                headers |= message.trace.headers
            answer = self._transport.send("POST", self._path, headers, body, TIMEOUT_S)
            if not 200 <= answer.status < 300:  # noqa: PLR2004 (RFC 9110, 15.3)
                raise Refused(f"HTTP {answer.status}")

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()


def key_of(secret: str) -> bytes:
    """The key that a secret holds: `whsec_` and 24 to 64 bytes in base64.

    Raises:
        ValueError: It is in another form.
    """
    try:
        key = base64.b64decode(secret.removeprefix(SECRET), validate=True)
    except binascii.Error:
        key = b""
    if not secret.startswith(SECRET) or len(key) not in KEY_BYTES:
        raise ValueError(SECRET_CURE)
    return key


def signature(key: bytes, message_id: str, timestamp_s: int, body: bytes) -> str:
    """The value of `webhook-signature`."""
    signed = f"{message_id}.{timestamp_s}.".encode() + body
    return f"v1,{base64.b64encode(hmac.digest(key, signed, 'sha256')).decode()}"

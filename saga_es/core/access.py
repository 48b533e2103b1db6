"""The events of API keys. Each key has a stream of its own; the log keeps the hash of its secret, never the secret."""

from __future__ import annotations

from datetime import datetime

import msgspec


class KeyCreated(msgspec.Struct, frozen=True, omit_defaults=True):
    """A person made a key for a principal.

    Attributes:
        name: The principal that the key stands for; while a key is exchanged for another, both have the same.
        roles: What the principal may do.
        sha256: The SHA-256 of the key's secret, in hexadecimal digits.
        actor: Who made it.
        sagas: The definitions that it may act on; None: all.
        tenant: The principal's tenant; empty: none.
        expires_at: From then on the key is not valid; None: it does not expire.
    """

    name: str
    roles: tuple[str, ...]
    sha256: str
    actor: str
    sagas: tuple[str, ...] | None = None
    tenant: str = ""
    expires_at: datetime | None = None


class KeyRevoked(msgspec.Struct, frozen=True):
    """A person revoked the key: it is not valid any more."""

    actor: str
    reason: str


AccessEvent = KeyCreated | KeyRevoked
"""The closed union of the events in a key's stream."""

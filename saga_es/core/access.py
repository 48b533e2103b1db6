"""Who starts sagas, and who may see them; and the events of API keys.

Each key has a stream of its own. The log keeps the hash of its secret, never the secret.
"""

from __future__ import annotations

from datetime import datetime

import msgspec


class Starter(msgspec.Struct, frozen=True, omit_defaults=True):
    """The principal that started a saga, or the family of a child."""

    name: str
    tenant: str = ""


class Scope(msgspec.Struct, frozen=True):
    """The sagas that a principal may see.

    Attributes:
        tenant: Those of this tenant; empty: those of none.
        sagas: Those of these definitions; None: of all.
        by: Those that this principal started; None: that anybody did.
    """

    tenant: str = ""
    sagas: frozenset[str] | None = None
    by: str | None = None

    def has(self, saga: str, starter: Starter | None) -> bool:
        """Whether a saga is among them.

        Args:
            saga: The name of its definition.
            starter: Who started it, as its start says.
        """
        tenant, name = ("", None) if starter is None else (starter.tenant, starter.name)
        is_named = self.sagas is None or saga in self.sagas
        return is_named and tenant == self.tenant and (self.by is None or name == self.by)


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


class SubjectErased(msgspec.Struct, frozen=True):
    """A person erased a subject: the key of this stream's id is gone. Who the subject was, the log does not say."""

    actor: str
    reason: str


AccessEvent = KeyCreated | KeyRevoked
"""The closed union of the events in a key's stream."""

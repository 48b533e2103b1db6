"""AES-256-GCM for the fields of an event. The place of a field is authenticated, so that it is readable nowhere else.

The text of an encrypted event is the event as those see it who have no key, with one more member: the ciphertexts. The
hash chain covers it as it is stored.
"""

from __future__ import annotations

import hmac
import os
from base64 import b64decode, b64encode
from typing import Any, NamedTuple

import msgspec

from saga_es.store.encryption.errors import NoKey
from saga_es.store.encryption.fields import mask

MEMBER = "$encrypted"
"""The member with the key's id and the ciphertexts, by field."""

BIT = 1 << 14
"""Added to the schema of an encrypted event: a version that knows nothing of encryption leaves it alone."""

NONCE = 12
KEY_BYTES = 32


class DataKey(NamedTuple):
    """The key of a subject, and the tenant that it belongs to."""

    secret: bytes
    tenant: str


class Place(NamedTuple):
    """Where an event stands in the log."""

    stream_id: str
    category: str
    version: int
    type: str
    schema: int


class Changed(ValueError):
    """A ciphertext was changed, or it comes from another place, or from another key."""


def encrypted(text: str, secrets: dict[str, Any], key_id: str, key: DataKey, place: Place) -> str:
    """The text of an event, with its secrets encrypted.

    Args:
        text: The event as those see it who have no key.
        secrets: The values, by field.
        key_id: The id of the key.
        key: The key.
        place: Where the event will stand.
    """
    cipher = _cipher(key, place)
    found = {"key": key_id}
    for name, value in secrets.items():
        nonce = os.urandom(NONCE)
        sealed = cipher.encrypt(nonce, msgspec.json.encode(value), _about(key, place, name))
        found[name] = b64encode(nonce + sealed).decode()
    return f'{text[:-1]},"{MEMBER}":{msgspec.json.encode(found).decode()}}}'


def key_id_of(text: str) -> str | None:
    """The id of the key under which an event is encrypted."""
    found = msgspec.json.decode(text).get(MEMBER)
    return found.get("key") if isinstance(found, dict) else None


def decrypted(text: str, key: DataKey, place: Place) -> str:
    """The text of an event as it was before it was encrypted.

    Raises:
        Changed: A ciphertext does not belong here.
    """
    from cryptography.exceptions import InvalidTag  # noqa: PLC0415 (an extra)

    fields = msgspec.json.decode(text)
    sealed = fields.pop(MEMBER)
    del sealed["key"]
    cipher = _cipher(key, place)
    for name, value in sealed.items():
        try:
            whole = b64decode(value, validate=True)
            fields[name] = msgspec.Raw(cipher.decrypt(whole[:NONCE], whole[NONCE:], _about(key, place, name)))
        except (InvalidTag, ValueError, TypeError) as error:
            raise Changed(f"its {name} was changed, or belongs to another place or key") from error
    return msgspec.json.encode(fields).decode()


def unread(text: str, why: NoKey | None = None) -> str:
    """The text of an event without its ciphertexts, as those see it who have no key."""
    fields: dict[str, Any] = msgspec.json.decode(text)
    sealed: dict[str, Any] = fields.pop(MEMBER, {})
    if why is not None:
        fields |= {name: mask(name, why.shown) for name in sealed.keys() - {"key"}}
    return msgspec.json.encode(fields).decode()


def _cipher(key: DataKey, place: Place) -> Any:
    """The cipher of a stream. A key for each keeps random nonces far from repeating, however large a subject is."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 (an extra)

    return AESGCM(hmac.digest(key.secret, place.stream_id.encode(), "sha256"))


def _about(key: DataKey, place: Place, name: str) -> bytes:
    return msgspec.json.encode([key.tenant, *place, name])

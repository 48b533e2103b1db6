"""Requests signed by HTTP Message Signatures (RFC 9421), with the digest of their body (RFC 9530).

`http-message-signatures` writes and reads signatures. Here stands what ours cover, and what their keys look like.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import msgspec

from saga_es.definition.credentials import Source
from saga_es.runtime.calls.sources import NoCredentials, text_of

if TYPE_CHECKING:
    from http_message_signatures import HTTPSignatureAlgorithm

TAG = "saga_es"
"""The application that a signature is for: one that was made for another is none here."""

LABEL = "saga"
DIGEST = "content-digest"
OF_A_SAGA = ("idempotency-key", "x-saga-id", "x-saga-step")
COVERED = ("@method", "@target-uri", DIGEST, *OF_A_SAGA)
"""What a signature covers. Whatever of it another hand changes, adds or takes away makes the signature a bad one."""

ALGORITHMS = ("ed25519", "hmac-sha256")
SHORTEST_SECRET = 32
"""The fewest bytes of a secret: as many as the hash has (RFC 2104, 3)."""

_FORM = "write `ed25519 KEY-ID file:/path` or `hmac-sha256 KEY-ID env:NAME`"


class Key(msgspec.Struct, frozen=True):
    """A key, as it is now.

    Attributes:
        algorithm: One of `ALGORITHMS`.
        material: The bytes of a secret, or a key of `cryptography`.
    """

    algorithm: str
    material: Any

    def __repr__(self) -> str:
        """Without the key: a traceback may show it."""
        return f"Key({self.algorithm!r}, ***)"


class Message:
    """A request as the library wants it."""

    def __init__(self, method: str, url: str, headers: Mapping[str, str]) -> None:
        self.method = method
        self.url = url
        self.headers = dict(headers)


def signing_key(sign: Source) -> tuple[str, Key]:
    """The id and the key that a setting names.

    Args:
        sign: `ALGORITHM KEY-ID SOURCE`; or a function that returns such a text.

    Raises:
        NoCredentials: It is in another form, or the key cannot be used.
    """
    parts = (text_of(sign) if callable(sign) else sign).split(None, 2)
    if len(parts) != 3 or not parts[1].isascii() or not parts[1].isprintable():  # noqa: PLR2004 (the parts of the form)
        raise NoCredentials(f"it has no algorithm, id and key; {_FORM}")
    return parts[1], key_of(parts[0], parts[2], is_private=True)


def key_of(algorithm: str, source: Source, *, is_private: bool) -> Key:
    """The key that a source holds.

    Raises:
        NoCredentials: The algorithm is not known, or the key is none of it.
    """
    if find_spec("http_message_signatures") is None:
        raise NoCredentials("http-message-signatures is not installed; run pip install saga-es[signatures]")
    text = text_of(source)
    match algorithm.lower():
        case "hmac-sha256":
            return Key("hmac-sha256", _secret(text))
        case "ed25519":
            return Key("ed25519", _ed25519(text, is_private=is_private))
        case _:
            raise NoCredentials(f"there is no such algorithm; {_FORM}")


def signed(
    sign: Source, method: str, url: str, headers: Mapping[str, str], body: bytes | None, now: datetime | None = None
) -> dict[str, str]:
    """The headers of a request, with its signature of now.

    Raises:
        NoCredentials: There is no key.
    """
    from http_message_signatures import HTTPMessageSigner, MappingKeyResolver  # noqa: PLC0415 (an extra, decision 062)

    key_id, key = signing_key(sign)
    message = Message(method, url, headers)
    signer = HTTPMessageSigner(
        signature_algorithm=algorithm_of(key),
        key_resolver=MappingKeyResolver(public_keys={}, private_keys={key_id: key.material}),
    )
    given = {name.lower() for name in headers}
    signer.sign(
        message,
        key_id=key_id,
        created=now or datetime.now(UTC),
        label=LABEL,
        tag=TAG,
        covered_component_ids=[name for name in COVERED if name not in OF_A_SAGA or name in given],
        body=body or b"",
    )
    return message.headers


def algorithm_of(key: Key) -> type[HTTPSignatureAlgorithm]:
    """The library's class for a key."""
    from http_message_signatures import algorithms  # noqa: PLC0415 (an extra, decision 062)

    return algorithms.ED25519 if key.algorithm == "ed25519" else algorithms.HMAC_SHA256


def _secret(text: str) -> bytes:
    try:
        secret = b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if len(secret) < SHORTEST_SECRET:
        why = f"a secret of hmac-sha256 is at least {SHORTEST_SECRET} bytes in base64"
        raise NoCredentials(f"{why}; `openssl rand -base64 {SHORTEST_SECRET}` makes one")
    return secret


def _ed25519(text: str, *, is_private: bool) -> Any:
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 (an extra, decision 062)
    from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415 (the same)

    try:
        if is_private:
            key: object = serialization.load_pem_private_key(text.encode(), password=None)
        else:
            key = serialization.load_pem_public_key(text.encode())
    except (ValueError, TypeError, UnicodeError):  # TypeError: it is encrypted
        key = None
    if not isinstance(key, ed25519.Ed25519PrivateKey if is_private else ed25519.Ed25519PublicKey):
        which = "private" if is_private else "public"
        raise NoCredentials(
            f"it is no {which} key of Ed25519 in PEM, without a passphrase; `openssl genpkey -algorithm ed25519` makes "
            "a private one, and `openssl pkey -pubout` its public one"
        )
    return key

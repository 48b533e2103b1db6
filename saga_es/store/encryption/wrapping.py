"""What wraps the keys of subjects: a file with keys, or a key service behind the same protocol."""

from __future__ import annotations

import os
from base64 import b64decode, b64encode, urlsafe_b64decode
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

from saga_es.errors import SettingsError
from saga_es.store.encryption.cipher import KEY_BYTES, NONCE
from saga_es.store.encryption.errors import WrongKey

CURE = "make one with `openssl rand -base64 32`"


class KeyWrapper(Protocol):
    """Wraps and unwraps keys. Each method may raise `KeysAway` (asked again later) or `WrongKey` (it may not)."""

    @property
    def current(self) -> str:
        """The name of the key that wraps now."""
        ...

    def wrap(self, key: bytes, about: bytes) -> str:
        """The key, wrapped under the present key; `about` is authenticated with it."""
        ...

    def unwrap(self, wrapped: str, by: str, about: bytes) -> bytes:
        """The key that was wrapped by the key of this name."""
        ...


class KeyFile:
    """Wrapping keys in a file: 32 bytes in base64, one a line. The first wraps; the others are valid for reading.

    Args:
        path: The file.

    Raises:
        SettingsError: It cannot be read, others may read it, or it holds no such keys.
    """

    def __init__(self, path: str) -> None:
        try:
            lines = Path(path).read_text(encoding="ascii").split()
            mode = Path(path).stat().st_mode
        except (OSError, UnicodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no text"
            raise SettingsError([f"SAGA_ES_ENCRYPTION_KEY_FILE: cannot read {path!r}: {why}; {CURE}"]) from error
        if mode & 0o077:
            raise SettingsError([f"SAGA_ES_ENCRYPTION_KEY_FILE: others may read {path!r}; chmod 600 {path}"])
        keys = [_key(path, number, line) for number, line in enumerate(lines, 1)]
        if not keys:
            raise SettingsError([f"SAGA_ES_ENCRYPTION_KEY_FILE: {path!r} holds no key; {CURE}"])
        self._keys = {sha256(key).hexdigest()[:16]: key for key in keys}
        self._current = next(iter(self._keys))

    @property
    def current(self) -> str:
        """See `KeyWrapper`."""
        return self._current

    def wrap(self, key: bytes, about: bytes) -> str:
        """See `KeyWrapper`."""
        nonce = os.urandom(NONCE)
        return b64encode(nonce + _cipher(self._keys[self._current]).encrypt(nonce, key, about)).decode()

    def unwrap(self, wrapped: str, by: str, about: bytes) -> bytes:
        """See `KeyWrapper`."""
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415 (an extra)

        if by not in self._keys:
            have = ", ".join(self._keys)
            raise WrongKey(f"keys were wrapped by key {by}, and the key file has only {have}; add its line to the file")
        whole = b64decode(wrapped)
        try:
            found: bytes = _cipher(self._keys[by]).decrypt(whole[:NONCE], whole[NONCE:], about)
        except InvalidTag as error:
            raise WrongKey(f"a key that was wrapped by key {by} was changed, or belongs to another subject") from error
        return found


def _key(path: str, number: int, line: str) -> bytes:
    try:
        key = urlsafe_b64decode(line.replace("+", "-").replace("/", "_"))
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        where = f"SAGA_ES_ENCRYPTION_KEY_FILE: line {number} of {path!r}"
        raise SettingsError([f"{where} is not {KEY_BYTES} bytes in base64; {CURE}"])
    return key


def _cipher(key: bytes) -> Any:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 (an extra)

    return AESGCM(key)

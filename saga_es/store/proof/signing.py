"""Ed25519 keys in PEM files, as `openssl genpkey -algorithm ed25519` also writes them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saga_es.errors import BadKey

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

PRIVATE_MODE = 0o600
PUBLIC_MODE = 0o644


class PrivateKey:
    """A key to sign with.

    Args:
        path: Its file.

    Raises:
        BadKey: The file is missing, holds no such key, or others may read it.
    """

    def __init__(self, path: Path) -> None:
        text = _read(path)
        if path.stat().st_mode & 0o077:
            raise BadKey(str(path), f"others may read it; chmod 600 {path}")
        self._key: Ed25519PrivateKey = _load(path, text, is_private=True)

    def sign(self, message: bytes) -> bytes:
        """The signature of a message."""
        return self._key.sign(message)


class PublicKey:
    """A key to check signatures with.

    Args:
        path: Its file.

    Raises:
        BadKey: The file is missing, or holds no such key.
    """

    def __init__(self, path: Path) -> None:
        self._key: Ed25519PublicKey = _load(path, _read(path), is_private=False)

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Whether this message was signed with the private key."""
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 (an extra)

        try:
            self._key.verify(signature, message)
        except InvalidSignature:
            return False
        return True


def make_keys(path: Path) -> Path:
    """Make a new pair of keys: the private key in a file that only its owner may read, the public key beside it.

    Returns:
        The file of the public key: the path plus `.pub`.

    Raises:
        BadKey: One of the files exists already, or cannot be written.
    """
    primitives = _primitives(path)
    from cryptography.hazmat.primitives import serialization as form  # noqa: PLC0415 (an extra)

    key = primitives.Ed25519PrivateKey.generate()
    private = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    public = key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    beside = path.with_name(path.name + ".pub")
    if beside.exists():
        raise BadKey(str(beside), "it is there already, and is left alone")
    _write(path, private, PRIVATE_MODE)
    _write(beside, public, PUBLIC_MODE)
    return beside


def _write(path: Path, text: bytes, mode: int) -> None:
    try:
        # Nobody else may ever read the file, and no existing file is overwritten.
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(text)
    except FileExistsError:
        raise BadKey(str(path), "it is there already, and is left alone") from None
    except OSError as error:
        raise BadKey(str(path), error.strerror or str(error)) from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadKey(str(path), error.strerror or str(error)) from error


def _load(path: Path, text: bytes, *, is_private: bool) -> Any:
    primitives = _primitives(path)
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 (an extra)
    from cryptography.hazmat.primitives import serialization as form  # noqa: PLC0415 (an extra)

    wanted = primitives.Ed25519PrivateKey if is_private else primitives.Ed25519PublicKey
    try:
        key = form.load_pem_private_key(text, None) if is_private else form.load_pem_public_key(text)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, wanted):
        kind = "private" if is_private else "public"
        raise BadKey(str(path), f"it holds no {kind} Ed25519 key; `saga-es keygen FILE` makes FILE and FILE.pub")
    return key


def _primitives(path: Path) -> Any:
    try:
        from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415 (an extra)
    except ImportError as error:
        raise BadKey(str(path), "keys need the extra `seal`: pip install 'saga-es[seal]'") from error
    return ed25519

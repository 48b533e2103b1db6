"""Seals: the heads of all streams at one moment, signed, in a file that is kept elsewhere.

A seal is NDJSON. Its first line says what it is. Each further line is a stream, `[stream_id, version, hash]`, in the
order of the bytes of the ids. The last line holds the SHA-256 of all bytes before it, and an Ed25519 signature of that
hash. It is written and read line by line: a million streams make about 120 MB on disk, and need no memory.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import IO, Literal

import msgspec

from saga_es.errors import BadSeal
from saga_es.store.log.chain import Head
from saga_es.store.proof.signing import PrivateKey, PublicKey

LONGEST_LINE = 4096
_CONTEXT = b"saga_es seal 1\n"
"""The prefix of what is signed, so that the signature of a seal fits nothing else."""


class Heading(msgspec.Struct, frozen=True):
    """The first line."""

    sealed_at: datetime
    saga_es_seal: Literal[1] = 1


class Closing(msgspec.Struct, frozen=True):
    """The last line.

    Attributes:
        streams: How many streams there are.
        root: SHA-256 of all bytes before this line, in hexadecimal digits.
        signature: Ed25519, of the context and the digits of the root; in base64.
    """

    streams: int
    root: str
    signature: str


_Line = tuple[str, int, str]
_line_decoder = msgspec.json.Decoder(_Line)
_encode = msgspec.json.Encoder().encode


def write_seal(heads: Iterable[tuple[str, Head]], file: IO[bytes], key: PrivateKey, sealed_at: datetime) -> Closing:
    """Seal the heads of all streams.

    Args:
        heads: In the order of the bytes of the streams' ids.
        file: Where the seal is written.
        key: The key to sign with.
        sealed_at: Aware.

    Returns:
        The last line.
    """
    root, streams = sha256(), 0

    def write(line: bytes) -> None:
        root.update(line)
        file.write(line)

    write(_encode(Heading(sealed_at.astimezone(UTC))) + b"\n")
    for stream_id, head in heads:
        write(_encode((stream_id, head.version, head.hash)) + b"\n")
        streams += 1
    digits = root.hexdigest()
    closing = Closing(streams, digits, base64.b64encode(key.sign(_CONTEXT + digits.encode())).decode())
    file.write(_encode(closing) + b"\n")
    return closing


class Seal:
    """A seal whose signature was checked.

    Args:
        path: Its file; read here once, whole, line by line.
        key: The public key of the signer.

    Raises:
        BadSeal: It differs from what was signed with that key.
        OSError: The file cannot be read.
    """

    def __init__(self, path: Path, key: PublicKey) -> None:
        self._path = path
        root, streams = sha256(), -1
        last = b""
        for line in self._lines():
            if last:
                root.update(last)
                streams += 1
            last = line
        closing = self._closing(last)
        if closing.root != root.hexdigest() or closing.streams != streams:
            raise BadSeal(str(path), "its lines differ from the lines that were signed")
        if not key.verifies(_signature(closing), _CONTEXT + closing.root.encode()):
            raise BadSeal(str(path), "its signature is not of this key")
        self.streams = streams
        self.sealed_at = self._heading().sealed_at

    def heads(self) -> Iterator[tuple[str, Head]]:
        """The sealed heads.

        Raises:
            BadSeal: The file has changed since it was opened, or a signed line is no stream.
        """
        lines = self._lines()
        next(lines)
        for number, line in enumerate(lines):
            if number == self.streams:
                return
            try:
                stream_id, version, hash_ = _line_decoder.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise BadSeal(str(self._path), f"line {number + 2} is no stream: {error}") from error
            yield stream_id, Head(version, hash_)

    def _heading(self) -> Heading:
        try:
            return msgspec.json.decode(next(self._lines()), type=Heading)
        except (msgspec.DecodeError, UnicodeDecodeError, StopIteration) as error:
            raise BadSeal(str(self._path), f"its first line is not a seal's: {error}") from error

    def _closing(self, line: bytes) -> Closing:
        try:
            closing = msgspec.json.decode(line, type=Closing)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BadSeal(str(self._path), f"its last line holds no signature: {error}") from error
        if _encode(closing) + b"\n" != line:
            raise BadSeal(str(self._path), "its last line was changed")
        return closing

    def _lines(self) -> Iterator[bytes]:
        with self._path.open("rb") as file:
            while line := file.readline(LONGEST_LINE):
                yield line


def _signature(closing: Closing) -> bytes:
    try:
        signature = base64.b64decode(closing.signature, validate=True)
    except (binascii.Error, ValueError):
        return b""
    # The last letter of base64 has bits that mean nothing: a signature is to have one form.
    return signature if base64.b64encode(signature).decode() == closing.signature else b""


def unlike(sealed: Head, hash_there: str | None, last: int, archived: Head | None) -> str | None:
    """What is wrong with a sealed stream; None when nothing is.

    A stream may have grown since. Its chain is verified elsewhere; given a whole chain, the hash at the sealed version
    vouches for all events before it.

    Args:
        sealed: Its head in the seal.
        hash_there: The log's hash at that version; None when the log has no such event.
        last: The last version in the log; 0 when the log has none of its events.
        archived: Its entry in the archives.
    """
    if hash_there == sealed.hash:
        return None
    if hash_there is not None:
        return "its hash differs from the sealed hash: the stream was rewritten"
    if archived is not None and archived.version == sealed.version and archived.hash != sealed.hash:
        return "the hash in the archives differs from the sealed hash"
    if archived is not None and archived.version >= sealed.version:
        return None
    if archived is not None:
        return f"it was sealed at this version, but archived at version {archived.version}"
    return f"it was sealed at this version, but ends at version {last}" if last else "it was sealed, and is gone"

"""A server of bare sockets that does to a connection what a test says, and certificates for it."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Script = Callable[[socket.socket], None]
"""What is done to one connection; it is closed afterwards."""

LONGEST_S = 20.0
"""The longest that a server waits for what a client should do at once."""


@dataclass(frozen=True)
class RawServer:
    """Where it listens."""

    port: int


@contextlib.contextmanager
def raw_server(script: Script) -> Iterator[RawServer]:
    """A server whose connections are each given to the script, in threads of their own."""
    threads: list[threading.Thread] = []
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listening:

        def one(taken: socket.socket) -> None:
            taken.settimeout(LONGEST_S)
            with taken, contextlib.suppress(OSError):
                script(taken)

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    taken, _ = listening.accept()
                    threads.append(threading.Thread(target=one, args=(taken,)))
                    threads[-1].start()

        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield RawServer(listening.getsockname()[1])
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            accepting.join()
            for thread in threads:
                thread.join()


def request_of(taken: socket.socket) -> bytes:
    """The head of a request, and as much of its body as came with it."""
    came = b""
    while b"\r\n\r\n" not in came and (piece := taken.recv(65_536)):
        came += piece
    return came


def saying(answer: bytes) -> Script:
    """Read a request, send these bytes, and close."""

    def script(taken: socket.socket) -> None:
        request_of(taken)
        taken.sendall(answer)

    return script


def reset(taken: socket.socket) -> None:
    """Tear the connection down."""
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    taken.close()


_SIGNS = x509.KeyUsage(
    **dict.fromkeys(
        (
            "digital_signature",
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "crl_sign",
            "encipher_only",
            "decipher_only",
        ),
        False,
    ),
    key_cert_sign=True,
)


class Authority:
    """An authority that makes certificates, in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an authority of the tests")])
        made = (
            self._builder(self._name, self._name, self._key, 0, self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_SIGNS, critical=True)
        )
        self.file = folder / "authority.pem"
        self.file.write_bytes(made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def context(self, host: str = "127.0.0.1", *, days_ago: int = 0, is_own: bool = True) -> ssl.SSLContext:
        """A server's TLS, with a certificate for this host; not `is_own`: signed by itself."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        try:
            named: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
        except ValueError:
            named = x509.DNSName(host)
        signer = self._key if is_own else key
        builder = self._builder(name, self._name if is_own else name, key, days_ago, signer).add_extension(
            x509.SubjectAlternativeName([named]), critical=False
        )
        made = builder.sign(signer, hashes.SHA256())
        file = self._folder / f"{host}-{days_ago}-{is_own}.pem"
        file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + made.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        context.num_tickets = 0  # a test that waits until something comes does not mean them
        return context

    def _builder(
        self,
        name: x509.Name,
        issuer: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        days_ago: int,
        signer: ec.EllipticCurvePrivateKey,
    ) -> x509.CertificateBuilder:
        """A certificate that is valid for ten days, until so many days ago; 0: from yesterday on."""
        end = datetime.now(UTC) + timedelta(days=9) if days_ago == 0 else datetime.now(UTC) - timedelta(days=days_ago)
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(end - timedelta(days=10))
            .not_valid_after(end)
            # Python 3.13 and later look whether both keys are named.
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        )


def over_tls(context: ssl.SSLContext, script: Script) -> Script:
    """The script, once TLS is agreed upon. It closes as TLS wants it."""

    def wrapped(taken: socket.socket) -> None:
        with context.wrap_socket(taken, server_side=True, do_handshake_on_connect=False) as secure:
            try:
                secure.do_handshake()
            except ssl.SSLError:
                socket.socket.shutdown(secure, socket.SHUT_WR)  # a reset would overtake the alert
                while socket.socket.recv(secure, 65_536):
                    pass
                return
            script(secure)
            with contextlib.suppress(OSError, ValueError):
                secure.unwrap()

    return wrapped

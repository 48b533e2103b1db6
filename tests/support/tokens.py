"""Tokens of an issuer, as they should be and as they should not, and the keys that it publishes."""

from __future__ import annotations

import base64
import json
import time
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

ISS, AUD = "https://id.example", "sagas"
Claims = dict[str, Any]


@cache
def key(name: str) -> Any:
    """A private key, made once."""
    if name.startswith("ec"):
        return ec.generate_private_key(ec.SECP256R1())
    return ed25519.Ed25519PrivateKey.generate() if name.startswith("ed") else rsa.generate_private_key(65537, 2048)


def published(name: str, **more: Any) -> dict[str, Any]:
    """The public key as its issuer publishes it."""
    algorithm: Any = {"ec": jwt.algorithms.ECAlgorithm, "ed": jwt.algorithms.OKPAlgorithm}.get(
        name[:2], jwt.algorithms.RSAAlgorithm
    )
    return {**json.loads(algorithm.to_jwk(key(name).public_key())), "kid": name, "use": "sig", **more}


def document(*entries: dict[str, Any]) -> bytes:
    return json.dumps({"keys": list(entries)}).encode()


def claims(**changes: Any) -> Claims:
    now = int(time.time())
    right = {
        "iss": ISS,
        "aud": AUD,
        "sub": "ann",
        "exp": now + 300,
        "nbf": now - 5,
        "iat": now - 5,
        "roles": ["operator"],
    }
    return {name: value for name, value in {**right, **changes}.items() if value is not ...}


def token(alg: str = "RS256", by: str = "rsa", header: Claims | None = None, **changes: Any) -> str:
    head = {"typ": "at+jwt", "kid": by, **(header or {})}
    secret: Any = "s" * 64 if alg.startswith("HS") else None if alg == "none" else key(by)
    return jwt.encode(claims(**changes), secret, alg, {name: value for name, value in head.items() if value is not ...})


def raw(header: Any, body: Any, signature: bytes | None = None) -> str:
    """Three parts as they are given; by default they are signed as they should be."""
    parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, body)]
    unsigned = ".".join(map(in_base64, parts))
    signed = key("rsa").sign(unsigned.encode(), padding.PKCS1v15(), hashes.SHA256()) if signature is None else signature
    return f"{unsigned}.{in_base64(signed)}"


def in_base64(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()

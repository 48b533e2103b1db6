"""JSON Web Tokens (RFC 7519): who sent a request, as an issuer that is trusted has signed it.

All that is wrong with a token has one answer: None. An issuer pins its algorithms, so that no token chooses how it is
checked.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jwt
import msgspec

from saga_es.access.jwks import Fetch, Jwks
from saga_es.access.principal import Principal, Role

if TYPE_CHECKING:
    from flask import Request  # an engine without an application does not load it

LONGEST = 8192
"""Characters of a token; a longer one is not looked at."""

LEEWAY_S = 30
"""Seconds by which the clocks of issuer and server may differ."""

REQUIRED = ("iss", "aud", "exp", "nbf", "sub")
TYPES = frozenset({"jwt", "at+jwt"})
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Algorithms with a public key. One with a shared secret would let each server that checks tokens make them."""

_HEADER = re.compile(r"bearer +([A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+)", re.ASCII | re.IGNORECASE)


class Issuer(msgspec.Struct, frozen=True, kw_only=True):
    """An issuer that is trusted.

    Attributes:
        name: The claim `iss`.
        audience: The claim `aud`, or one of it: this installation, as the issuer knows it.
        fetch: Fetches its keys.
        algorithms: The algorithms that it signs with.
        roles: The claim with the roles of the principal, a list of texts; those that are no roles here count for
            nothing.
        tenant: The claim with its tenant.
        sagas: The claim with the definitions that it may act on; a token without it may act on all.

    Raises:
        ValueError: An algorithm has no public key, or there is none.
    """

    name: str
    audience: str
    fetch: Fetch
    algorithms: Sequence[str] = ("RS256",)
    roles: str = "roles"
    tenant: str = "tenant"
    sagas: str = "sagas"

    def __post_init__(self) -> None:
        """Check the algorithms."""
        if not self.algorithms or not set(self.algorithms) <= set(ALGORITHMS):
            raise ValueError(f"the algorithms of an issuer are some of {', '.join(ALGORITHMS)}, not {self.algorithms}")


class JwtAuth:
    """Takes a request to the principal that its token names.

    Args:
        issuers: The issuers that are trusted.
    """

    def __init__(self, issuers: Sequence[Issuer]) -> None:
        self._issuers = {issuer.name: (issuer, Jwks(issuer.name, issuer.fetch)) for issuer in issuers}

    def __call__(self, request: Request) -> Principal | None:
        """The principal of a request; None: it carries no valid token."""
        header = request.headers.get("Authorization", "")
        found = _HEADER.fullmatch(header) if len(header) <= LONGEST else None
        return None if found is None else self.principal(found[1])

    def principal(self, token: str) -> Principal | None:
        """The principal of a token; None: something is wrong with it."""
        try:
            return self._principal(token)
        except (jwt.exceptions.PyJWTError, ValueError, TypeError, OverflowError, RecursionError):
            return None

    def _principal(self, token: str) -> Principal | None:
        header = jwt.get_unverified_header(token)
        typ, alg, kid = (header.get(name) for name in ("typ", "alg", "kid"))
        if not (isinstance(typ, str) and isinstance(alg, str) and isinstance(kid, str)) or "crit" in header:
            return None
        if typ.lower().removeprefix("application/") not in TYPES:
            return None
        named = jwt.decode(token, options={"verify_signature": False}).get("iss")
        known = self._issuers.get(named) if isinstance(named, str) else None
        if known is None or alg not in known[0].algorithms:
            return None
        issuer, key = known[0], known[1].key(kid)
        if key is None or key.algorithm_name != alg:
            return None
        claims = jwt.decode(
            token,
            key,
            algorithms=[alg],
            audience=issuer.audience,
            issuer=issuer.name,
            leeway=LEEWAY_S,
            options={"require": list(REQUIRED), "verify_iat": True},
        )
        return _of(claims, issuer)


def _of(claims: dict[str, Any], issuer: Issuer) -> Principal | None:
    roles, sagas, tenant = claims.get(issuer.roles, []), claims.get(issuer.sagas), claims.get(issuer.tenant, "")
    if not _are_texts(roles) or not (sagas is None or _are_texts(sagas)) or not isinstance(tenant, str):
        return None
    known = [role for role in roles if role in set(Role)]
    return Principal(claims["sub"], known, sagas, tenant, via="jwt")


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)

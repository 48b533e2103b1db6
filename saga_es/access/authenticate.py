"""The seam of authentication: a function takes a request to a principal, or to None."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from ipaddress import ip_address
from typing import TYPE_CHECKING

from saga_es.access.principal import Principal
from saga_es.errors import SettingsError

if TYPE_CHECKING:
    from flask import Request  # an engine without an application does not load it

Authenticate = Callable[["Request"], Principal | None]
"""Takes a request to who sent it; None: it has no valid credentials. An exception is a 500 or 503, never a way in."""


class Unguarded(SettingsError):
    """A server would serve without credentials where others than this machine can reach it."""

    def __init__(self, host: str, setting: str) -> None:
        cure = "set SAGA_ES_AUTH, or App(auth=), or --insecure-no-auth if nobody but friends can reach that address"
        super().__init__([f"{setting}: {host} is not loopback, and no credentials are asked for; {cure}"])


def first_of(several: Sequence[Authenticate]) -> Authenticate:
    """One authentication that asks several, and takes the first that knows the sender."""
    if len(several) == 1:
        return several[0]

    def authenticate(request: Request) -> Principal | None:
        return next((found for one in several if (found := one(request)) is not None), None)

    return authenticate


@lru_cache(1024)
def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"

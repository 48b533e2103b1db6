"""The credentials of participants: of settings and of the code, checked before anything is sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from saga_es.definition.credentials import Credentials
from saga_es.definition.requests import Request
from saga_es.errors import SettingsError


class BadCredentials(SettingsError):
    """Calls to participants could not show who calls, or could be read by anybody."""


LIMITS = ("calls", "rate")
"""How the variables end that say what a participant bears."""


def split_variables(
    given: Mapping[str, str],
) -> tuple[dict[str, str], dict[str, dict[str, str]], dict[str, dict[str, str]]]:
    """Base URLs, credentials and limits by participant, from variables without what all begin with.

    `X_AUTH` is the credentials of `x`, unless its value is a URL: then it is where a participant `x_auth` is. `X_PROXY`
    is always the proxy of `x`.
    """
    urls: dict[str, str] = {}
    credentials: dict[str, dict[str, str]] = {}
    limits: dict[str, dict[str, str]] = {}
    for name, value in given.items():
        participant, _, which = name.lower().rpartition("_")
        if is_credential(name, value):
            credentials.setdefault(participant, {})[which] = value
        elif is_about(name, value):
            limits.setdefault(participant, {})[which] = value
        else:
            urls[name.lower()] = value
    return urls, credentials, limits


def is_about(name: str, value: str) -> bool:
    """Whether a variable, without what all begin with, is a credential or a limit, and no address."""
    participant, _, which = name.lower().rpartition("_")
    is_limit = bool(participant) and which in LIMITS and "://" not in value
    return is_limit or is_credential(name, value)


def is_credential(name: str, value: str) -> bool:
    """Whether a variable, without what all begin with, is a credential and no address. A proxy is written as a URL."""
    participant, _, which = name.lower().rpartition("_")
    is_one = bool(participant) and which in Credentials.__struct_fields__
    return is_one and (which == "proxy" or not value.lower().startswith(("http://", "https://")))


def in_code(requests: Iterable[Request]) -> dict[str, Credentials]:
    """The credentials that the code gives, by participant.

    Raises:
        BadCredentials: It gives two for one participant.
    """
    found: dict[str, Credentials] = {}
    for request in requests:
        if found.setdefault(request.participant, request.credentials) != request.credentials:
            raise BadCredentials(
                [f"participant {request.participant!r} is defined twice, with different credentials; define it once"]
            )
    return found

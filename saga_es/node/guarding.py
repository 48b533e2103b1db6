"""Which credentials a node asks for, and where it serves without them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from saga_es.access.authenticate import Authenticate, Unguarded, first_of, is_loopback
from saga_es.errors import SettingsError
from saga_es.logs import logger
from saga_es.node.app import App
from saga_es.node.settings import Settings

NONE = "none"


def authentication_of(
    settings: Settings, app: App, there: Mapping[str, Callable[[], Authenticate]]
) -> Authenticate | None:
    """What the setting says, else what the application says; None: nobody has to be known.

    Args:
        settings: Name one authentication, or several, which are asked in turn.
        app: Names them too, or is one of its own.
        there: Makes the authentications, by their names.

    Raises:
        SettingsError: The application names an authentication that does not exist.
    """
    wanted = app.auth if settings.auth is None else settings.auth
    if wanted is None or callable(wanted):
        return wanted
    names = list(dict.fromkeys(wanted.replace(",", " ").split()))
    if names == [NONE]:
        return None
    if not names or not set(names) <= set(there):
        known = ", ".join([NONE, *there])
        raise SettingsError([f"--auth / SAGA_ES_AUTH: {wanted!r} is no authentication; there are {known}"])
    return first_of([there[name]() for name in names])


def check_address(host: str, setting: str, settings: Settings, authenticate: Authenticate | None) -> None:
    """Check that an address may be served on; warn if it is served without credentials.

    Args:
        host: The address.
        setting: The setting that names it.
        settings: Says whether it may be served without credentials.
        authenticate: What takes requests to principals.

    Raises:
        Unguarded: Others can reach the address, and nobody has to be known.
    """
    if authenticate is not None or is_loopback(host):
        return
    if not settings.insecure_no_auth:
        raise Unguarded(host, setting)
    logger.warning("everybody who can reach this address may do everything: --insecure-no-auth", address=host)

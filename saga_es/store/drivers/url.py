"""The URL of a database: parsed, completed with its Python driver, and refused early if it can never work."""

from __future__ import annotations

import os
import re
import warnings
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SAWarning

from saga_es.errors import SettingsError
from saga_es.store.drivers.driver import Driver, driver_for, driver_named, drivers


def parse_url(text: str) -> URL:
    """The URL with its Python driver.

    Raises:
        SettingsError: It cannot be used. The message shows no password.
    """
    try:
        url = sa.make_url(_in_sqlalchemys_form(text))
        driver = driver_for(url)
        if "+" not in url.drivername:
            url = url.set(drivername=driver.schemes[url.drivername])
        url.get_dialect()
    except ValueError as error:
        raise SettingsError([f"the port of the server is no number; write {_url_forms()}"]) from error
    except (ArgumentError, KeyError, NoSuchModuleError) as error:
        raise SettingsError([f"cannot use {_shown(text)!r}; write {_url_forms()}"]) from error
    driver.check_url(url)
    if "@" in (url.host or ""):
        raise SettingsError(["the password has an '@' in it: write it as %40"])
    _check_options(driver, url)
    return url


def _url_forms() -> str:
    *others, last = (form for driver in drivers() for form in driver.url_forms)
    return f"{', '.join(others)} or {last}"


def _in_sqlalchemys_form(text: str) -> str:
    return driver_named(text.partition(":")[0].partition("+")[0]).in_sqlalchemys_form(text)


def _shown(text: str) -> str:
    scheme, _, rest = text.partition("://")
    return scheme if rest or "@" not in text else f"{text.partition(':')[0]}:…"


def _check_options(driver: Driver, url: URL) -> None:
    """Have the driver check the URL's options now: when connecting, a mistake would look like a failed query."""
    _check_files(url)
    dialect = url.get_dialect()()
    module: Any = _imported(driver, url)
    try:
        with warnings.catch_warnings(action="error", category=SAWarning):  # for an option that it would ignore
            _, options = dialect.create_connect_args(url)
        driver.check_options(module, options)
        driver.engine_options(url)
    except (ArgumentError, SAWarning, TypeError, ValueError, OSError, module.Error) as error:
        said = str(error).removeprefix("Connection.__init__() got an ")
        raise SettingsError([f"the driver does not take it: {said}"]) from error


_FILES = frozenset({"sslrootcert", "sslcert", "sslkey", "sslcrl", "ssl_ca", "ssl_cert", "ssl_key"})
"""The options of the drivers that name a file."""


def _check_files(url: URL) -> None:
    """Refuse a file that is missing: when connecting, that would look like a server that is away."""
    missing = [
        f"the file {value!r} of the option {name} is missing or unreadable; correct its path in the URL"
        for name, value in sorted(url.query.items())
        if name in _FILES and value != "system" and not (isinstance(value, str) and os.access(value, os.R_OK))
    ]
    if missing:
        raise SettingsError(missing)


def _imported(driver: Driver, url: URL) -> object:
    try:
        return url.get_dialect().import_dbapi()
    except ImportError as error:  # it is not installed, or a library below it is not
        which = f"the driver {error.name!r} is not installed" if error.name else f"the driver cannot be loaded: {error}"
        line = " ".join(which.split())
        raise SettingsError([f"{line}; pip install 'saga-es[{driver.name}]'"]) from error


SECRET_OPTIONS = frozenset({"password", "passwd", "sslpassword", "ssl_key_password", "oauth_client_secret"})
"""The options of the drivers that hold a secret."""


def secrets_of(text: str) -> list[str]:
    """The secrets in a usable URL, as they are written there: the password, and options that are one."""
    written = re.match(r"[\w+]+://[^:/?]*:([^@]*)@", text)
    options = [option.partition("=") for option in text.partition("?")[2].split("&")]
    found = [*(written.groups() if written else ()), *(value for name, _, value in options if name in SECRET_OPTIONS)]
    return [secret for secret in found if secret]


def without_secrets(url: URL) -> str:
    """A URL to be shown."""
    hidden = {name: "***" if name in SECRET_OPTIONS else value for name, value in url.query.items()}
    return url.set(query=hidden).render_as_string(hide_password=True)

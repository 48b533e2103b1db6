"""The URL of a database: read, given its driver, and refused before anybody connects if it can never work."""

from __future__ import annotations

import re
import warnings
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SAWarning

from saga_es.errors import SettingsError

_KINDS = "sqlite:///FILE, postgresql://…, mysql://… or mariadb://…"
_DRIVERS = {
    "sqlite": "sqlite+pysqlite",
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "mariadb": "mariadb+pymysql",
}


def parse_url(text: str) -> URL:
    """The URL with its driver.

    Raises:
        SettingsError: It cannot be used. A password that may be in it is not shown.
    """
    try:
        url = sa.make_url(_with_hosts_apart(text))
        driver = url.drivername if "+" in url.drivername else _DRIVERS[url.drivername]
        url = url.set(drivername=driver)
        url.get_dialect()
    except ValueError as error:
        raise SettingsError([f"the port of the server is no number; write {_KINDS}"]) from error
    except (ArgumentError, KeyError, NoSuchModuleError) as error:
        raise SettingsError([f"cannot use {_shown(text)!r}; write {_KINDS}"]) from error
    if url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:"):
        raise SettingsError(["an SQLite database in memory is lost in a crash; name a file"])
    if "@" in (url.host or ""):
        raise SettingsError(["the password has an '@' in it: write it as %40"])
    _check_options(url)
    return url


def _shown(text: str) -> str:
    scheme, _, rest = text.partition("://")
    return scheme if rest or "@" not in text else f"{text.partition(':')[0]}:…"


def _check_options(url: URL) -> None:
    """Have the driver look at what the URL sets; with each connection is too late: it looks like a fault of a query."""
    dialect = url.get_dialect()()
    driver: Any = url.get_dialect().import_dbapi()
    try:
        with warnings.catch_warnings(action="error", category=SAWarning):  # an option that it would ignore
            _, options = dialect.create_connect_args(url)
        if dialect.driver == "psycopg":
            driver.conninfo.make_conninfo(**options)
            driver.conninfo.timeout_from_conninfo(options)
        elif dialect.driver == "pymysql":
            driver.connect(**options, defer_connect=True)
    except (ArgumentError, SAWarning, TypeError, ValueError, driver.Error) as error:
        said = str(error).removeprefix("Connection.__init__() got an ")
        raise SettingsError([f"the driver does not take it: {said}"]) from error


def _with_hosts_apart(text: str) -> str:
    """`postgresql://a:1,b:2/db`, as PostgreSQL's own tools take it, in SQLAlchemy's form: `…///db?host=a:1&host=b:2`.

    Of several servers the one is meant that can be written to, unless the URL says otherwise.
    """
    found = _SEVERAL_HOSTS.match(text)
    if found is None:
        return text
    path, _, query = found["rest"].partition("?")
    given = [query] if query else []
    wanted = [] if "target_session_attrs" in query else ["target_session_attrs=read-write"]
    hosts = [f"host={host}" for host in found["hosts"].split(",")]
    return f"{found['scheme']}://{found['user'] or ''}{path or '/'}?{'&'.join([*given, *wanted, *hosts])}"


_SEVERAL_HOSTS = re.compile(
    r"(?P<scheme>postgres(?:ql)?(?:\+\w+)?)://(?P<user>[^/?]*@)?(?P<hosts>[^/?@]*,[^/?@]*)(?P<rest>(?:[/?].*)?)$"
)

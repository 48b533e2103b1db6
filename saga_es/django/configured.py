"""What the project's settings say: the application, the settings of saga_es, and the database."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.db import connections
from sqlalchemy.engine import URL

from saga_es.errors import SettingsError
from saga_es.node.app import App
from saga_es.node.node import load_app
from saga_es.store.drivers.driver import drivers

NAME = "SAGA_ES"

_OF_DJANGO = {"pool", "isolation_level", "server_side_binding", "assume_role", "transaction_mode", "init_command"}
"""Options that Django's backends read, and no server or driver."""


def alias() -> str:
    """The name of the database in DATABASES that holds the log."""
    return str(_given().get("using", "default"))


def configured() -> tuple[App, dict[str, Any]]:
    """The application, and the settings by name.

    Raises:
        SettingsError: The application cannot be imported, or the database cannot be used.
    """
    given = _given()
    app = given.pop("app", None)
    using = str(given.pop("using", "default"))
    if "database_url" not in given and "database_url_file" not in given:
        given["database_url"] = url_of(connections[using].settings_dict)
    return app if isinstance(app, App) else load_app(app), given


def url_of(database: Mapping[str, Any]) -> str:
    """The URL of a database as DATABASES has it.

    Raises:
        SettingsError: No URL means the same.
    """
    kind = str(database["ENGINE"]).rpartition(".")[2]
    cure = f"give {NAME} a `database_url`"
    driver = next((driver for driver in drivers() if kind in driver.django_backends), None)
    if driver is None:
        raise SettingsError([f"database_url: sagas are not kept in a database of {database['ENGINE']}; {cure}"])
    name = str(database["NAME"])
    scheme = next(iter(driver.schemes))
    if not driver.has_server:
        if name == ":memory:" or name.startswith("file:"):
            where = "for the database of tests, DATABASES has TEST: {'NAME': 'test.sqlite3'}"
            raise SettingsError([f"database_url: sagas need a file that threads share, not {name}; {where}"])
        return URL.create(scheme, database=name).render_as_string()
    options = {key: str(value) for key, value in (database.get("OPTIONS") or {}).items() if key not in _OF_DJANGO}
    return URL.create(
        scheme,
        username=database.get("USER") or None,
        password=database.get("PASSWORD") or None,
        host=database.get("HOST") or None,
        port=int(database["PORT"]) if database.get("PORT") else None,
        database=name,
        query=options,
    ).render_as_string(hide_password=False)


def _given() -> dict[str, Any]:
    return dict(getattr(settings, NAME, {}))

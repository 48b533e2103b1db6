"""The database: `saga-es db upgrade`, `db current`, `db grants`."""

from __future__ import annotations

import click

from saga_es.cli import output
from saga_es.cli.options import app_of, as_json_option, errors, settings_options
from saga_es.node.node import Node
from saga_es.node.settings import Settings
from saga_es.store.admin import migrate
from saga_es.store.admin.grants import DEFAULT_ROLE, grants


@click.group()
def db() -> None:
    """The database: migrations and grants."""


@db.command()
@settings_options()
def upgrade(settings: Settings) -> None:
    """Migrate the database to this version."""
    node = Node(settings, app_of(settings))
    try:
        made = migrate.upgrade(node.database, node.store.log, node.views)
    finally:
        node.database.close()
    views = f"; created the views {', '.join(made)}" if made else ""
    errors.print(f"The database is at migration {migrate.head()}{views}.", markup=False)


@db.command("grants", short_help="Print the SQL for a role that may only append to the log.")
@settings_options(
    click.option(
        "--role",
        default=DEFAULT_ROLE,
        show_default=True,
        metavar="NAME",
        help="The role that runs sagas; on MySQL NAME@HOST.",
    ),
    as_json_option,
)
def grants_(settings: Settings, role: str, as_json: bool) -> None:
    """Print the SQL for a role that runs sagas, and may only INSERT into `saga_events` and SELECT from it.

    The owner of the tables runs `saga-es db upgrade`, and then this SQL; `serve` and `worker` connect as the role. The
    role must exist.
    """
    node = Node(settings, app_of(settings))
    try:
        migrate.check(node.database)
        output.show_grants(grants(node.database, list(node.views), role), as_json=as_json)
    finally:
        node.database.close()


@db.command(short_help="Print the migration of the database.")
@settings_options(as_json_option)
def current(settings: Settings, as_json: bool) -> None:
    """Print the migration of the database; exit 8 when this version needs another."""
    node = Node(settings, app_of(settings))
    try:
        found = migrate.found(node.database)
        output.show_migration(found, migrate.head(), as_json=as_json)
        migrate.check(node.database)
    finally:
        node.database.close()

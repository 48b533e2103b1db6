"""The database: `saga-es db upgrade`, `db current`."""

from __future__ import annotations

import click

from saga_es import terminal
from saga_es.bootstrap import Node, load_app
from saga_es.cli.options import as_json_option, errors, settings_options
from saga_es.settings import Settings
from saga_es.store import migrate


@click.group()
def db() -> None:
    """The database: its tables, by Alembic."""


@db.command()
@settings_options()
def upgrade(settings: Settings) -> None:
    """Bring the database to this version."""
    node = Node(settings, load_app(settings.app))
    try:
        made = migrate.upgrade(node.database, node.log, node.views)
    finally:
        node.database.close()
    views = f"; made the views {', '.join(made)}" if made else ""
    errors.print(f"The database is at migration {migrate.head()}{views}.", markup=False)


@db.command(short_help="Print the migration the database is at.")
@settings_options(as_json_option)
def current(settings: Settings, as_json: bool) -> None:
    """Print the migration the database is at; exit 8 when it is not that of this version."""
    node = Node(settings, load_app(settings.app))
    try:
        found = migrate.found(node.database)
        terminal.show_migration(found, migrate.head(), as_json=as_json)
        migrate.check(node.database)
    finally:
        node.database.close()

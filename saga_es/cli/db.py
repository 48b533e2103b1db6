"""The database: `saga-es db upgrade`, `db current`, `db grants`, `db tables`, `db adopt`, `db drop-view`."""

from __future__ import annotations

from collections.abc import Sequence

import click

from saga_es.cli import output
from saga_es.cli.options import app_of, as_json_option, settings_options
from saga_es.cli.terminal import errors
from saga_es.node.node import Node
from saga_es.node.settings import Settings
from saga_es.store.admin import migrate
from saga_es.store.admin.grants import ACCESS, DEFAULT_ROLE, RUNNERS, grants
from saga_es.store.admin.ownership import adopt, drop_view
from saga_es.store.registry import made


@click.group()
def db() -> None:
    """The database: migrations, grants and tables."""


@db.command()
@settings_options()
def upgrade(settings: Settings) -> None:
    """Migrate the database to this version."""
    node = Node(settings, app_of(settings))
    try:
        made = migrate.upgrade(node.database, node.store.log, node.views, lease_s=settings.lease_s)
        at = migrate.found(node.database)
    finally:
        node.database.close()
    views = f"; created the views {', '.join(made)}" if made else ""
    errors.print(f"The database is at migration {at}{views}.", markup=False, soft_wrap=True)


@db.command("grants", short_help="Print the SQL for a role that may only read the log, or append to it.")
@settings_options(
    click.option(
        "--role",
        default=DEFAULT_ROLE,
        show_default=True,
        metavar="NAME",
        help="The role of the database; on MySQL NAME@HOST.",
    ),
    click.option(
        "--for",
        "access",
        type=click.Choice(ACCESS),
        default=RUNNERS[0],
        show_default=True,
        help="What a connection of the role may do.",
    ),
    as_json_option,
)
def grants_(settings: Settings, role: str, access: str, as_json: bool) -> None:
    """Print the SQL for a role that may only INSERT into `saga_events` and SELECT from it, or only SELECT.

    The owner of the tables runs `saga-es db upgrade`, and then this SQL; `serve` and `worker` connect as the role. The
    role must exist. With --for viewer or auditor it may read, and change nothing; with operator or resolver it may give
    commands, and run no sagas. A database cannot tell one command from another: for that, let people
    use --url and a key.
    """
    node = Node(settings, app_of(settings))
    try:
        migrate.check(node.database)
        output.show_grants(grants(node.database, list(node.views), role, access), as_json=as_json)
    finally:
        node.database.close()


@db.command(short_help="Print which tables saga_es made.")
@settings_options(as_json_option)
def tables(settings: Settings, as_json: bool) -> None:
    """Print the tables that saga_es made in the database, each with its kind and columns."""
    node = Node(settings, app_of(settings))
    try:
        migrate.check(node.database)
        with node.database.reading() as connection:
            output.show_tables(made(connection), as_json=as_json)
    finally:
        node.database.close()


@db.command("adopt", short_help="Say that the table of a view is saga_es's.")
@settings_options(click.argument("names", metavar="TABLE...", nargs=-1, required=True))
def adopt_(settings: Settings, names: Sequence[str]) -> None:
    """Record that these tables are those of the application's views of the same names.

    saga_es refuses to start when it finds a table under a name of its own that it cannot show it made. Only say so
    of a table that saga_es made: the next start may make it anew from the log, and what was in it is gone.
    """
    node = Node(settings, app_of(settings))
    try:
        adopt(node.database, list(node.views), names)
    finally:
        node.database.close()
    errors.print(f"Adopted {', '.join(names)}.", markup=False)


@db.command("drop-view", short_help="Drop the table of a view that the application no longer has.")
@settings_options(click.argument("name", metavar="TABLE"))
def drop_view_(settings: Settings, name: str) -> None:
    """Drop the table of a view that the application no longer has. Nothing else ever drops it."""
    node = Node(settings, app_of(settings))
    try:
        migrate.check(node.database)
        drop_view(node.database, list(node.views), name)
    finally:
        node.database.close()
    errors.print(f"Dropped {name}.", markup=False)


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

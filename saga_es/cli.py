"""The command line. Data goes to stdout, everything else to stderr; exit codes are part of the contract."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, NoReturn

import click
from rich.console import Console

from saga_es import terminal
from saga_es.bootstrap import Node, load_app
from saga_es.core.state import SagaStatus
from saga_es.errors import NotFound, NotMigrated, SagaError, SettingsError, StoreUnavailable
from saga_es.logs import configure_logs
from saga_es.settings import Settings
from saga_es.store import migrate
from saga_es.store.pages import BadCursorError, page
from saga_es.store.saga_view import sagas
from saga_es.store.story import story

OK, FAILURE, USAGE, NOT_FOUND, MISMATCH, NO_DATABASE = 0, 1, 2, 3, 7, 8

errors = Console(stderr=True, highlight=False)

_SETTINGS = [
    click.option("--database-url", metavar="URL", help="Where the log is.  [default: sqlite:///saga_es.db]"),
    click.option("--app", metavar="MODULE", help="The application.  [default: that of the nearest pyproject.toml]"),
    click.option("--log-level", metavar="LEVEL", help="debug, info, warning or error.  [default: info]"),
]
_SERVING = [
    click.option("--host", metavar="ADDRESS", help="The address to serve on.  [default: 127.0.0.1]"),
    click.option("--port", metavar="NUMBER", help="The port to serve on.  [default: 5000]"),
    click.option("--threads", metavar="NUMBER", help="Requests served at once.  [default: 8]"),
    click.option("--call-threads", metavar="NUMBER", help="Calls to participants at once.  [default: 32]"),
    click.option("--lease-s", metavar="SECONDS", help="A worker silent for so long is gone.  [default: 10]"),
    click.option("--payload-limit", metavar="BYTES", help="Of a request, an input, a result.  [default: 1048576]"),
    click.option("--execute-timeout-s", metavar="SECONDS", help="Then execute answers 202.  [default: 120]"),
    click.option("--grace-s", metavar="SECONDS", help="For calls under way at a stop.  [default: 5]"),
]
_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")


def settings_options(*more: Callable[[Any], Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the settings every command has, and these options; it is called with a `Settings` first."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def run(**given: Any) -> None:
            flags = {name: given.pop(name) for name in set(Settings.__struct_fields__) & set(given)}
            inherited: dict[str, str] = click.get_current_context().obj or {}
            with reported():
                settings = Settings.load({**inherited, **{k: v for k, v in flags.items() if v is not None}})
                configure_logs(settings.log_level)
                command(settings, **given)

        decorated: Callable[..., None] = run
        for option in reversed([*more, *_SETTINGS]):
            decorated = option(decorated)
        return decorated

    return decorate


@contextmanager
def reported() -> Iterator[None]:
    """Turn every known error into one line on stderr and its exit code."""
    try:
        yield
    except (StoreUnavailable, NotMigrated) as error:
        fail(str(error), NO_DATABASE)
    except NotFound as error:
        fail(f"{error}; `saga-es list` shows the sagas there are", NOT_FOUND)
    except (SettingsError, BadCursorError) as error:
        fail(str(error), USAGE)
    except SagaError as error:
        fail(str(error), FAILURE)


def fail(message: str, code: int) -> NoReturn:
    """Say why, and exit."""
    errors.print(f"saga-es: {message}", markup=False, soft_wrap=True)
    sys.exit(code)


@contextmanager
def reading(settings: Settings) -> Iterator[Node]:
    """A node that only reads; the database must be migrated."""
    node = Node(settings, load_app(settings.app))
    try:
        migrate.check(node.database)
        yield node
    finally:
        node.database.close()


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="saga-es")
@click.option("--database-url", metavar="URL", help="Where the log is; may also stand behind the command.")
@click.option("--app", metavar="MODULE", help="The application; may also stand behind the command.")
@click.pass_context
def main(context: click.Context, /, **flags: str | None) -> None:
    """Sagas over several services, every step an immutable event in your own database.

    Every setting is a flag, else an environment variable SAGA_ES_..., else its default. Where participants live
    is set by SAGA_ES_PARTICIPANT_<NAME>=http://host:port; without one, they are called within this process.

    Exit codes: 0 ok, 1 failure, 2 usage, 3 not found, 7 mismatch, 8 database unreachable or not migrated.
    """
    context.obj = {name: value for name, value in flags.items() if value is not None}


@main.command()
@settings_options(*_SERVING, click.option("--only", metavar="NAMES", help="Serve just these parts: event,venue ..."))
def serve(settings: Settings, only: str | None) -> None:
    """Migrate, recover interrupted sagas, and serve the application."""
    from saga_es.serving import serve as serve_node  # noqa: PLC0415 (only this command needs Flask: the others start faster)

    app = load_app(settings.app)
    parts = None if only is None else {part.strip() for part in only.split(",") if part.strip()}
    if parts is not None and (not parts or not parts <= set(app.parts)):
        unknown = ", ".join(sorted(parts - set(app.parts))) or "nothing"
        fail(f"--only: {unknown} cannot be served; there are {', '.join(app.parts)}", USAGE)
    runs_sagas = parts is None or "saga" in parts
    node = Node(settings, app, recovers=runs_sagas)
    serve_node(node, parts, lambda url: errors.print(f"Serving {app.name} on {url} (Ctrl-C stops)"))


@main.command("list")
@settings_options(
    click.option("--status", type=click.Choice(list(SagaStatus), case_sensitive=False), help="Only these."),
    click.option("--name", help="Only sagas of this definition."),
    click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True, help="Rows at most."),
    click.option("--cursor", help="Go on after the page that printed this cursor."),
    _as_json,
)
def list_(
    settings: Settings, status: str | None, name: str | None, limit: int, cursor: str | None, as_json: bool
) -> None:
    """List sagas, newest first."""
    with reading(settings) as node, node.database.reading() as connection:
        found = page(connection, sagas, limit, cursor, {"status": status, "name": name})
    terminal.show_list(found, as_json=as_json)


@main.command()
@settings_options(
    click.argument("saga_id", metavar="ID"),
    click.option("--at", type=click.IntRange(min=1), metavar="VERSION", help="As it was after this many events."),
    _as_json,
)
def show(settings: Settings, saga_id: str, at: int | None, as_json: bool) -> None:
    """Tell the story of one saga."""
    with reading(settings) as node:
        whole = node.log.read(saga_id)
        history = whole[:at]
        state = node.sagas.folded(history)
        if state is None:
            raise NotFound(saga_id)
        if at is not None and at > len(whole):
            fail(f"--at {at}: the saga has {len(whole)} events", USAGE)
        terminal.show_story(story(state, history), history, as_json=as_json)


@main.command()
@settings_options(
    click.argument("saga_id", metavar="[ID]", required=False),
    click.option("--follow", is_flag=True, help="Go on with new events as they come; Ctrl-C stops."),
    _as_json,
)
def events(settings: Settings, saga_id: str | None, follow: bool, as_json: bool) -> None:
    """Print the log: of one saga or record, or all of it."""
    with reading(settings) as node:
        if saga_id is not None and not follow and not node.log.entries(saga_id, limit=1):
            fail(f"the log holds nothing under the id {saga_id!r}", NOT_FOUND)
        try:
            for entry in node.log.follow(saga_id) if follow else node.log.walk(saga_id):
                terminal.show_entry(entry, as_json=as_json)
        except KeyboardInterrupt:
            return


@main.group()
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
@settings_options(_as_json)
def current(settings: Settings, as_json: bool) -> None:
    """Print the migration the database is at; exit 8 when it is not that of this version."""
    node = Node(settings, load_app(settings.app))
    try:
        found = migrate.found(node.database)
        terminal.show_migration(found, migrate.head(), as_json=as_json)
        migrate.check(node.database)
    finally:
        node.database.close()

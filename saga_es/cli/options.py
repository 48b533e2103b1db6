"""What every command has in common: settings, exit codes, and how errors are told."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any, NamedTuple, NoReturn

import click
from rich.console import Console

from saga_es.core.describe import plain
from saga_es.errors import (
    BadBundle,
    Denied,
    NoSuchPosition,
    NoSuchVersion,
    NotFound,
    NotMigrated,
    SagaArchived,
    SagaError,
    SettingsError,
    StoreUnavailable,
)
from saga_es.node.app import App
from saga_es.node.logs import configure_logs
from saga_es.node.node import Node, load_app
from saga_es.node.settings import Settings
from saga_es.store.admin import migrate
from saga_es.store.queries.pages import BadCursor
from saga_es.store.views.kinds import Projection

OK, FAILURE, USAGE, NOT_FOUND, MISMATCH, NO_DATABASE = 0, 1, 2, 3, 7, 8

errors = Console(stderr=True, highlight=False)

_SETTINGS = [
    click.option("--database-url", metavar="URL", help="Where the log is.  [default: sqlite:///saga_es.db]"),
    click.option("--app", metavar="MODULE", help="The application.  [default: that of the nearest pyproject.toml]"),
    click.option("--log-level", metavar="LEVEL", help="debug, info, warning or error.  [default: info]"),
]
RUNNING = [
    click.option("--sagas-at-once", metavar="NUMBER", help="With so many, new ones wait PENDING.  [default: 1000]"),
    click.option("--call-threads", metavar="NUMBER", help="Calls to participants at once.  [default: 32]"),
    click.option("--lease-s", metavar="SECONDS", help="A worker silent for so long is gone.  [default: 10]"),
    click.option("--most-crashes", metavar="NUMBER", help="Then a saga that kills its process fails.  [default: 5]"),
    click.option("--payload-limit", metavar="BYTES", help="Of a request, an input, a result.  [default: 1048576]"),
    click.option("--grace-s", metavar="SECONDS", help="For calls under way at a stop.  [default: 5]"),
]
WAITING = click.option("--database-wait-s", metavar="SECONDS", help="For a server that is away.  [default: 60]")
SERVING = [
    WAITING,
    click.option("--host", metavar="ADDRESS", help="The address to serve on.  [default: 127.0.0.1]"),
    click.option("--port", metavar="NUMBER", help="The port to serve on.  [default: 5000]"),
    click.option("--threads", metavar="NUMBER", help="Requests served at once.  [default: 8]"),
    *RUNNING,
    click.option("--execute-timeout-s", metavar="SECONDS", help="Then execute answers 202.  [default: 120]"),
]
as_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")


class Inherited(NamedTuple):
    """What a group of commands hands to each of its commands.

    Attributes:
        flags: Settings, by name; an option behind the command wins.
        app: The application; None: the one that the setting `app` names.
    """

    flags: Mapping[str, Any] = {}
    app: App | None = None


def inherited() -> Inherited:
    """What the group hands to the command that runs."""
    return click.get_current_context().find_object(Inherited) or Inherited()


def app_of(settings: Settings) -> App:
    """The application of a command."""
    return inherited().app or load_app(settings.app)


def settings_options(*more: Callable[[Any], Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the settings every command has, and these options; it is called with a `Settings` first."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def run(**given: Any) -> None:
            flags = {name: given.pop(name) for name in set(Settings.__struct_fields__) & set(given)}
            with reported():
                settings = Settings.load({**inherited().flags, **{k: v for k, v in flags.items() if v is not None}})
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
    except NotMigrated as error:
        fail(str(error), NO_DATABASE)
    except StoreUnavailable as error:
        cure = "; do it as the owner of the tables" if isinstance(error, Denied) else ""
        fail(f"{error}{cure}", NO_DATABASE)
    except (NotFound, NoSuchVersion, NoSuchPosition, SagaArchived) as error:
        more = "; `saga-es list` shows the sagas there are" if isinstance(error, NotFound) else ""
        fail(f"{error}{more}", NOT_FOUND)
    except (SettingsError, BadCursor) as error:
        fail(str(error), USAGE)
    except BadBundle as error:
        fail(str(error), MISMATCH)
    except SagaError as error:
        fail(str(error), FAILURE)
    except OSError as error:
        _fail_over_a_file(error)


def _fail_over_a_file(error: OSError) -> NoReturn:
    """No such folder, not permitted, the disk is full."""
    if isinstance(error, BrokenPipeError):  # who read our output has gone; click ends quietly then
        raise error
    fail(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}", FAILURE)


def fail(message: str, code: int) -> NoReturn:
    """Say why, and exit."""
    lines = [plain(line) for line in message.split("\n")]
    errors.print("saga-es: " + "\n".join(lines), markup=False, soft_wrap=True)
    sys.exit(code)


@contextmanager
def reading(settings: Settings) -> Iterator[Node]:
    """A node that only reads; the database must be migrated."""
    node = Node(settings, app_of(settings))
    try:
        migrate.check(node.database)
        yield node
    finally:
        node.database.close()


def chosen(node: Node, names: Sequence[str]) -> list[Projection]:
    """The views of these names, or all; exits when one is not there."""
    for name in names:
        if name not in node.views:
            there = ", ".join(view.name for view in node.views)
            fail(f"there is no view {name!r}; there are {there}", NOT_FOUND)
    return [view for view in node.views if not names or view.name in names]

"""Common to all commands: settings, exit codes, and error messages."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from types import TracebackType
from typing import Any, NoReturn

import click
from msgspec.structs import replace

from saga_es.access.authenticate import Unguarded
from saga_es.access.subjects import NoSuchSubject
from saga_es.cli.inherited import Inherited
from saga_es.cli.process_list import warn_of_secrets
from saga_es.cli.terminal import errors
from saga_es.core.describe import plain
from saga_es.errors import (
    BadBundle,
    Denied,
    NoSuchPosition,
    NoSuchVersion,
    NotFound,
    NotMigrated,
    NotOurs,
    SagaArchived,
    SagaError,
    SettingsError,
    StoreUnavailable,
    UnknownTable,
)
from saga_es.logs.secrets import masked
from saga_es.node.app import App
from saga_es.node.credentials import BadCredentials
from saga_es.node.logs import configure_logs
from saga_es.node.node import Node, load_app
from saga_es.node.settings import Settings
from saga_es.node.url_file import one_of_both
from saga_es.store.admin import migrate
from saga_es.store.encryption.errors import WrongKey
from saga_es.store.queries.pages import BadCursor
from saga_es.store.views.kinds import Projection

OK, FAILURE, USAGE, NOT_FOUND, MISMATCH, NO_DATABASE, CANNOT_SERVE = 0, 1, 2, 3, 7, 8, 78

_SETTINGS = [
    click.option("--database-url", metavar="URL", help="The database of the log.  [default: sqlite:///saga_es.db]"),
    click.option("--database-url-file", metavar="FILE", help="The file that holds that URL.  [default: none]"),
    click.option(
        "--table-prefix", metavar="TEXT", help="What the names of saga_es's tables begin with.  [default: none]"
    ),
    click.option("--app", metavar="MODULE", help="The application.  [default: from the nearest pyproject.toml]"),
    click.option("--log-level", metavar="LEVEL", help="debug, info, warning or error.  [default: info]"),
    click.option(
        "--log-format",
        metavar="FORMAT",
        help="console, logfmt or json.  [default: console on a terminal, else logfmt]",
    ),
]
PUBLISHING = [
    click.option(
        "--publish", metavar="URLS", help="Brokers to publish the log to, separated by blanks: amqp://HOST/VHOST, ..."
    ),
    click.option("--webhook", metavar="URLS", help="URLs that are told how sagas end, separated by blanks."),
    click.option(
        "--webhook-secret", metavar="SECRET", help="Signs what they are told; better in SAGA_ES_WEBHOOK_SECRET."
    ),
]
RUNNING = [
    click.option("--sagas-at-once", metavar="NUMBER", help="At this number new sagas wait PENDING.  [default: 1000]"),
    click.option("--call-threads", metavar="NUMBER", help="The most `def` steps at once.  [default: 32]"),
    click.option("--calls-at-once", metavar="NUMBER", help="HTTP calls to one participant at once.  [default: 256]"),
    click.option("--lease-s", metavar="SECONDS", help="A worker counts as gone after this silence.  [default: 10]"),
    click.option("--most-crashes", metavar="NUMBER", help="A saga that crashes this many workers fails.  [default: 5]"),
    click.option(
        "--missing-code-timeout-s",
        metavar="SECONDS",
        help="A saga whose code no worker has had for so long is FAILED.  [default: it waits]",
    ),
    click.option(
        "--leave-older-plans",
        is_flag=True,
        default=None,
        help="Leave new sagas of older plans to other workers.",
    ),
    click.option(
        "--payload-limit",
        metavar="BYTES",
        help="The most bytes of a request, an input or a result.  [default: 1048576]",
    ),
    click.option(
        "--saga-events-limit",
        metavar="NUMBER",
        help="At so many events a saga takes no more signals.  [default: 50000]",
    ),
    click.option(
        "--saga-bytes-limit",
        metavar="BYTES",
        help="At so many bytes of events, too.  [default: 67108864]",
    ),
    click.option(
        "--payload-memory-mb",
        metavar="MEGABYTES",
        help="Beyond it, inputs and results of sagas that wait are let go.  [default: 256]",
    ),
    *PUBLISHING,
    click.option("--grace-s", metavar="SECONDS", help="The time to finish calls in flight at a stop.  [default: 5]"),
]
WAITING = click.option(
    "--database-wait-s", metavar="SECONDS", help="The wait for a server that is away.  [default: 60]"
)
_GUARDED = [
    click.option(
        "--auth", metavar="NAME", help="The credentials that requests need: none, keys, jwt.  [default: the app's]"
    ),
    click.option(
        "--insecure-no-auth", is_flag=True, default=None, help="Serve without credentials where others can reach it."
    ),
]
PROBES = [
    *_GUARDED,
    click.option("--health-port", metavar="NUMBER", help="Serve /livez, /readyz and /metrics on this port."),
    click.option("--health-host", metavar="ADDRESS", help="The address for them.  [default: 127.0.0.1]"),
]
SERVING = [
    WAITING,
    click.option("--host", metavar="ADDRESS", help="The address to serve on.  [default: 127.0.0.1]"),
    *_GUARDED,
    click.option("--allowed-hosts", metavar="NAMES", help="Names of this server beside loopback and --host."),
    click.option("--port", metavar="NUMBER", help="The port to serve on.  [default: 5000]"),
    click.option("--threads", metavar="NUMBER", help="The most requests served at once.  [default: 8]"),
    click.option(
        "--waiting-requests", metavar="NUMBER", help="The most requests that wait for a saga, beside.  [default: 100]"
    ),
    click.option("--request-timeout-s", metavar="SECONDS", help="The time for a request to arrive.  [default: 30]"),
    click.option("--trusted-proxies", metavar="NUMBER", help="Proxies whose X-Forwarded-Prefix counts.  [default: 0]"),
    *RUNNING,
    click.option("--execute-timeout-s", metavar="SECONDS", help="After this time execute answers 202.  [default: 120]"),
    click.option(
        "--listen", metavar="URLS", help="Queues to take commands for the services from: amqp://HOST/VHOST?queue=NAME"
    ),
]
SAMPLE = click.option(
    "--sample",
    type=click.IntRange(min=0),
    default=100,
    show_default=True,
    metavar="NUMBER",
    help="The most sagas of each definition, the newest ones.",
)
as_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")


def inherited() -> Inherited:
    """The settings and application that the group hands to the running command."""
    return click.get_current_context().find_object(Inherited) or Inherited()


def app_of(settings: Settings) -> App:
    """The application of a command, from its group or from the setting `app`."""
    return inherited().app or load_app(settings.app)


def settings_options(*more: Callable[[Any], Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add the settings of every command, and these options; the command receives a `Settings` as its first argument."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def run(**given: Any) -> None:
            flags = {name: given.pop(name) for name in set(Settings.__struct_fields__) & set(given)}
            sys.excepthook = show_bug
            with reported():
                settings = Settings.load(one_of_both(flags, inherited().flags))
                configure_logs(settings.log_level, settings.log_format)
                warn_of_secrets(settings, sys.argv)
                command(settings, **given)

        decorated: Callable[..., None] = run
        for option in reversed([*more, *_SETTINGS]):
            decorated = option(decorated)
        return decorated

    return decorate


_CODES: tuple[tuple[tuple[type[Exception], ...], int], ...] = (
    ((NotOurs, Unguarded, WrongKey, BadCredentials), CANNOT_SERVE),
    ((NotMigrated, StoreUnavailable), NO_DATABASE),
    ((NotFound, NoSuchVersion, NoSuchPosition, NoSuchSubject, SagaArchived, UnknownTable), NOT_FOUND),
    ((SettingsError, BadCursor), USAGE),
    ((BadBundle,), MISMATCH),
)


def _cure(error: Exception) -> str:
    match error:
        case Denied():
            return "; run the command as the owner of the tables"
        case NotFound():
            return "; `saga-es list` shows all sagas"
        case _:
            return ""


@contextmanager
def reported() -> Iterator[None]:
    """Report every known error as one line on stderr, and exit with its code."""
    try:
        yield
    except (SagaError, BadCursor) as error:
        code = next((code for kinds, code in _CODES if isinstance(error, kinds)), FAILURE)
        fail(f"{error}{_cure(error)}", code)
    except OSError as error:
        _fail_over_a_file(error)


def _fail_over_a_file(error: OSError) -> NoReturn:
    """Report an error of the file system: no such folder, no permission, a full disk."""
    if isinstance(error, BrokenPipeError):  # the reader of our output has gone; click ends quietly then
        raise error
    fail(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}", FAILURE)


def show_bug(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print the traceback of an error that nobody expected, without secrets, and with what is hidden in it escaped."""
    lines = masked("".join(traceback.format_exception(kind, error, trace))).split("\n")
    sys.stderr.write("\n".join(map(plain, lines)))


def fail(message: str, code: int) -> NoReturn:
    """Print a message to stderr, and exit with a code."""
    lines = [plain(line) for line in masked(message).split("\n")]
    errors.print("saga-es: " + "\n".join(lines), markup=False, soft_wrap=True)
    sys.exit(code)


@contextmanager
def reading(settings: Settings) -> Iterator[Node]:
    """Open a node without an engine; the database must be migrated."""
    node = Node(replace(settings, metrics=False), app_of(settings))  # a command counts nothing
    try:
        migrate.check(node.database)
        yield node
    finally:
        node.database.close()


def chosen(node: Node, names: Sequence[str]) -> list[Projection]:
    """The views of these names; all when there are none. An unknown name exits with code 3."""
    for name in names:
        if name not in node.views:
            there = ", ".join(view.name for view in node.views)
            fail(f"there is no view {name!r}; there are {there}", NOT_FOUND)
    return [view for view in node.views if not names or view.name in names]

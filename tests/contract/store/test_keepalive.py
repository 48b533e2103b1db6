"""A host that vanishes without a goodbye: neither end of a connection waits for the other for long."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from saga_es.errors import StoreUnavailable
from saga_es.store.database import Database
from saga_es.store.drivers import keepalive
from saga_es.store.drivers.keepalive import GIVEN_UP_S, QUIET_S
from tests.support.databases import fresh_database
from tests.support.left_out import left_out
from tests.support.pipe import listening
from tests.support.processes import ROOT

SERVERS = ["postgresql", "mariadb"]
OWN_NETWORK = ("unshare", "--map-root-user", "--net")
BUSY_S = 20.0
"""What a machine that is busy with other tests may add."""


@contextmanager
def end_of(database: Database) -> Iterator[socket.socket]:
    """Our end of a connection."""
    with database.reading() as connection:
        driver: Any = connection.connection.driver_connection
        file = driver if database.driver.name == "postgresql" else driver._sock
        with socket.socket(fileno=os.dup(file.fileno())) as end:
            yield end


@pytest.mark.parametrize("database_url", SERVERS, indirect=True)
def test_every_connection_asks_whether_the_server_is_there(database: Database) -> None:
    """The kernel is told so, for the pool's connections as for the writer's, which come from there."""
    with end_of(database) as end:
        assert end.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert end.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == QUIET_S
        assert end.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == GIVEN_UP_S * 1000


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_what_the_url_says_of_patience_is_left_as_it_is(database_url: str) -> None:
    """Whoever knows his network better says so there."""
    database = Database(f"{database_url}?tcp_user_timeout=1234&keepalives_idle=7&connect_timeout=9")
    try:
        with end_of(database) as end:
            assert end.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 1234
            assert end.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 7
    finally:
        database.close()


@pytest.mark.parametrize(
    ("database_url", "name", "value"),
    [("postgresql", "tcp_keepalives_idle", "5"), ("mariadb", "@@idle_write_transaction_timeout", 30)],
    indirect=["database_url"],
)
def test_the_server_gives_up_a_client_that_vanished(database: Database, name: str, value: object) -> None:
    """And the locks that it held with it, which others would wait for otherwise, for hours."""
    with database.reading() as connection:
        assert connection.scalar(sa.text(f"SELECT {name}" if name[0] == "@" else f"SHOW {name}")) == value


@pytest.fixture
def own_network() -> None:
    """This machine lets us have a network of our own, and take its link down."""
    attempt = " ".join([*OWN_NETWORK, "ip link set lo up"])
    tried = subprocess.run(["sh", "-c", attempt], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        left_out("A network of one's own", f"`{attempt}` says {tried.stderr.strip()!r}")


@pytest.mark.usefixtures("own_network")
@pytest.mark.parametrize("kind", SERVERS)
def test_a_server_that_vanishes_is_given_up_and_found_again(kind: str, tmp_path: Path) -> None:
    """In a network of its own, in which from one moment to the next no packet arrives any more."""
    assert QUIET_S < vanished_s(kind, tmp_path) < GIVEN_UP_S + BUSY_S


def vanished_s(kind: str, folder: Path) -> float:
    """How long a server was away until that was noticed; then it was there again."""
    with fresh_database(kind, folder) as url, listening(folder / kind, sa.make_url(url)):
        done = subprocess.run(
            [*OWN_NETWORK, sys.executable, "-m", "tests.support.vanishing", url, folder / kind],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
    assert done.returncode == 0, done.stderr
    return float(done.stdout.split()[-1])


@pytest.mark.parametrize("database_url", SERVERS, indirect=True)
def test_a_server_that_accepts_a_connection_and_says_nothing_is_given_up(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long its kernel keeps the connection open; once it has answered, a statement may take longer."""
    monkeypatch.setattr(keepalive, "CONNECT_S", 2)  # PostgreSQL's least
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = sa.make_url(database_url).set(host="127.0.0.1", port=mute.getsockname()[1])
        database = Database(url.render_as_string(hide_password=False))
        with pytest.raises(StoreUnavailable), database.reading():
            pass


@pytest.mark.parametrize("database_url", ["mariadb"], indirect=True)
def test_a_statement_may_take_longer_than_connecting(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless the URL says otherwise."""
    monkeypatch.setattr(keepalive, "CONNECT_S", 1)
    with closing(Database(database_url)) as database, database.reading() as connection:
        assert connection.scalar(sa.text("SELECT SLEEP(1.2)")) == 0
    with (
        closing(Database(f"{database_url}?read_timeout=1")) as database,
        pytest.raises(StoreUnavailable),
        database.reading() as connection,
    ):
        connection.scalar(sa.text("SELECT SLEEP(1.2)"))

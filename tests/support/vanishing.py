"""A process in a network of its own, in which the database vanishes and comes back; prints how long nobody noticed."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time

import sqlalchemy as sa

from saga_es import open_engine
from saga_es.definition.saga import Saga
from saga_es.errors import StoreUnavailable
from saga_es.store.database import Database
from tests.support.pipe import forward

saga = Saga("short")


@saga.step(compensation=None)
def only() -> None:
    """Nothing has to be done."""


def main(url: str, file: str) -> None:
    """One saga before, one while it is away; what is timed is a connection that waits for an answer meanwhile."""
    _link("up")
    with socket.create_server(("127.0.0.1", 0)) as near:
        forward(near, lambda: _connected(file))
        here = sa.make_url(url).set(host="127.0.0.1", port=near.getsockname()[1])
        behind = here.render_as_string(hide_password=False)
        with open_engine(behind, saga, lease_s=400) as engine:
            assert engine.start(saga).result(30).completed
            threading.Timer(1.0, _link, ["down"]).start()
            vanished = time.monotonic() + 1.0
            _wait_for_an_answer(Database(behind))
            noticed = time.monotonic()
            begun = engine.start(saga, wait=False)
            _link("up")
            assert begun.result(60).completed
    sys.stdout.write(f"{noticed - vanished}\n")


def _wait_for_an_answer(database: Database) -> None:
    """The server thinks for minutes, and its answer does not arrive."""
    thinks = "pg_sleep(300)" if database.driver.name == "postgresql" else "sleep(300)"
    try:
        with database.reading() as connection:
            connection.exec_driver_sql(f"SELECT {thinks}")
    except StoreUnavailable:
        return
    raise AssertionError("an answer came through a network in which nothing arrives")


def _connected(file: str) -> socket.socket:
    there = socket.socket(socket.AF_UNIX)
    there.connect(file)
    return there


def _link(state: str) -> None:
    subprocess.run(["ip", "link", "set", "lo", state], check=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

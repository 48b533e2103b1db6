"""Nodes that encrypt: a key file, a saga with secrets in all that it records, and what a database holds as text."""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from saga_es import App, RetryPolicy, Saga, StepRejected
from saga_es.node.node import Node
from saga_es.node.settings import Settings
from saga_es.store.database import Database

CANARY = "c4n4ry"
"""What every planted secret begins with."""

ONCE = RetryPolicy(attempts=1)


def key_line() -> str:
    """A new wrapping key, as a key file holds it."""
    return b64encode(os.urandom(32)).decode()


def key_file(folder: Path, *lines: str) -> Path:
    """A key file that only its owner may read."""
    path = folder / f"keys-{len(list(folder.iterdir()))}"
    path.touch(0o600)
    path.write_text("\n".join(lines or [key_line()]) + "\n")
    return path


def purchase(*, fails: bool = False) -> Saga:
    """A saga whose input, result, signal, errors and reasons are secrets."""
    saga = Saga("purchase", subject="customer")

    @saga.step(retry=ONCE)
    def reserve(input: dict[str, Any]) -> dict[str, Any]:  # noqa: A002 (the step's own name for it)
        return {"seat": f"{CANARY}-result-{input['card']}"}

    @saga.compensates(reserve)
    def release(input: dict[str, Any], error: str) -> None:  # noqa: A002
        assert CANARY in input["card"]
        assert CANARY in error

    saga.wait_for("approval", timeout_s=None)

    @saga.step(retry=ONCE, compensation=None)
    def pay(reserve: dict[str, Any], approval: dict[str, Any]) -> dict[str, Any]:
        assert CANARY in reserve["seat"]
        if fails:
            raise StepRejected(f"{CANARY}-error: no money")
        return {"receipt": f"{CANARY}-receipt", "by": approval["who"]}

    return saga


def input_of(customer: str = "ada") -> dict[str, Any]:
    """An input that names its subject."""
    return {"customer": customer, "card": f"{CANARY}-input-{customer}"}


@contextmanager
def opened(url: str, keys: Path | None, *sagas: Saga) -> Iterator[Node]:
    """An open node."""
    given = {} if keys is None else {"encryption_key_file": str(keys)}
    node = Node(Settings.load({"database_url": url, "grace_s": 1.0, **given}, {}), App(sagas=sagas))
    try:
        node.open()
        yield node
    finally:
        node.close()


def everything(url: str) -> str:
    """All rows of all tables of a database, as text."""
    database = Database(url)
    try:
        with database.reading() as connection:
            meta = sa.MetaData()
            meta.reflect(connection)
            return "\n".join(
                str(row) for table in meta.sorted_tables for row in connection.execute(sa.select(table)).all()
            )
    finally:
        database.close()

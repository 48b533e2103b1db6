"""A connection to the database that is cut at any message: before it arrives, or before its answer does."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa

from saga_es.errors import StoreUnavailable
from saga_es.node.node import Node
from saga_es.node.settings import Settings
from saga_es.store.database import Database
from saga_es.store.log.codec import Codec
from saga_es.store.log.log import Log
from saga_es.store.views.saga_view import saga_view
from saga_es.store.views.tags import tag_view
from tests.support.relay import Cutter
from tests.torture.forks import TIMEOUT_S
from tests.torture.ledger import REFUSED, DurableLedger, made
from tests.torture.lives import ORDER, is_intended, journey_app
from tests.torture.reckoning import Found, reckon

T = TypeVar("T")

COMPLETES: dict[str, Any] = {"mishaps": dict.fromkeys(ORDER), "undoing": dict.fromkeys(ORDER)}
ABORTS = {**COMPLETES, "mishaps": {**dict.fromkeys(ORDER), "bill": REFUSED}}
PORTS = {"postgresql": 5432, "mysql": 3306}


def cut_everywhere(
    url: str, folder: Path, *, loses_answer: bool, stride: int = 1, was_cut: Callable[[], object] = lambda: None
) -> Found:
    """Cut at the first message, the second, and so on, each in a saga of its own, until it ends before its turn comes.

    Args:
        url: The database, on PostgreSQL, MySQL or MariaDB, empty.
        folder: For the participants' file.
        loses_answer: Cut where the answer is on its way back, not where the message is on its way there.
        stride: Cut at each so many-th message only.
        was_cut: Told of each cut.
    """
    database = Database(url)
    log, ledger = Log(database, Codec()), made(folder / "ledger.sqlite")
    taking_part = DurableLedger(ledger, lambda *intent: is_intended(log, *intent), pace_s=0)
    parsed = sa.make_url(url)
    with Cutter(parsed.host or "", parsed.port or PORTS[parsed.get_backend_name()]) as cutter:
        behind = parsed.set(host="127.0.0.1", port=cutter.port).render_as_string(hide_password=False)
        node = Node(Settings.load({"database_url": behind, "lease_s": 400}, environ={}), journey_app(taking_part))
        node.open()
        try:
            started = _one_saga_for_each(node, cutter, was_cut, loses_answer=loses_answer, stride=stride)
        finally:
            node.close()
    try:
        return reckon(log, (saga_view, tag_view), ledger, dict.fromkeys(started, False))
    finally:
        database.close()


def _one_saga_for_each(
    node: Node, cutter: Cutter, was_cut: Callable[[], object], *, loses_answer: bool, stride: int
) -> list[str]:
    started: list[str] = []
    for number in count():
        saga_id, aborts = f"cut-{number}", number % 2 == 1
        cutter.cut_at(1 + number * stride, loses_answer=loses_answer)
        _insisting(
            lambda id_=saga_id, given=ABORTS if aborts else COMPLETES: node.engine.start(  # type: ignore[misc]  # bound here
                "journey", given, saga_id=id_
            )
        ).result(TIMEOUT_S)
        started.append(saga_id)
        if cutter.has_cut:
            was_cut()
        elif aborts:  # the longer way has no more messages
            return started
    raise AssertionError("count() does not end")


def _insisting(ask: Callable[[], T]) -> T:
    """Ask until there is an answer, as one does who was told that the database is away."""
    while True:
        try:
            return ask()
        except StoreUnavailable:
            continue

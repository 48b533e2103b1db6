"""Failover: the primary of PostgreSQL is killed under load, its standby is promoted, and everybody goes on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random

from saga_es.commands import Cancel
from saga_es.errors import CommandRefused, StoreUnavailable
from saga_es.node.node import Node
from saga_es.node.settings import Settings
from saga_es.store.views.saga_view import saga_view
from saga_es.store.views.tags import tag_view
from tests.torture.ledger import DurableLedger, made
from tests.torture.lives import SETTINGS, is_intended, journey_app, some_input, unfinished
from tests.torture.reckoning import Found, reckon
from tests.torture.servers import TIMEOUT_S, Pair

WORKERS = 2
AT_ONCE = 6


class Traveller:
    """Starts sagas, and cancels some; what was acknowledged is written down."""

    def __init__(self, node: Node, name: str, seed: int) -> None:
        self.acknowledged: dict[str, bool] = {}
        self._node = node
        self._name = name
        self._dice = Random(seed)
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._travel)
        self._thread.start()

    def stop(self) -> None:
        """Start no more."""
        self._enough.set()
        self._thread.join(TIMEOUT_S)

    def _travel(self) -> None:
        number = 0
        while not self._enough.is_set():
            number += 1
            self._start(f"{self._name}-{number}")
            while self._node.engine.active >= AT_ONCE and not self._enough.wait(0.01):
                pass

    def _start(self, saga_id: str) -> None:
        input_ = some_input(self._dice)
        while not self._enough.is_set():  # not to know is no answer: it is asked again, under the same id
            with suppress(StoreUnavailable):
                self._node.engine.start("journey", input_, saga_id=saga_id)
                self.acknowledged[saga_id] = False
                break
        if saga_id in self.acknowledged and self._dice.random() < 0.15:
            with suppress(StoreUnavailable, CommandRefused):
                self._node.engine.submit(saga_id, Cancel("a traveller", "changed plans"))
                self.acknowledged[saga_id] = True


def failed_over(folder: Path, seed: int, killed: Callable[[], object] = lambda: None) -> Found:
    """One round: a pair of servers, load, a kill at some moment, a promotion, more load, and the reckoning."""
    dice, file = Random(seed), made(folder / f"ledger-{seed}.sqlite")
    pair = Pair()
    nodes: list[Node] = []
    try:
        url = pair.open().url
        nodes += [_worker(url, file) for _ in range(WORKERS)]
        travellers = [Traveller(node, f"life{n}", seed * 100 + n) for n, node in enumerate(nodes)]
        time.sleep(dice.uniform(0.5, 2.5))
        pair.fail_over()
        killed()
        time.sleep(2.0)
        for traveller in travellers:
            traveller.stop()
        _wait_for_the_end(nodes[0])
        acknowledged = {id_: cancel for traveller in travellers for id_, cancel in traveller.acknowledged.items()}
        return reckon(nodes[0].store.log, (saga_view, tag_view), file, acknowledged)
    finally:
        for node in nodes:
            node.close()
        pair.close()


def _worker(url: str, file: Path) -> Node:
    ledger = DurableLedger(file, lambda *intent: is_intended(node.store.log, *intent))
    node = Node(Settings.load({"database_url": url, **SETTINGS}, environ={}), journey_app(ledger))
    node.open()
    return node


def _wait_for_the_end(node: Node) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        with suppress(StoreUnavailable):
            left = unfinished(node.database)
            if not left:
                return
            assert time.monotonic() < deadline, f"stranded: {left}"
        time.sleep(0.05)

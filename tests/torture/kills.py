"""Kill -9, for real and by the thousand: processes that run sagas are killed, and the next ones take over."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from random import Random

from saga_es.node.node import Node
from saga_es.node.settings import Settings
from saga_es.store.views.saga_view import saga_view
from saga_es.store.views.tags import tag_view
from tests.torture.forks import TIMEOUT_S, Fork, pipe
from tests.torture.ledger import DurableLedger, made
from tests.torture.lives import Acknowledged, Life, Opened, Word, journey_app, live
from tests.torture.reckoning import Found, reckon

TIDY_EVERY = 25
"""Kills after which all sagas are left to come to their ends, so that what is wrong is found soon."""


class Victim:
    """A process that runs sagas, and what it says on its pipe."""

    def __init__(self, life: Life) -> None:
        self._pipe, theirs = pipe()
        self._fork = Fork(live, life, theirs)
        theirs.close()
        self._is_open = False

    def wait_until_open(self) -> None:
        """Block until its engine runs."""
        if not self._is_open:
            assert self._pipe.poll(TIMEOUT_S), "the engine does not open"
            assert self._pipe.recv() == Opened()
            self._is_open = True

    def kill(self) -> list[Word]:
        """End it from one moment to the next; what it had said."""
        self._fork.kill()
        return self._said()

    def wait(self) -> None:
        """Wait until it ends by itself."""
        assert self._fork.ends_within(TIMEOUT_S), "the sagas do not come to their ends"
        self._said()

    def _said(self) -> list[Word]:
        words: list[Word] = []
        try:
            while True:
                words.append(self._pipe.recv())
        except (EOFError, OSError):  # nothing more; or the kill has cut a word in two
            return words
        finally:
            self._pipe.close()


class Campaign:
    """Many lives on one database.

    Args:
        url: The database, empty.
        folder: For the participants' file.
        workers: Processes at work at the same time.
        seed: For the dice.
    """

    def __init__(self, url: str, folder: Path, workers: int, seed: int) -> None:
        self._url = url
        self._ledger = made(folder / f"ledger-{seed}.sqlite")
        self._workers = workers
        self._dice = Random(seed)
        self._lives = 0
        self._acknowledged: dict[str, bool] = {}

    def run(self, kills: int, killed: Callable[[], object] = lambda: None) -> Found:
        """Kill so many processes, one after the other, let the rest come to its end, and look at everything.

        Args:
            kills: How many.
            killed: Told of each.
        """
        for start in range(0, kills, TIDY_EVERY):
            self._kill(min(TIDY_EVERY, kills - start), killed)
            self._born(tidies=True).wait()
        settings = Settings.load({"database_url": self._url}, environ={})
        node = Node(settings, journey_app(DurableLedger(self._ledger, lambda *_: True)))
        try:
            return reckon(node.store.log, (saga_view, tag_view), self._ledger, self._acknowledged)
        finally:
            node.close()

    def _kill(self, kills: int, killed: Callable[[], object]) -> None:
        victims = [self._born() for _ in range(self._workers)]
        for number in range(kills):
            victim = victims.pop(self._dice.randrange(len(victims)))
            if self._dice.random() < 0.6:  # the others die while they open, or take over
                victim.wait_until_open()
            time.sleep(self._dice.uniform(0, 0.3))
            self._hear(victim.kill())
            killed()
            if number < kills - self._workers:  # the last ones are killed without successors
                victims.append(self._born())

    def _born(self, *, tidies: bool = False) -> Victim:
        self._lives += 1
        return Victim(Life(self._url, str(self._ledger), f"life{self._lives}", self._dice.randrange(2**32), tidies))

    def _hear(self, words: list[Word]) -> None:
        for word in words:
            match word:
                case Acknowledged(saga_id, is_cancel):
                    self._acknowledged[saga_id] = is_cancel
                case Opened():
                    pass

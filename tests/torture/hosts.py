"""Hosts that die and freeze: three workers, each on a machine of its own as far as the others can tell.

A host that is killed is seen by its silence alone, so its sagas wait for its lease. One that is frozen for longer than
that loses them, and wakes up to find its versions taken. Clients that run nothing start sagas all the time.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from signal import SIGCONT, SIGSTOP

from saga_es.commands import Cancel
from saga_es.errors import CommandRefused
from saga_es.node.node import Node
from saga_es.node.settings import Settings
from saga_es.store import process
from saga_es.store.admin import migrate
from saga_es.store.views.saga_view import saga_view
from saga_es.store.views.tags import tag_view
from tests.simulation.every_way import quiet
from tests.torture.forks import TIMEOUT_S, Fork, pipe
from tests.torture.ledger import DurableLedger, made
from tests.torture.lives import SETTINGS, Life, Opened, is_intended, journey_app, some_input, unfinished
from tests.torture.reckoning import Found, reckon

HOSTS = 3
LEASE_S = 2.0
AT_ONCE = 40
"""Sagas that are unfinished at the same time, at most."""


def work(life: Life, pipe: Connection) -> None:
    """Be a worker on a host of its own, until a kill comes."""
    quiet()
    process._host = lambda: life.name
    limits = {"lease_s": LEASE_S, "sagas_at_once": 20}
    settings = Settings.load({"database_url": life.url, **SETTINGS, **limits}, environ={})
    ledger = DurableLedger(Path(life.ledger), lambda *intent: is_intended(node.store.log, *intent))
    node = Node(settings, journey_app(ledger))
    node.open()
    pipe.send(Opened())
    while True:
        time.sleep(60)


class Host:
    """One of them."""

    def __init__(self, life: Life) -> None:
        self._pipe, theirs = pipe()
        self._fork = Fork(work, life, theirs)
        theirs.close()
        self._wakes_at: float | None = None

    def wait_until_open(self) -> None:
        """Block until it works."""
        assert self._pipe.poll(TIMEOUT_S), "the worker does not open"
        assert self._pipe.recv() == Opened()

    @property
    def is_frozen(self) -> bool:
        """Whether it stands still."""
        return self._wakes_at is not None

    def freeze(self, seconds: float) -> None:
        """Stop it where it stands, for so long."""
        os.kill(self._fork.pid, SIGSTOP)
        self._wakes_at = time.monotonic() + seconds

    def wake_when_due(self, *, now: bool = False) -> None:
        """Let it go on, if its time has come."""
        if self._wakes_at is not None and (now or time.monotonic() >= self._wakes_at):
            os.kill(self._fork.pid, SIGCONT)
            self._wakes_at = None

    def kill(self) -> None:
        """End it as a power cut would."""
        self._fork.kill()
        self._pipe.close()


class HostsCampaign:
    """Three hosts on one database, and a client that starts sagas.

    Args:
        url: The database, empty.
        folder: For the participants' file.
        seed: For the dice.
    """

    def __init__(self, url: str, folder: Path, seed: int) -> None:
        self._url = url
        self._ledger = made(folder / f"ledger-{seed}.sqlite")
        self._dice = Random(seed)
        self._names = 0
        settings = Settings.load({"database_url": url}, environ={})
        self._node = Node(settings, journey_app(DurableLedger(self._ledger, lambda *_: True)))
        self._acknowledged: dict[str, bool] = {}
        self._started = 0
        self.freezes = 0

    def run(self, mishaps: int, killed: Callable[[], object] = lambda: None) -> Found:
        """Kill and freeze so many times in all, let everything come to its end, and look at everything."""
        migrate.upgrade(self._node.database, self._node.store.log, self._node.views)
        hosts = [self._born() for _ in range(HOSTS)]
        try:
            for host in hosts:
                host.wait_until_open()
            for _ in range(mishaps):
                self._start_sagas(self._dice.uniform(0.2, 1.2), hosts)
                self._mishap(hosts)
                killed()
            for host in hosts:
                host.wake_when_due(now=True)
            self._wait_for_the_end(hosts)
            return reckon(self._node.store.log, (saga_view, tag_view), self._ledger, self._acknowledged)
        finally:
            for host in hosts:
                host.wake_when_due(now=True)
                host.kill()
            self._node.close()

    def _mishap(self, hosts: list[Host]) -> None:
        """One host is killed and another takes its place, or one stands still for a while, perhaps beyond its lease."""
        place = self._dice.randrange(HOSTS)
        if self._dice.random() < 0.5 and not hosts[place].is_frozen:
            hosts[place].freeze(self._dice.uniform(0.5, 3) * LEASE_S)
            self.freezes += 1
            return
        hosts[place].kill()
        hosts[place] = self._born()

    def _start_sagas(self, seconds: float, hosts: list[Host]) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for host in hosts:
                host.wake_when_due()
            if len(unfinished(self._node.database)) < AT_ONCE:
                self._start()
            else:
                time.sleep(0.05)

    def _start(self) -> None:
        self._started += 1
        saga_id = self._node.client.start("journey", some_input(self._dice), saga_id=f"saga-{self._started}").saga_id
        self._acknowledged[saga_id] = False
        if self._dice.random() < 0.1:
            try:
                self._node.client.submit(saga_id, Cancel("a traveller", "changed plans"))
            except CommandRefused:
                return
            self._acknowledged[saga_id] = True

    def _wait_for_the_end(self, hosts: list[Host]) -> None:
        deadline = time.monotonic() + TIMEOUT_S
        while left := unfinished(self._node.database):
            assert time.monotonic() < deadline, f"{len(hosts)} hosts are up, and do not end {left}"
            time.sleep(0.05)

    def _born(self) -> Host:
        self._names += 1
        return Host(Life(self._url, str(self._ledger), f"host-{self._names}", 0))

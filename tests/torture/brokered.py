"""Kill -9 around a broker: of servers, of a service behind a queue, and of the broker itself.

The server calls the venue service behind the queue, and publishes its log. Clients ask until they are answered.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from random import Random
from typing import Any
from uuid import uuid4

import services
from saga_es.node.node import Node
from saga_es.node.settings import Settings
from saga_es.store.admin import migrate
from saga_es.store.publishers import Publishers
from tests.support import brokers
from tests.support.published import by_stream, in_log, in_order
from tests.support.queues import answers
from tests.torture.forks import TIMEOUT_S, Fork
from tests.torture.reckoning import Found
from tests.torture.served import ServedCampaign, serve

QUEUES = {
    "rabbitmq": "amqp://guest:guest@127.0.0.1:{port}/?queue=venue-{new}",
    "nats": "nats://127.0.0.1:{port}/venue.{new}",
}
"""The brokers behind which a participant can stand; to the others the log is only published."""

LONGEST_GAP_S = 0.5
"""For which a broker that was killed stays away."""

LONGEST_FREEZE_S = 3.0
"""Of Kafka's mock cluster, which keeps nothing on a disk: it hangs instead."""


class BrokeredCampaign(ServedCampaign):
    """Servers, services and a broker, of which one or the other is killed.

    Args:
        url: The database, empty.
        kind: The kind of the broker.
        seed: For the dice.
    """

    def __init__(self, url: str, kind: str, seed: int) -> None:
        super().__init__(url, seed)
        self._kind = kind
        self._fate = Random(seed)
        self._place = brokers.place(kind)
        self._settings = {"SAGA_ES_PUBLISH": self._place.url}
        self._queue = None
        if kind in QUEUES:
            self._queue = QUEUES[kind].format(port=_up(kind), new=uuid4().hex)
            self._settings["SAGA_ES_PARTICIPANT_VENUE"] = self._queue
        self._service: Fork | None = None
        self._turns: list[str] = []
        self._heard: list[dict[str, Any]] = []

    def run(self, kills: int, killed: Callable[[], object] = lambda: None) -> Found:
        """Kill so many times, let everything come to its end, and look at everything, also at what was published."""
        self._node = Node(Settings.load({"database_url": self._url}, environ={}), services.app)
        try:
            migrate.upgrade(self._node.database, self._node.store.log, self._node.views)
            self._service = self._new_service()
            return super().run(kills, killed)
        finally:
            if self._service is not None:
                self._service.kill()
            self._node.close()

    def _born(self) -> Fork:
        return Fork(_serve, (self._url, self._port), self._settings)

    def _new_service(self) -> Fork | None:
        """The process of the venue service; None when it stands behind no queue."""
        if self._queue is None:
            return None
        return Fork(_serve, (self._url, 0, "--only", "venue", "--listen", self._queue), {})

    def _kill(self, server: Fork) -> Fork:
        if not self._turns:
            self._turns = ["server", "broker"] if self._queue is None else ["server", "service", "broker"]
            self._fate.shuffle(self._turns)
        whom = self._turns.pop()
        if whom == "broker":
            self._kill_broker()
            return server
        if whom == "service" and self._service is not None:
            self._service.kill()
            self._service = self._new_service()
            return server
        server.kill()
        self._end_hold()
        return self._born()

    def _kill_broker(self) -> None:
        if self._kind not in brokers.KILLABLE:
            with brokers.kafka().frozen():
                time.sleep(self._fate.uniform(0, LONGEST_FREEZE_S))
            self._heard += self._place.messages()  # it keeps 5 MB of a partition, and drops what is older
            return
        server = brokers.server(self._kind)
        server.kill()
        time.sleep(self._fate.uniform(0, LONGEST_GAP_S))
        server.start()
        _up(self._kind)

    def _end_hold(self) -> None:
        """As an operator may: the next server publishes at once, and need not wait for 30 s."""
        rows = Publishers(self._node.database)
        for row in rows.all():
            rows.move(row.name, row.position)

    def _wait_for_the_rest(self) -> None:
        """For the publisher, which must tell everything."""
        rows = Publishers(self._node.database)
        deadline = time.monotonic() + TIMEOUT_S
        while [row.lag for row in rows.all()] != [0]:
            assert time.monotonic() < deadline, f"not all is published: {rows.all()}"
            time.sleep(0.05)

    def _reckon(self, faults: list[str]) -> Found:
        found = super()._reckon(faults)
        told, wanted = in_order(self._heard + self._place.messages()), by_stream(in_log(self._node.store.log))
        found.faults += [
            f"of stream {stream} was published {told.get(stream)}, and it has {wanted.get(stream)}"
            for stream in sorted(told.keys() | wanted.keys())
            if told.get(stream) != wanted.get(stream)
        ]
        return found


def _serve(arguments: tuple[str | int, ...], settings: dict[str, str]) -> None:
    """`saga-es serve` with settings in its environment."""
    url, port, *more = map(str, arguments)
    serve(url, int(port), *more, **settings)


def _up(kind: str) -> int:
    """The port of a broker that lets clients in."""
    port = brokers.server(kind).port
    if kind == "rabbitmq":
        answers(port)
    return port

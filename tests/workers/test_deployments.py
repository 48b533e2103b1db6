"""Version after version is deployed under load, forward and back, with kills: no deployment changes a saga's end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from saga_es.client import Client
from saga_es.core.invariants import violations
from saga_es.core.state import SagaState, SagaStatus
from saga_es.definition.code import decoded
from saga_es.node.app import App
from saga_es.node.node import Node
from saga_es.node.settings import Settings
from saga_es.store.admin import migrate
from tests.e2e.conftest import environment
from tests.support import processes
from tests.support.databases import fresh_database
from tests.support.deployed_app import CHANGES, DEPLOYED, version
from tests.support.processes import ROOT
from tests.workers.conftest import TIMEOUT_S, until

FORWARD = range(len(CHANGES))
DEPLOYMENTS = (*FORWARD, 5, 2, 0)
"""Each version after the one before; then back, over several at once."""

SAGAS = 6
"""How many are started in each version; each third is refused at its last step."""

APART = 2
"""After how many more deployments the sagas of one are told to go on: until then they wait, half done."""


class Deployed:
    """A process of `saga-es worker` with the code of a version."""

    def __init__(self, url: str, number: int) -> None:
        settings = {"SAGA_ES_DATABASE_URL": url, "SAGA_ES_APP": "tests.support.deployed_app", DEPLOYED: str(number)}
        command = ("saga_es", "worker", "--lease-s", "2", "--log-level", "error")
        self._process, self._saying = processes.start(*command, cwd=ROOT, env=environment(**settings))
        self._listening = threading.Thread(target=self._listen)
        self._listening.start()
        self.said = ""

    def kill(self) -> None:
        """End it as a power cut would."""
        self._process.kill()
        self._process.wait(TIMEOUT_S)

    def close(self) -> None:
        """Make sure that it is gone."""
        self.kill()
        self._listening.join()
        self._saying.close()

    def _listen(self) -> None:
        for line in self._saying:
            self.said += line


class Shop:
    """A database, workers of several versions on it, and the sagas that were started."""

    def __init__(self, url: str, stack: ExitStack) -> None:
        self.node = Node(
            Settings.load({"database_url": url, "metrics": False}, environ={}), App(name="shop", version="0")
        )
        stack.callback(self.node.database.close)
        migrate.upgrade(self.node.database, self.node.store.log, self.node.views)
        self.expected: dict[str, SagaStatus] = {}
        self._url, self._stack = url, stack

    def deploy(self, number: int) -> Deployed:
        """A worker of a version, at work."""
        worker = Deployed(self._url, number)
        self._stack.callback(worker.close)
        plan_id = version(number).plan_id
        until(lambda: plan_id in self.living())
        return worker

    def living(self) -> list[str]:
        """The plans that the living workers have as their present ones."""
        codes = [decoded(code) for code in self.node.store.workers.codes().values() if code]
        return [saga.plan_id for code in codes for saga in code.values()]

    def start(self, number: int, deployment: int) -> list[str]:
        """Start sagas of a version."""
        saga, ids = version(number), []
        client = Client(self.node.store, [saga])
        for n in range(SAGAS):
            saga_id = client.start(saga.name, {"refused": n % 3 == 2}, saga_id=f"{deployment}-{n}").saga_id
            self.expected[saga_id] = SagaStatus.COMPENSATED if n % 3 == 2 else SagaStatus.COMPLETED
            ids.append(saga_id)
        return ids

    def tell_to_go(self, saga_ids: list[str]) -> None:
        """Send the signal that they wait for, or will wait for."""
        for saga_id in saga_ids:
            self.node.client.signal(saga_id, "go")

    def state(self, saga_id: str) -> SagaState:
        """How a saga stands."""
        state = self.node.store.sagas.find(saga_id)
        assert state is not None
        return state

    def ends(self) -> dict[str, SagaStatus]:
        """How the sagas that have ended have ended."""
        states = (self.state(saga_id) for saga_id in self.expected)
        return {state.saga_id: state.status for state in states if state.status.ended}

    def violations(self) -> list[str]:
        """What is wrong with the log; nothing should be."""
        wrong: list[str] = []
        for saga_id in self.expected:
            history = self.node.store.log.read(saga_id)
            plan = self.node.store.sagas.plan(history[0].event.plan_id)
            wrong += map(str, violations(saga_id, plan, [(found.version, found.event) for found in history]))
        return wrong


@pytest.fixture(params=("sqlite", "postgresql", "mariadb"))
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    """A migrated database without workers, on each kind of database."""
    with fresh_database(request.param, tmp_path) as url, ExitStack() as stack:
        yield Shop(url, stack)


def test_no_deployment_changes_the_end_of_a_saga(shop: Shop) -> None:
    """Each version's worker is killed when the next one's is there; in the end there is one of each version again."""
    started: list[list[str]] = []
    before: Deployed | None = None
    for deployment, number in enumerate(DEPLOYMENTS):
        worker = shop.deploy(number)
        started.append(shop.start(number, deployment))
        if deployment >= APART:
            shop.tell_to_go(started[deployment - APART])
        if before is not None:
            before.kill()
        before = worker
    for saga_ids in started[-APART:]:
        shop.tell_to_go(saga_ids)
    for number in FORWARD:
        shop.deploy(number)
    until(lambda: len(shop.ends()) == len(shop.expected), TIMEOUT_S * 2)
    assert shop.ends() == shop.expected
    assert shop.violations() == []

"""Real worker processes on hosts of their own, which can be killed, frozen and woken."""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Protocol, TypeVar

import pytest

from saga_es.client import Client
from saga_es.core.invariants import violations
from saga_es.node.node import Node
from saga_es.node.settings import Settings
from saga_es.store.admin import migrate
from saga_es.store.log.codec import SAGA
from saga_es.store.log.entries import Recorded
from tests.e2e.conftest import environment
from tests.support import processes
from tests.support.databases import fresh_database
from tests.support.processes import ROOT
from tests.support.worker_app import LEDGER, Noted, app, noted

T = TypeVar("T")

TIMEOUT_S = 40.0
LEASE_S = 2.0


class Host:
    """A `saga-es worker` process on a host of its own; made when it says that it works."""

    def __init__(
        self,
        name: str,
        url: str,
        ledger: Path,
        *arguments: str,
        fast_s: float = 0.0,
        module: str = "tests.support.host",
    ) -> None:
        self.name = name
        self.said: list[str] = []
        self._heard = threading.Condition()
        settings = {"SAGA_ES_DATABASE_URL": url, "SAGA_ES_APP": "tests.support.worker_app", LEDGER: str(ledger)}
        command = (module, name, str(fast_s), "worker", *arguments)
        lease = () if "--lease-s" in arguments else ("--lease-s", str(LEASE_S))
        self._process, self._saying = processes.start(*command, *lease, cwd=ROOT, env=environment(**settings))
        self._listening = threading.Thread(target=self._listen)
        self._listening.start()

    @property
    def worker_id(self) -> str:
        """Who it says that it works as; blocks until it has."""
        return self.hears(lambda line: line.startswith("Working as ")).split()[2]

    def hears(self, wanted: Callable[[str], bool]) -> str:
        """Block until it has said such a line; that line."""
        with self._heard:
            self._heard.wait_for(lambda: any(map(wanted, self.said)) or self._process.poll() is not None, TIMEOUT_S)
            found = next(filter(wanted, self.said), None)
        assert found is not None, "".join(self.said)
        return found

    def kill(self) -> None:
        """End it as a power cut would."""
        self._process.kill()
        self._process.wait(TIMEOUT_S)

    def freeze(self) -> None:
        """Stop it where it stands."""
        self._process.send_signal(signal.SIGSTOP)

    def wake(self) -> None:
        """Let it go on."""
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> int:
        """Ask it to stop; its exit code."""
        self._process.send_signal(signal.SIGTERM)
        return self.exit_code()

    def exit_code(self) -> int:
        """Block until it has ended."""
        return self._process.wait(TIMEOUT_S)

    def close(self) -> None:
        """Make sure that it is gone."""
        self.kill()
        self._listening.join()
        self._saying.close()

    def _listen(self) -> None:
        for line in self._saying:
            with self._heard:
                self.said.append(line)
                self._heard.notify_all()
        with self._heard:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(TIMEOUT_S)
            self._heard.notify_all()


class StartHost(Protocol):
    """Starts a worker on a host of its own; the test's end ends it."""

    def __call__(self, name: str, *arguments: str, fast_s: float = 0.0) -> Host:
        """The worker, at work."""
        ...


class Site:
    """A migrated database, seen by a process that runs no sagas; and the calls that all workers noted."""

    def __init__(self, url: str, ledger: Path) -> None:
        self.url = url
        self.ledger = ledger
        self.node = Node(Settings.load({"database_url": url}), app)
        migrate.upgrade(self.node.database, self.node.store.log, self.node.views)

    @property
    def client(self) -> Client:
        """What starts sagas, and asks for them."""
        return self.node.client

    def calls(self) -> list[Noted]:
        """All calls so far."""
        return noted(self.ledger)

    def called(self, saga_id: str, step: str) -> Noted:
        """The first call of a step; blocks until it is made."""
        return until(lambda: next((c for c in self.calls() if (c.saga_id, c.step) == (saga_id, step)), None))

    def history(self, saga_id: str) -> list[Recorded]:
        """What stands in the log."""
        return self.node.store.log.read(saga_id)

    def has(self, saga_id: str, kind: type) -> bool:
        """Whether such an event stands there."""
        return any(isinstance(recorded.event, kind) for recorded in self.history(saga_id))

    def owner(self, saga_id: str) -> str | None:
        """Who runs a saga now."""
        state = self.node.store.sagas.find(saga_id)
        assert state is not None
        return state.owner

    def violations(self) -> list[str]:
        """What is wrong with the log and with the calls; nothing should be."""
        return [*self._wrong_streams(), *self._wrong_keys()]

    def _wrong_streams(self) -> Iterator[str]:
        for saga_id in sorted({entry.stream_id for entry in self.node.store.log.walk() if entry.category == SAGA}):
            history = self.history(saga_id)
            plan = self.node.store.sagas.plan(history[0].event.plan_id)
            yield from map(str, violations(saga_id, plan, [(event.version, event.event) for event in history]))

    def _wrong_keys(self) -> Iterator[str]:
        keys: dict[tuple[str, str], set[str]] = {}
        for call in self.calls():
            keys.setdefault((call.saga_id, call.step), set()).add(call.key)
        yield from (f"{call} had {len(found)} keys" for call, found in keys.items() if len(found) != 1)


@pytest.fixture(params=("postgresql", "mariadb"))
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    """A migrated database on each of the servers that several hosts can share."""
    with fresh_database(request.param, tmp_path) as url:
        made = Site(url, tmp_path / "ledger")
        yield made
        made.node.database.close()


@pytest.fixture
def start_host(site: Site) -> Iterator[StartHost]:
    """Starts any number of hosts on the site."""
    with ExitStack() as stack:

        def start(name: str, *arguments: str, fast_s: float = 0.0) -> Host:
            host = Host(name, site.url, site.ledger, *arguments, fast_s=fast_s)
            stack.callback(host.close)
            assert host.worker_id
            return host

        yield start


def until(look: Callable[[], T | None], timeout_s: float = TIMEOUT_S) -> T:
    """Look again and again until there is something."""
    deadline = monotonic() + timeout_s
    while not (found := look()):
        assert monotonic() < deadline, f"nothing was seen within {timeout_s:g} s"
        sleep(0.02)
    return found

"""A rolling upgrade of saga_es itself: workers of two versions share a database, under load and with kills."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import get_args

import pytest
import sqlalchemy as sa

from saga_es.core import events as e
from saga_es.store.log.codec import SAGA, Codec
from saga_es.store.log.entries import Draft
from saga_es.store.log.log import Log
from saga_es.store.ports import Written
from saga_es.store.views.kinds import Views
from saga_es.store.views.saga_view import sagas
from saga_es.store.writer import Writer
from tests.support import next_version
from tests.support.versions import THIS, Fleet, Member, unpacked
from tests.workers import conftest
from tests.workers.conftest import Site

SOME = 5
"""How many calls show that a worker takes part."""

PATIENCE_S = 150.0
"""How long a busy machine may take."""


@pytest.fixture(scope="session")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The version that was released before this one."""
    return unpacked("0.1.0", tmp_path_factory.mktemp("saga-es-0.1.0"))


@pytest.fixture(scope="session")
def after(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A version that comes after this one."""
    return next_version.made(tmp_path_factory.mktemp("saga-es-next"))


@pytest.fixture
def fleet(database_url: str, tmp_path: Path) -> Iterator[Fleet]:
    """A fleet on an empty database."""
    with Fleet.at(database_url, tmp_path) as fleet:
        yield fleet


until = partial(conftest.until, timeout_s=PATIENCE_S)


def work(*members: Member) -> None:
    """Wait until each worker says that it works."""
    for member in members:
        until(partial(_works, member))
        assert "Working as " in member.said, member.said


def _works(member: Member) -> bool:
    return "Working as " in member.said or member.has_ended


def takes_part(fleet: Fleet, *members: Member) -> None:
    """Wait until each of these workers has made some more calls."""
    before = {member.name: fleet.called_by(member) for member in members}
    for member in members:
        until(partial(_has_taken_part, fleet, member, before[member.name] + SOME))
        assert not member.has_ended, member.said


def _has_taken_part(fleet: Fleet, member: Member, calls: int) -> bool:
    return fleet.called_by(member) >= calls or member.has_ended


def statuses(site: Site) -> dict[str, str]:
    """The status of each saga, as lists show it."""
    with site.node.database.reading() as connection:
        return {row.saga_id: row.status for row in connection.execute(sa.select(sagas.c.saga_id, sagas.c.status))}


def expected(saga_id: str) -> str:
    """How a saga ends, by its number."""
    return "COMPENSATED" if int(saga_id.rpartition("-")[2]) % 10 in {2, 9} else "COMPLETED"


def ended(site: Site) -> dict[str, str]:
    """The statuses of all sagas, once each has ended."""
    unfinished = {"PENDING", "IN_PROGRESS", "COMPENSATING"}
    until(lambda: unfinished.isdisjoint(statuses(site).values()))
    return statuses(site)


def test_workers_of_two_versions_share_a_database_while_it_is_upgraded_and_killed(fleet: Fleet, before: Path) -> None:
    """Under load: each saga ends as it should, each call keeps its key, and the log and its views are whole."""
    old, dying = fleet.worker(before, "old"), fleet.worker(before, "dying")
    work(old, dying)
    clients = [fleet.starter(before, "before")]
    takes_part(fleet, old, dying)
    new = fleet.worker(THIS, "new")  # it migrates, under the others' load
    work(new)
    clients.append(fleet.starter(THIS, "after"))
    takes_part(fleet, old, dying, new)
    dying.kill()
    takes_part(fleet, old, new)
    new.kill()
    takes_part(fleet, old)
    last = fleet.worker(THIS, "last")
    work(last)
    takes_part(fleet, old, last)
    fleet.enough()
    assert [client.exit_code() for client in clients] == [0, 0], [client.said for client in clients]
    assert old.stop() == 0
    site = Site(fleet.url, fleet.ledger)
    found = ended(site)
    assert {id_.partition("-")[0] for id_ in found} == {"before", "after"}
    assert found == {id_: expected(id_) for id_ in found}
    assert site.violations() == []
    site.node.database.close()
    assert said_by(fleet.command(THIS, "verify")).endswith("all is intact.\n")


# ── The version after ────────────────────────────────────────────────────────────────────────────────────


class SignalHeard(e.SignalReceived, frozen=True):
    """An event of the next version, which means there what a signal means here."""


def heard(site: Site, saga_id: str) -> None:
    """A process of the next version gives a saga its signal, by an event that this one does not know."""
    node = site.node
    codec = Codec({SAGA: (*get_args(e.SagaEvent), SignalHeard)})
    writer = Writer(node.database, Log(node.database, codec), Views([]))

    def is_written() -> bool:  # its owner may append at the same time
        at = len(node.store.log.entries_of([saga_id])[saga_id])
        signal = SignalHeard("answer", None)
        draft = Draft(saga_id, SAGA, at, (signal,), datetime.now(UTC), notifies=True)
        return writer.write([writer.prepare(draft)]) == [Written()]

    until(is_written)


def test_a_newer_version_migrates_beside_this_one_and_this_one_works_on(fleet: Fleet, after: Path) -> None:
    """Also when it starts again. A saga with an event that it cannot read it leaves to the newer one, and says so."""
    site = Site(fleet.url, fleet.ledger)
    site.client.start("approval", saga_id="theirs-0")
    owner, other = fleet.worker(THIS, "owner"), fleet.worker(THIS, "other")
    work(owner, other)
    clients = [fleet.starter(THIS, "this")]
    takes_part(fleet, owner, other)
    until(partial(site.has, "theirs-0", e.WaitStarted))
    heard(site, "theirs-0")
    until(lambda: LEFT_ALONE in owner.said + other.said)
    assert "cannot read its event" in said_by(fleet.command(THIS, "explain", "theirs-0"))
    doctor = fleet.command(THIS, "doctor")
    doctor.exit_code()  # whatever it thinks of the database
    assert "theirs-0 (event" in doctor.said
    newer = fleet.worker(after, "newer")  # it migrates, under the others' load
    work(newer)
    takes_part(fleet, owner, other, newer)
    owner.kill()
    again = fleet.worker(THIS, "again")
    work(again)
    assert "a newer version has migrated the database" in again.said
    takes_part(fleet, other, again, newer)
    newer.kill()
    takes_part(fleet, other, again)
    fleet.enough()
    assert [client.exit_code() for client in clients] == [0], [client.said for client in clients]
    assert (other.stop(), again.stop()) == (0, 0)
    last = fleet.worker(after, "last")
    work(last)
    found = ended(site)
    assert found == {id_: expected(id_) for id_ in found}
    assert fleet.called_by(last) + fleet.called_by(newer) > 0
    assert said_by(fleet.command(after, "verify")).endswith("all is intact.\n")
    site.node.database.close()


LEFT_ALONE = "a saga cannot be read and is left alone"


def said_by(command: Member) -> str:
    """What a command that succeeds prints."""
    assert command.exit_code() == 0, command.said
    return command.said

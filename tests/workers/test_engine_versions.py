"""A rolling upgrade of saga_es itself: workers of the version before and of this one share a database."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa

from saga_es.store.views.saga_view import sagas
from tests.support.versions import THIS, Fleet, Member, unpacked
from tests.workers.conftest import Site, until

SOME = 8
"""How many calls show that a worker takes part."""


@pytest.fixture(scope="session")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The version that was released before this one."""
    return unpacked("0.1.0", tmp_path_factory.mktemp("saga-es-0.1.0"))


@pytest.fixture
def fleet(database_url: str, tmp_path: Path) -> Iterator[Fleet]:
    """A fleet on an empty database."""
    with Fleet.at(database_url, tmp_path) as fleet:
        yield fleet


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
    verify = fleet.command(THIS, "verify")
    assert verify.exit_code() == 0, verify.said

"""`recover` in this process, where a test can choose the moment."""

from __future__ import annotations

import threading

import pytest
import sqlalchemy as sa

from saga_es.cli.work import Recovered, recover
from saga_es.node.node import Node
from saga_es.node.settings import Settings
from saga_es.store.tables import saga_workers
from saga_es.store.workers import Workers
from tests.support.worker_app import LEDGER, app
from tests.workers.conftest import Site, StartHost


@pytest.mark.parametrize("site", ["postgresql"], indirect=True)
def test_recover_sees_what_a_worker_left_whose_row_is_removed_as_it_looks(
    site: Site, start_host: StartHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own engine removes such rows: what nobody owns any more is seen, though nobody else is left."""
    host = start_host("a", "--lease-s", "60")
    saga_id = site.client.start("order", {"takes_s": 0.5}).saga_id
    site.called(saga_id, "payment")
    host.kill()
    looks = 0
    read = Workers.heartbeats

    def heartbeats(workers: Workers) -> dict[str, float]:
        nonlocal looks
        looks += threading.current_thread() is threading.main_thread()  # the engine looks as well
        if looks == 2:
            with site.node.database.writing() as connection:
                connection.execute(sa.delete(saga_workers).where(saga_workers.c.worker_id == host.worker_id))
        return read(workers)

    monkeypatch.setattr(Workers, "heartbeats", heartbeats)
    monkeypatch.setenv(LEDGER, str(site.ledger))
    node = Node(Settings.load({"database_url": site.url, "lease_s": 60}), app)
    assert recover(node) == Recovered({"COMPLETED": 1}, {})

"""A database that accepts whatever it is sent, and does not answer any more: a frozen server, a proxy that hangs."""

from __future__ import annotations

from contextlib import closing

import sqlalchemy as sa

from tests.support.relay import Relay
from tests.torture.cutting import PORTS
from tests.workers.conftest import TIMEOUT_S, Host, Site


def test_a_worker_whose_database_is_away_at_the_start_waits_for_it(site: Site) -> None:
    """It says so, and works as soon as the database is there: it needs no supervisor for that."""
    url = sa.make_url(site.url)
    with Relay("127.0.0.1", url.port or PORTS[site.node.database.driver.name]) as relay:
        relay.cut()
        far = url.set(host="127.0.0.1", port=relay.port).render_as_string(hide_password=False)
        with closing(Host("a", far, site.ledger)) as host:
            host.hears(lambda line: "the database is away, trying again" in line)
            relay.mend()
            assert host.worker_id
            assert host.stop() == 0


def test_a_worker_whose_database_is_empty_stops_when_asked(site: Site) -> None:
    """And says in one line that it could not leave in order: its lease has to run out."""
    url = sa.make_url(site.url)
    with Relay("127.0.0.1", url.port or PORTS[site.node.database.driver.name]) as relay:
        far = url.set(host="127.0.0.1", port=relay.port).render_as_string(hide_password=False)
        arguments = ("--grace-s", "0.1", "--lease-s", "30")  # so that it nearly always is looking for notifications
        with closing(Host("a", far, site.ledger, *arguments, module="tests.support.hasty")) as host:
            assert host.worker_id
            relay.freeze()
            assert relay.has_frozen(TIMEOUT_S)
            assert host.stop() == 0
            host.hears(lambda line: "could not delete the worker's row; its lease will run out" in line)
            warned = [line for line in host.said if "level=" in line and "level=info" not in line]
            put_off = [line for line in warned if "put off, the database is away" in line]  # what froze on its way
            assert len(warned) - len(put_off) == 1
            assert len(put_off) <= 1

"""One browser, and one application with all that the pages can show, for all tests of this folder."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial

import pytest
from msgspec.structs import replace
from playwright.sync_api import Browser

import services
from saga_es.api.server import server_of
from saga_es.console import mount_console
from saga_es.core.batches import BatchStarted
from tests.api.conftest import Served, opened
from tests.support.browser import Tab, a_browser, a_tab
from tests.support.databases import fresh_database
from tests.support.journeys_served import begin, begun, child_of, journey, outing, stuck, when
from tests.support.payloads import PAYLOADS, carried, carrying
from tests.support.trips import until

PLACES = 8
"""Half of them may be streams: few enough for a test to take them all."""

CONCERT = {"name": "Evening Concert", "date": "2030-05-17"}
OpenTab = Callable[..., AbstractContextManager[Tab]]


@pytest.fixture(scope="package")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The demonstration, journeys, and sagas of payloads, with the console; what is in it is nobody's own."""
    inner = journey()
    sagas = [*services.app.sagas, inner, outing(inner), *map(carrying, PAYLOADS)]
    with ExitStack() as stack:
        url = stack.enter_context(fresh_database("sqlite", tmp_path_factory.mktemp("site")))
        served = opened(stack, url, replace(services.app, sagas=sagas), port=0, waiting_requests=PLACES)
        mount_console(served.app)
        yield served


@pytest.fixture(scope="package")
def base_url(site: Served) -> Iterator[str]:
    """Where the server of `saga-es serve` listens, with that application."""
    with listening(site) as url:
        yield url


@contextmanager
def listening(site: Served) -> Iterator[str]:
    """The server of `saga-es serve` with an application, until the block ends; where it listens."""
    server = server_of(site.node, site.app)
    thread = threading.Thread(target=server.run, name="site")
    thread.start()
    yield f"http://127.0.0.1:{server.effective_port}"
    site.node.closing.set()  # streams end, and so do the threads that write them
    server.trigger.pull_trigger(lambda: server.asyncore.close_all(server._map))
    thread.join()
    server.task_dispatcher.shutdown()


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """The browser."""
    with a_browser() as browser:
        yield browser


@pytest.fixture
def open_tab(browser: Browser, base_url: str) -> OpenTab:
    """Opens tabs of that site, each with cookies of its own."""
    return partial(a_tab, browser, base_url)


@pytest.fixture
def tab(open_tab: OpenTab) -> Iterator[Tab]:
    """A tab of the site, on which nothing goes wrong."""
    with open_tab() as tab:
        yield tab


@pytest.fixture(scope="package")
def sagas(site: Served) -> dict[str, str]:
    """The id of one saga of each kind, by the kind."""
    engine = site.node.engine
    kinds = {
        "waiting": begun(site),
        "failed": stuck(site),
        "retrying": begin(site, busy=True),
        "outing": begin(site, "outing", guests=[f"guest {number}" for number in range(60)]),
        "compensated": executed(site, fail_at_step="ticket"),
        "completed": executed(site),
        "odd": carried(engine, PAYLOADS[2]),
    }
    when(site.client, kinds["retrying"], lambda story: story["steps"][0]["retry_at"] is not None)
    kinds["child"] = child_of(site.client, kinds["outing"])
    kinds["paused"] = begun(site)
    engine.pause(kinds["paused"], reason="lunch", actor="ann")
    when(site.client, kinds["paused"], lambda story: story["paused"] is not None)
    return kinds | batches(site)


def batches(site: Served) -> dict[str, str]:
    """The id of one batch of each kind: under way for an hour, stopped, and ended with a saga that was left alone."""
    started, three = site.node.batches, tuple(stuck(site) for _ in range(3))
    chosen = BatchStarted("pause", three, {"name": ["journey"]}, "ann", "a look", 1 / 3600)
    kinds = {"running": started.start(chosen), "stopped": started.start(chosen)}
    started.stop(kinds["stopped"], "bob", "enough")
    kinds["ended"] = started.start(replace(chosen, pace=100))
    until(lambda: [started.progress(kinds[name]).status for name in ("stopped", "ended")] == ["stopped", "ended"])
    return kinds


def executed(site: Served, **input_: str) -> str:
    """A saga of the demonstration that has ended; its id."""
    saga_id: str = site.client.post("/api/saga/execute", json=CONCERT | input_).get_json()["transaction_id"]
    return saga_id

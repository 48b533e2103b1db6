"""`saga-es replay` beside a server that runs sagas, on each database: views are dropped, replays are killed."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

import services
from saga_es.node.node import Node
from saga_es.node.settings import Settings
from saga_es.participant import RECORD_EVENTS
from saga_es.store.admin import migrate
from saga_es.store.log.entries import Draft
from tests.e2e.conftest import TIMEOUT_S, Server, environment, run_cli
from tests.support import processes
from tests.support.processes import ROOT

VENUES = 3000
FIELDS = {"name": "Hall", "address": "1 Market Square", "capacity": 9, "facilities": []}


@pytest.fixture
def settings(database_url: str) -> Mapping[str, str]:
    """A database with a log that is long enough to be in the middle of."""
    node = Node(Settings(database_url=database_url), services.app)
    migrate.upgrade(node.database, node.store.log, node.views)
    registered = RECORD_EVENTS[0](FIELDS)
    drafts = [Draft(f"v-{n}", "venue", 0, (registered,), datetime.now(UTC)) for n in range(VENUES)]
    node.store.writer.write([node.store.writer.prepare(draft) for draft in drafts])
    node.database.close()
    return {"SAGA_ES_DATABASE_URL": database_url, "SAGA_ES_PORT": "0"}


@contextmanager
def busy_server(settings: Mapping[str, str]) -> Iterator[list[int]]:
    """A server to which somebody posts one saga after the other; what each was answered."""
    done = threading.Event()
    answers: list[int] = []
    with closing(Server(settings=settings)) as server:
        server.ready()

        def post() -> None:
            while not done.is_set():
                answers.append(server.post("/api/saga/execute", {"name": "Concert"}).status_code)

        posting = threading.Thread(target=post)
        posting.start()
        wait_until(lambda: len(answers) > 2)
        try:
            yield answers
            before = len(answers)
            wait_until(lambda: len(answers) > before + 2)
        finally:
            done.set()
            posting.join()


def wait_until(wanted: object) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not wanted():  # type: ignore[operator]  # it is a function
        assert time.monotonic() < deadline
        time.sleep(0.002)


def tables(engine: sa.Engine) -> set[str]:
    with engine.connect() as connection:
        return set(sa.inspect(connection).get_table_names())


def test_views_that_were_dropped_are_whole_again_while_a_load_runs(settings: Mapping[str, str]) -> None:
    """Somebody drops all of them by hand; after a replay each equals the fold of the log, and the load goes on."""
    database = Node(Settings(database_url=settings["SAGA_ES_DATABASE_URL"]), services.app)
    with busy_server(settings) as answers:
        for view in database.views:
            with database.database.writing() as connection:
                view.table.drop(connection)
        replayed = run_cli("replay", "--json", settings=settings)
        assert replayed.returncode == 0, replayed.stderr
        verified = run_cli("verify", settings=settings)
        assert verified.returncode == 0, verified.stdout + verified.stderr
    numbers = json.loads(replayed.stdout)
    assert [view["view"] for view in numbers["views"]] == [view.name for view in database.views]
    assert all(view["failed"] is None for view in numbers["views"])
    assert set(answers[-2:]) == {200}
    assert run_cli("verify", settings=settings).returncode == 0
    database.database.close()


def test_a_replay_that_is_killed_leaves_whole_views(settings: Mapping[str, str]) -> None:
    """`kill -9` as soon as it has begun to build, three times, while a load runs; the next one clears up."""
    database = Node(Settings(database_url=settings["SAGA_ES_DATABASE_URL"]), services.app).database
    with busy_server(settings):
        for _ in range(3):
            replay, said = processes.start("saga_es", "replay", cwd=ROOT, env=environment(**settings))
            wait_until(lambda: "sagas__new" in tables(database.engine))
            replay.kill()
            replay.wait()
            said.close()
            assert "sagas__new" in tables(database.engine)
            verified = run_cli("verify", settings=settings)
            assert verified.returncode == 0, verified.stdout + verified.stderr
        assert run_cli("replay", settings=settings).returncode == 0
    assert not [table for table in tables(database.engine) if "__" in table]
    assert run_cli("verify", settings=settings).returncode == 0
    database.close()


def test_the_command_says_what_it_would_do_and_what_it_has_done(settings: Mapping[str, str]) -> None:
    """Numbers of rows; a view that is not there, and a position that the log has not reached, are told apart."""
    dry = run_cli("replay", "--dry-run", "--view", "venues", settings=settings)
    assert (dry.returncode, dry.stdout) == (0, "venues: would have 3,000 rows at position 3,000, and is the same\n")
    until = run_cli("replay", "--until", "1000", "--view", "venues", settings=settings)
    assert (until.returncode, until.stdout) == (0, "venues__until: 1,000 rows\n")
    assert "1,000 events up to position 1,000" in until.stderr.replace("\n", " ")
    whole = run_cli("replay", settings=settings)
    assert "venues: 3,000 rows" in whole.stdout.splitlines()
    unknown = run_cli("replay", "--view", "nothing", settings=settings)
    assert unknown.returncode == 3
    assert "saga_tags" in unknown.stderr
    beyond = run_cli("replay", "--until", "3001", settings=settings)
    assert beyond.returncode == 2
    assert "the log ends at position 3000" in beyond.stderr

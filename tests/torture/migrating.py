"""Kill -9 in the middle of a migration: of an empty database, and of one that an older version made and filled."""

from __future__ import annotations

import time
from collections.abc import Callable
from random import Random

from alembic import command

from saga_es import App
from saga_es.core import events as e
from saga_es.core.plan import plan_id
from saga_es.definition.saga import Saga
from saga_es.node.node import Node
from saga_es.node.settings import Settings
from saga_es.store import registry
from saga_es.store.admin import migrate, revisions
from saga_es.store.log.codec import PLAN, SAGA
from saga_es.store.log.entries import Draft
from saga_es.store.registry import Kind
from saga_es.store.views.saga_view import saga_view
from saga_es.store.views.tags import saga_tags, tag_view
from tests.conftest import AT
from tests.simulation.every_way import quiet
from tests.torture.forks import TIMEOUT_S, Fork
from tests.torture.reckoning import wrong_views

OLD_SAGAS = 400
"""Sagas in the log of the older version: enough that making the views again takes a while."""


def killed_migrations(
    url: str, dice: Random, *, is_old: bool, killed: Callable[[], object] = lambda: None
) -> list[str]:
    """Migrate, killing each process that tries, until one comes to its end before its kill; what is wrong then.

    Args:
        url: The database, empty.
        dice: Say how long each process lives.
        is_old: An older version of saga_es was there before, and has left a log.
        killed: Told of each kill.
    """
    before = _an_older_version(url) if is_old else []
    longest_s = 0.1
    while not Fork(_migrate, url).ends_within(dice.uniform(0, longest_s)):
        killed()
        longest_s *= 1.2  # nobody knows how long it takes here and now; in the end one has the time
    node = _node(url)
    try:
        migrate.check(node.database)
        kept = [entry.text for entry in node.store.log.entries()]
        lost = [] if kept == before else [f"the log had {len(before)} events, and has {len(kept)} others now"]
        return lost + wrong_views(node.store.log, (saga_view, tag_view))
    finally:
        node.close()


def started_cold(url: str, processes: int) -> list[str]:
    """So many workers start on an empty database at the same moment; what is wrong then."""
    start_at = time.monotonic() + 2.0
    forks = [Fork(_work, url, start_at) for _ in range(processes)]
    failed = sum(not fork.ends_within(TIMEOUT_S) for fork in forks)
    node = _node(url)
    try:
        migrate.check(node.database)
        streams = [entry.version for entry in node.store.log.entries()]
        return ([f"{failed} did not come up"] if failed else []) + (
            [] if set(streams) <= {1} else [f"plans were recorded twice: {streams}"]
        )
    finally:
        node.close()


def _work(url: str, start_at: float) -> None:
    quiet()
    node = _node(url)
    time.sleep(max(0.0, start_at - time.monotonic()))
    node.open()
    node.close()


def _migrate(url: str) -> None:
    quiet()
    node = _node(url)
    migrate.upgrade(node.database, node.store.log, node.views)
    node.close()


def _node(url: str) -> Node:
    return Node(Settings.load({"database_url": url}, environ={}), App(name="migrating", version="1"))


def _an_older_version(url: str) -> list[str]:
    """A database with sagas, one migration and a few columns behind; the texts of its log."""
    saga = Saga("trip")
    saga.step(compensation=None)(visit)
    node = _node(url)
    migrate.upgrade(node.database, node.store.log, node.views)
    id_ = plan_id(saga.plan)
    steps = (e.StepStarted("visit", 1), e.StepCompleted("visit", 1), e.SagaCompleted())
    drafts = [Draft(id_, PLAN, 0, (e.PlanRecorded(saga.plan),), AT)]
    for number in range(OLD_SAGAS):
        started = e.SagaStarted("trip", id_, {"number": number}, "worker-1", {"number": str(number)})
        drafts.append(Draft(f"s-{number}", SAGA, 0, (started, *steps), AT))
    node.store.writer.write([node.store.writer.prepare(draft) for draft in drafts])
    texts = [entry.text for entry in node.store.log.entries()]
    with node.database.writing() as connection:
        command.downgrade(revisions.config(connection), "0001")
        connection.exec_driver_sql("ALTER TABLE saga_tags ADD COLUMN colour INTEGER")
        columns = {*registry.columns_of(saga_tags), "colour"}
        registry.record(connection, saga_tags.name, columns, Kind.VIEW)
        connection.exec_driver_sql("DROP TABLE sagas")
    node.close()
    return texts


def visit() -> None:
    """The step of the older sagas."""

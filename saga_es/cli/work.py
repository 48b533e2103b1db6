"""Run a node's sagas without HTTP: until the process is stopped, or until all interrupted sagas have ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import click
import msgspec
import sqlalchemy as sa
from flask.cli import ScriptInfo
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from saga_es.api import create_flask_app
from saga_es.api.probes import serve_probes
from saga_es.cli.terminal import errors
from saga_es.core.state import ENDED, SagaState
from saga_es.errors import StoreUnavailable
from saga_es.node.draining import needed_here
from saga_es.node.explain import explained
from saga_es.node.node import Node
from saga_es.node.routes import has_route
from saga_es.node.shutdown import stop_gracefully_when_asked
from saga_es.store.views.saga_view import sagas
from saga_es.store.workers import Workers

LOOK_EVERY_S = 0.25
"""A signal to another thread does not end a sleep of this one, so each is short."""

SAY_EVERY_S = 60.0
LOOKED_AT = 500
"""The most unfinished sagas that one look reads."""


class Recovered(msgspec.Struct, frozen=True):
    """The result of a recovery.

    Attributes:
        ended: The number of sagas that ended in each status.
        left: Why the remaining sagas are not moving, by id.
    """

    ended: dict[str, int]
    left: dict[str, str]


def answer_calls(node: Node) -> None:
    """Send calls without a base URL to the Flask application whose command this is, else to one of the node's own."""
    context = click.get_current_context(silent=True)
    script = None if context is None else context.find_object(ScriptInfo)
    app = create_flask_app(node) if script is None else script.load_app()
    node.answer_calls_with(app.wsgi_app, partial(has_route, app))


def work(node: Node, ready: Callable[[], None], is_done: Callable[[], bool] = lambda: False) -> None:
    """Run sagas until SIGTERM or SIGINT, or until it is done; then stop gracefully."""
    answer_calls(node)
    stop_gracefully_when_asked(node)
    settings = node.settings
    probes = None if settings.health_port is None else serve_probes(node, settings.health_host, settings.health_port)
    try:
        node.open(settings.database_wait_s)
        ready()
        while not is_done():  # SystemExit ends the loop; a signal to another thread does not end this sleep
            time.sleep(LOOK_EVERY_S)
    finally:
        if probes is not None:
            probes.close()
        node.close()


class Draining:
    """Tells when nothing is left that only this worker can run, and meanwhile what is left."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._before: Mapping[str, float] | None = None
        self._look_at = self._say_at = 0.0

    def is_done(self) -> bool:
        """Whether nothing is left. It asks the database every second, and says what is left every minute."""
        now = time.monotonic()
        if now < self._look_at:
            return False
        self._look_at = now + 1.0
        try:
            return self._is_done(now)
        except StoreUnavailable:  # the engine says so, and waits for it
            return False

    def _is_done(self, now: float) -> bool:
        workers = self._node.store.workers
        if self._before is None:
            own = self._node.engine.worker_id
            self._before = {id_: beat for id_, beat in workers.heartbeats().items() if id_ != own}
        left = next(needed_here(self._node), None)
        if left is None:
            return not _may_be_gone(workers, self._before)
        if now >= self._say_at:
            self._say_at = now + SAY_EVERY_S
            words = f"No other worker can run some sagas, such as {left.saga_id} ({left.status}): this one goes on"
            errors.print(words, markup=False, soft_wrap=True)
        return False


def recover(node: Node) -> Recovered:
    """Take over sagas without a living owner, and run each until it has ended or no longer moves by itself."""
    answer_calls(node)
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    try:
        node.open()
        workers = node.store.workers
        before = workers.heartbeats()
        before.pop(node.engine.worker_id, None)
        with Progress(*columns, console=errors) as progress:
            task = progress.add_task("taking over", total=None)
            # Asked in this order: between the two, an engine can remove a row, and what it left must then be seen.
            while _may_be_gone(workers, before) or _goes_on(node, workers):
                ended = sum(_ended(node).values())
                progress.update(task, description=f"{node.engine.active} under way, {ended} ended")
                time.sleep(LOOK_EVERY_S)
        left = {saga_id: explained(node, saga_id).sentence for saga_id in _unfinished(node)}
        return Recovered(_ended(node), left)
    finally:
        node.close()


def _may_be_gone(workers: Workers, before: Mapping[str, float]) -> bool:
    """Whether a worker's heartbeat has not changed since: the worker lives, or its lease will soon expire."""
    return any(before.get(worker_id) == heartbeat for worker_id, heartbeat in workers.heartbeats().items())


def _goes_on(node: Node, workers: Workers) -> bool:
    """Whether a saga is still to be taken over, or moves by itself."""
    names = [saga.name for saga in node.app.definitions]
    orphans = workers.orphans(LOOKED_AT, names)
    found = node.store.sagas.find_many([*orphans, *_unfinished(node)])
    readable = [state for state in found.values() if isinstance(state, SagaState)]  # no worker takes over the others
    return any(state.saga_id in orphans or moves_by_itself(state) for state in readable)


def moves_by_itself(state: SagaState) -> bool:
    """Whether a call is in flight or will be retried; not while the saga waits for a signal, time, person or child."""
    if state.status.ended or state.paused:
        return False
    return any(step.waiting or (step.in_flight and step.child is None) for step in state.steps.values())


def _unfinished(node: Node) -> Sequence[str]:
    mine = sagas.c.owner == node.engine.worker_id
    query = sa.select(sagas.c.saga_id).where(mine, sagas.c.status.not_in(list(ENDED))).limit(LOOKED_AT)
    with node.database.reading() as connection:
        return list(connection.scalars(query))


def _ended(node: Node) -> dict[str, int]:
    mine = sagas.c.owner == node.engine.worker_id
    count = sa.func.count().label("sagas")
    query = sa.select(sagas.c.status, count).where(mine, sagas.c.status.in_(list(ENDED))).group_by(sagas.c.status)
    with node.database.reading() as connection:
        return {row.status: row.sagas for row in connection.execute(query)}

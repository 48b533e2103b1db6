"""Whether a process can do its work: what a load balancer or an orchestrator asks."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import sqlalchemy as sa

from saga_es.errors import SagaError
from saga_es.node.node import Node
from saga_es.runtime.waiting.outage import with_timeout
from saga_es.store.admin import migrate
from saga_es.store.revision import suits
from saga_es.store.tables import saga_workers
from saga_es.store.workers import database_now

ANSWER_WITHIN_S = 3.0
"""How long the database may take for one check: a probe that waits longer counts as failed anyway."""


NODE_UNOPENED = "saga_es.node_unopened"
"""The Flask extension whose value is the node as it is: a question about health must not open it."""


class Check(msgspec.Struct, frozen=True):
    """One check: `ok` or `failed`, and what was seen."""

    status: str
    detail: str


class Health(msgspec.Struct, frozen=True):
    """Whether a process is ready.

    Attributes:
        status: `ready`, or `not ready`.
        checks: What was checked, by name.
    """

    status: str
    checks: dict[str, Check]

    @property
    def is_ready(self) -> bool:
        """Whether every check is ok."""
        return all(check.status == "ok" for check in self.checks.values())


def readiness(node: Node) -> Health:
    """Check the database, its migration, the loop and the heartbeat. No detail holds a secret."""
    checks = {
        "database": _checked(lambda: _takes_writes(node)),
        "migration": _checked(lambda: _migration(node)),
        "loop": _loop(node),
        "heartbeat": _checked(lambda: _heartbeat(node)),
    }
    health = Health("ready", checks)
    return health if health.is_ready else Health("not ready", checks)


class _NotReady(Exception):
    """A check failed; the message says how."""


def _checked(look: Callable[[], str]) -> Check:
    seen: list[str] = []
    failed: list[str] = []

    def run() -> None:
        try:
            seen.append(look())
        except _NotReady as error:
            failed.append(str(error))

    try:
        with_timeout(ANSWER_WITHIN_S, run)
    except SagaError as error:
        return Check("failed", type(error).__name__ + ": the database did not answer as it should; see the log")
    except Exception as error:  # noqa: BLE001 (a probe is answered, whatever is wrong)
        return Check("failed", f"{type(error).__name__}: see the log")
    return Check("failed", failed[0]) if failed else Check("ok", seen[0])


def _takes_writes(node: Node) -> str:
    """Write, and change nothing: a standby or a full disk refuses."""
    row = saga_workers.c.worker_id == node.engine.worker_id
    with node.database.writing() as connection:
        connection.execute(sa.update(saga_workers).where(row).values(heartbeat_at=saga_workers.c.heartbeat_at))
    return "answers, and takes writes"


def _migration(node: Node) -> str:
    found, needed = migrate.found(node.database), migrate.head()
    if not suits(found):
        raise _NotReady(f"at {found or 'none'}, this version needs {needed}: run `saga-es db upgrade`")
    return f"at {found}"


def _heartbeat(node: Node) -> str:
    silent_s = (database_now() - saga_workers.c.heartbeat_at).label("silent_s")
    query = sa.select(silent_s).where(saga_workers.c.worker_id == node.engine.worker_id)
    with node.database.reading() as connection:
        found = connection.execute(query).scalar_one_or_none()
    lease_s = node.settings.lease_s
    if found is None:
        raise _NotReady("this worker has no row: its first heartbeat is still to come, or it counted as gone")
    if found >= lease_s:
        raise _NotReady(f"the last heartbeat was {found:.1f} s ago, the lease is {lease_s:g} s")
    return f"{max(0.0, found):.1f} s ago, the lease is {lease_s:g} s"


def _loop(node: Node) -> Check:
    engine = node.engine
    if not engine.alive:
        return Check("failed", "the loop does not run: the process is starting or stopping")
    lag_s, limit_s = engine.lag_s, node.settings.lease_s
    detail = f"an iteration has taken {lag_s:.1f} s; {engine.active} sagas, {engine.in_flight} calls in flight"
    return Check("ok" if lag_s < limit_s else "failed", detail)

"""Draining: which sagas a worker may not leave, because no other living worker can run them."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa

from saga_es.core.state import UNFINISHED, SagaState
from saga_es.node.node import Node
from saga_es.runtime.living import others_than
from saga_es.runtime.needed_code import missing
from saga_es.store.ports import Orphan
from saga_es.store.views.saga_view import sagas

AT_ONCE = 100
"""Sagas that are in memory at a time."""


def needed_here(node: Node) -> Iterator[SagaState]:
    """The unfinished sagas that this worker can run and no other living worker can; its own ones first.

    Sagas that other living workers own are theirs. Those of another worker that drains are, too.

    Raises:
        StoreUnavailable: The database did not answer.
    """
    worker_id = node.engine.worker_id
    others = others_than(worker_id, node.store.workers.codes())
    for saga_ids in [*_owned(node, worker_id), *_orphans(node)]:
        for state in node.store.sagas.find_many(saga_ids).values():
            if isinstance(state, SagaState) and not missing(state, node.code) and not others.run(state):
                yield state


def _owned(node: Node, worker_id: str) -> Iterator[list[str]]:
    """The sagas that this worker owns."""
    last = ""
    while True:
        is_unfinished = sagas.c.status.in_([status.value for status in sorted(UNFINISHED)])
        query = sa.select(sagas.c.saga_id).where(sagas.c.owner == worker_id, is_unfinished, sagas.c.saga_id > last)
        with node.database.reading() as connection:
            found = list(connection.scalars(query.order_by(sagas.c.saga_id).limit(AT_ONCE)))
        if not found:
            return
        yield found
        last = found[-1]


def _orphans(node: Node) -> Iterator[list[str]]:
    """The sagas that no living worker owns, of the definitions of this process."""
    workers = node.store.workers
    plans = {(name, plan_id) for name, plan_id in workers.orphans_by_plan() if name in node.code}
    for name, plan_id in sorted(plans):
        after: Orphan | None = None
        while found := workers.orphans_of_plans([plan_id], [name], AT_ONCE, after):
            yield [orphan.saga_id for orphan in found]
            after = found[-1]

"""The view `saga_batches`: one row per batch of commands, to find those that are not over."""

from __future__ import annotations

from typing import Any, assert_never

import sqlalchemy as sa

from saga_es.core.batches import BatchAdvanced, BatchEvent, BatchStarted, BatchStopped, BatchTaken
from saga_es.store.drivers.columns import UtcDateTime, key_text
from saga_es.store.log.codec import BATCH
from saga_es.store.log.entries import Recorded
from saga_es.store.views.kinds import View

saga_batches = sa.Table(
    "saga_batches",
    sa.MetaData(),
    sa.Column("batch_id", key_text(64), primary_key=True),
    sa.Column("command", key_text(40), nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("size", sa.Integer, nullable=False, comment="how many sagas it is for"),
    sa.Column("upto", sa.Integer, nullable=False, comment="how many of them have been dealt with"),
    sa.Column("status", key_text(16), nullable=False, comment="running, stopped or ended"),
    sa.Column("owner", key_text(64), comment="the worker that gives the commands"),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("updated_at", UtcDateTime, nullable=False),
    sa.Index("saga_batches_newest", "created_at", "batch_id"),
    sa.Index("saga_batches_by_status", "status", "created_at"),
)


def _change(recorded: Recorded) -> dict[str, Any]:
    event: BatchEvent = recorded.event
    at = {"updated_at": recorded.recorded_at}
    match event:
        case BatchStarted():
            about = {name: getattr(event, name) for name in ("command", "actor", "reason")}
            begins = {"size": len(event.saga_ids), "upto": 0, "status": "running", "created_at": recorded.recorded_at}
            return about | begins | at
        case BatchTaken(worker):
            return {"owner": worker, **at}
        case BatchAdvanced(upto):
            return {"upto": upto, **({"status": "ended"} if event.is_last else {}), **at}
        case BatchStopped():
            return {"status": "stopped", **at}
        case _:
            assert_never(event)


batch_view = View(saga_batches, BATCH, _change)

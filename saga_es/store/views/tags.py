"""The view `saga_tags`: one row per tag of a saga, to find sagas by it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from saga_es.core import events as e
from saga_es.core.access import Starter
from saga_es.store.drivers.columns import UtcDateTime, key_text
from saga_es.store.log.codec import SAGA
from saga_es.store.log.entries import Recorded
from saga_es.store.views.kinds import Additions

saga_tags = sa.Table(
    "saga_tags",
    sa.MetaData(),
    sa.Column("saga_id", key_text(64), primary_key=True),
    sa.Column("name", key_text(64), primary_key=True),
    sa.Column("value", key_text(200), nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False, comment="the saga's: what has one tag is read newest first"),
    sa.Index("saga_tags_newest", "name", "value", "created_at", "saga_id"),
)


BY, TENANT = ":by", ":tenant"
"""The tags under which a saga is found by who started it. The tag of a caller has no colon in its name."""


def _rows(recorded: Recorded) -> Sequence[Mapping[str, Any]]:
    started: e.SagaStarted = recorded.event
    tags = started.tags if started.by is None else started.tags | _of(started.by)
    if not tags:
        return ()
    return [
        {"saga_id": recorded.stream_id, "name": name, "value": value, "created_at": recorded.recorded_at}
        for name, value in tags.items()
    ]


def _of(starter: Starter) -> dict[str, str]:
    return {BY: starter.name} | ({TENANT: starter.tenant} if starter.tenant else {})


tag_view = Additions(saga_tags, SAGA, _rows, only=(e.SagaStarted,))

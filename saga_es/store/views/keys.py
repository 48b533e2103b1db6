"""The view `saga_keys`: one row per API key, without anything secret."""

from __future__ import annotations

from typing import Any, assert_never

import sqlalchemy as sa

from saga_es.core.access import AccessEvent, KeyCreated, KeyRevoked
from saga_es.store.drivers.columns import UtcDateTime, key_text
from saga_es.store.log.codec import ACCESS
from saga_es.store.log.entries import Recorded
from saga_es.store.views.kinds import View

saga_keys = sa.Table(
    "saga_keys",
    sa.MetaData(),
    sa.Column("key_id", key_text(64), primary_key=True),
    sa.Column("name", key_text(200), nullable=False, comment="the principal that it stands for"),
    sa.Column("tenant", key_text(200), nullable=False),
    sa.Column("roles", sa.JSON, nullable=False),
    sa.Column("sagas", sa.JSON(none_as_null=True), comment="the definitions that it may act on; empty: all"),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("created_by", sa.Text, nullable=False),
    sa.Column("expires_at", UtcDateTime),
    sa.Column("revoked_at", UtcDateTime),
    sa.Column("revoked_by", sa.Text),
    sa.Column("reason", sa.Text, comment="why it was revoked"),
    sa.Index("saga_keys_by_name", "name", "tenant"),
)


def _change(recorded: Recorded) -> dict[str, Any]:
    event: AccessEvent = recorded.event
    match event:
        case KeyCreated():
            return {
                "name": event.name,
                "tenant": event.tenant,
                "roles": list(event.roles),
                "sagas": None if event.sagas is None else list(event.sagas),
                "created_at": recorded.recorded_at,
                "created_by": event.actor,
                "expires_at": event.expires_at,
            }
        case KeyRevoked(actor, reason):
            return {"revoked_at": recorded.recorded_at, "revoked_by": actor, "reason": reason}
        case _:
            assert_never(event)


key_view = View(saga_keys, ACCESS, _change)

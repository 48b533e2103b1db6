"""Messages: an event of the log as a CloudEvent, in structured JSON (cloudevents.io, 1.0.2)."""

from __future__ import annotations

from typing import Any

import msgspec

from saga_es.core.trace import Trace
from saga_es.store.log.entries import Entry


class Message(msgspec.Struct, frozen=True):
    """An event on its way to a target.

    Attributes:
        entry: Its row in the log.
        saga: The name of the saga's definition; None for an event of another category.
        trace: The saga's trace, if it has one.
        tenant: The tenant of the saga; empty: it has none; None: the event is of another category, or nobody knows.
    """

    entry: Entry
    saga: str | None = None
    trace: Trace | None = None
    tenant: str | None = None

    @property
    def id(self) -> str:
        """The same whenever the event is told, so that a receiver can drop what it has seen."""
        return f"{self.entry.stream_id}/{self.entry.version}"

    def json(self) -> bytes:
        """The CloudEvent: its data is the event's, exactly as the log has it.

        The trace stands in it as the extension Distributed Tracing says.
        """
        entry = self.entry
        fields: dict[str, Any] = {
            "specversion": "1.0",
            "id": self.id,
            "source": f"/saga_es/{entry.category}",
            "type": f"saga_es.{entry.category}.{entry.type}",
            "subject": entry.stream_id,
            "time": entry.recorded_at,
            "datacontenttype": "application/json",
            "data": msgspec.Raw(entry.text.encode()),
            "position": entry.position,
        }
        if self.saga is not None:
            fields["saga"] = self.saga
        if self.tenant:
            fields["tenant"] = self.tenant
        if self.trace is not None:
            fields |= self.trace.headers
        return msgspec.json.encode(fields)

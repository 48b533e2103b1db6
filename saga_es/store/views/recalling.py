"""Reminding a view of earlier events: some rows depend on the time between two events."""

from __future__ import annotations

from collections.abc import Sequence

from saga_es.store.log.entries import Recorded
from saga_es.store.log.log import Log
from saga_es.store.views.kinds import Projection

AT_ONCE = 100
"""Streams that are read at once."""


def recall(view: Projection, events: Sequence[Recorded], log: Log) -> None:
    """Remind a view of what it must know of the streams of these events before it takes them up.

    Raises:
        StoreUnavailable: The database did not answer.
    """
    lacking = list(view.lacks(events).items())
    for start in range(0, len(lacking), AT_ONCE):
        some = lacking[start : start + AT_ONCE]
        streams = log.entries_of([stream_id for stream_id, _ in some], types=view.reminded_by)
        for stream_id, version in some:
            earlier = [entry for entry in streams[stream_id] if entry.version < version]
            view.remind([found for found in log.decode_all(earlier) if isinstance(found, Recorded)], version)

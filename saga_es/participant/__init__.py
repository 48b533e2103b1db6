"""What a service needs to take part in sagas safely.

A repeated call is answered like the first, and an undo that comes before its call is remembered.
"""

from saga_es.participant.records import (
    RECORD_EVENTS,
    NotSeen,
    Records,
    TakenElsewhere,
    Tombstoned,
    record_table,
    record_view,
)

__all__ = ["RECORD_EVENTS", "NotSeen", "Records", "TakenElsewhere", "Tombstoned", "record_table", "record_view"]

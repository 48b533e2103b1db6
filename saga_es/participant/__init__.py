"""What a service needs to take part in sagas safely.

`Barrier` (for a service with its own tables) and `Records` (for a service that keeps its records in the log) answer a
repeated call like the first, and remember an undo that comes before its call. `check_participant` checks any HTTP
participant, in whatever language it is written. `verified` lets only calls in that sagas have signed.
"""

from saga_es.participant.barrier import BadKey, Barrier, TooLate, TryAgain
from saga_es.participant.conformance import Finding, Report, Verdict, check_participant
from saga_es.participant.records import (
    RECORD_EVENTS,
    NotSeen,
    Records,
    TakenElsewhere,
    Tombstoned,
    record_table,
    record_view,
)
from saga_es.participant.trial import NotReachable
from saga_es.participant.verified import leaves_tombstone, verified, verified_caller
from saga_es.participant.web import call_key, reply_to, takes_part

__all__ = [
    "RECORD_EVENTS",
    "BadKey",
    "Barrier",
    "Finding",
    "NotReachable",
    "NotSeen",
    "Records",
    "Report",
    "TakenElsewhere",
    "Tombstoned",
    "TooLate",
    "TryAgain",
    "Verdict",
    "call_key",
    "check_participant",
    "leaves_tombstone",
    "record_table",
    "record_view",
    "reply_to",
    "takes_part",
    "verified",
    "verified_caller",
]

"""What a service needs to take part in sagas safely.

A repeated call is answered like the first, and an undo that comes before its call is remembered: by `Barrier` in a
service with tables of its own, by `Records` in one that keeps its records in the log. `check_participant` tries any
participant, in whatever language it is written.
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
from saga_es.participant.web import call_key, takes_part

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
    "record_table",
    "record_view",
    "takes_part",
]

"""For users' own tests: a laboratory in which their sagas are killed in virtual time, and checked."""

from saga_es.testing.faults import CallFault, Calm, Chaos, Crash, Faults, Script, StoreFault
from saga_es.testing.lab import ANYBODY, CAREFUL, Lab, Outcome
from saga_es.testing.ledger import Ledger
from saga_es.testing.world import World

__all__ = [
    "ANYBODY",
    "CAREFUL",
    "CallFault",
    "Calm",
    "Chaos",
    "Crash",
    "Faults",
    "Lab",
    "Ledger",
    "Outcome",
    "Script",
    "StoreFault",
    "World",
]

"""Commands to a saga, as values for `engine.submit(saga_id, ...)`."""

from saga_es.core.commands import Cancel, Command, Pause, ReplaceInput, Resolve, Resume, Retry, SendSignal, Skip
from saga_es.core.operate import Undoing

__all__ = [
    "Cancel",
    "Command",
    "Pause",
    "ReplaceInput",
    "Resolve",
    "Resume",
    "Retry",
    "SendSignal",
    "Skip",
    "Undoing",
]

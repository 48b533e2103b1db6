"""Commands to a saga, as values for `engine.submit(saga_id, ...)`."""

from saga_es.core.commands import (
    Cancel,
    Command,
    Fail,
    Migrate,
    Pause,
    ReplaceInput,
    Resolve,
    Resume,
    Retry,
    SendSignal,
    Skip,
)
from saga_es.core.migration import Migration
from saga_es.core.operate import Undoing

__all__ = [
    "Cancel",
    "Command",
    "Fail",
    "Migrate",
    "Migration",
    "Pause",
    "ReplaceInput",
    "Resolve",
    "Resume",
    "Retry",
    "SendSignal",
    "Skip",
    "Undoing",
]

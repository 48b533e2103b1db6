"""Orders, as values: what may be asked of a saga that exists. Give them with `engine.order(saga_id, ...)`."""

from saga_es.core.facts import Cancel, Give, Order, Pause, ReplaceInput, Resolve, Resume, Retry, Skip
from saga_es.core.orders import Undoing

__all__ = [
    "Cancel",
    "Give",
    "Order",
    "Pause",
    "ReplaceInput",
    "Resolve",
    "Resume",
    "Retry",
    "Skip",
    "Undoing",
]

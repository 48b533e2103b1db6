"""Publishing: what the log holds is told to the outside, at least once, in the order of the log."""

from __future__ import annotations

from saga_es.publish.messages import Message
from saga_es.publish.publisher import Publisher, Target

__all__ = ["Message", "Publisher", "Target"]

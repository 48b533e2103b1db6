"""Publishing: what the log holds is told to the outside, at least once, in the order of the log."""

from __future__ import annotations

from saga_es.publish.publish import Publish

__all__ = ["Publish"]

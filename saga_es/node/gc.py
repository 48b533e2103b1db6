"""How often Python's garbage collector looks for cycles.

A saga makes some hundred objects, and none is part of a cycle: all are freed with their last reference. By default the
collector looks every 700 objects. That took an eighth of the loop's time, and more the more sagas wait.
"""

from __future__ import annotations

import gc

_PYTHONS_OWN = {700, 2000}
"""The default first threshold of the supported Python versions."""

OBJECTS = 50_000
"""The new threshold: at most some megabytes of objects between two looks."""


def look_less_often() -> None:
    """Raise the threshold of the collector, unless the process has changed it already."""
    first, *others = gc.get_threshold()
    if first in _PYTHONS_OWN:
        gc.set_threshold(OBJECTS, *others)

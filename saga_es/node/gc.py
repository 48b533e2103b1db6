"""How often Python looks for garbage that refers to itself.

A saga makes some hundred objects, none of which refers to itself, and all are gone with the last reference. Python's
own threshold has it look every 700 objects, which took an eighth of the loop's time; the more sagas wait, the more.
"""

from __future__ import annotations

import gc

_PYTHONS_OWN = {700, 2000}
"""The first threshold as Python has it, of one version or another."""

OBJECTS = 50_000
"""Some megabytes at the most, until they are looked through."""


def look_less_often() -> None:
    """Let garbage wait until there is some; a process that chose a threshold itself is left alone."""
    first, *others = gc.get_threshold()
    if first in _PYTHONS_OWN:
        gc.set_threshold(OBJECTS, *others)

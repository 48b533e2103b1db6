"""Upcasters: what an older version wrote, as the present one would have written it.

An event is never changed where it stands. Beside its type it has a schema, a number that counts the forms in which
the events of its category were written over time. What is of an older schema is brought, on reading, from each to the
next until it is of the present one; so the rest of the code knows one form, and whoever writes, writes that one.

A field that may be left out, and whose absence means what it always meant, needs no new schema: older versions pass it
over. Anything else does: an older version must not decide on an event that it only half understands, and refuses it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Upcaster = Callable[[dict[str, Any]], dict[str, Any]]
"""From the fields of an event in one schema to those in the next; pure."""

Upcasters = Mapping[tuple[str, str, int], Upcaster]
"""By category, type, and the schema that they begin with."""

FIRST_SCHEMA = 1

UPCASTERS: Upcasters = {}
"""Those of sagas and plans. None yet: their first schema is the present one.

To change what an event means: write here, under `("saga", "StepFailed", 1)`, the function that makes the old fields
into the new; then `saga` is at schema 2. What tests/histories/ holds of schema 1 shows whether it is right.
"""


def present_schema(category: str, upcasters: Upcasters) -> int:
    """The schema that events of a category are written in: the one behind the last upcaster."""
    return max((schema + 1 for of, _, schema in upcasters if of == category), default=FIRST_SCHEMA)


def upcast(fields: dict[str, Any], category: str, event_type: str, schema: int, upcasters: Upcasters) -> dict[str, Any]:
    """The fields of an event as of the present schema; where no upcaster stands for a step, it changes nothing."""
    for at in range(schema, present_schema(category, upcasters)):
        step = upcasters.get((category, event_type, at))
        fields = step(fields) if step else fields
    return fields

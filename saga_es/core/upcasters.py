"""Upcasters turn an event that an older version wrote into the form of the present version.

An event in the log never changes. Beside its type it has a schema: a number that counts the forms in which the events
of its category were written over time. The reader brings an older event from each schema to the next, up to the
present one. So the rest of the code knows one form only.

An optional field whose absence keeps its old meaning needs no new schema: older versions ignore it. Every other change
needs one: an older version refuses an event of a newer schema, because it must not decide on half of its meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Upcaster = Callable[[dict[str, Any]], dict[str, Any]]
"""A pure function from the fields of an event in one schema to its fields in the next."""

Upcasters = Mapping[tuple[str, str, int], Upcaster]
"""Upcasters by category, event type, and the schema that they read."""

FIRST_SCHEMA = 1

UPCASTERS: Upcasters = {}
"""The upcasters of sagas and plans. There are none yet: their first schema is the present one.

To change the meaning of an event, add the function that turns the old fields into the new, under a key such as
`("saga", "StepFailed", 1)`. Then `saga` is at schema 2. The schema 1 histories in tests/histories/ test the function.
"""


def present_schema(category: str, upcasters: Upcasters) -> int:
    """The schema in which events of a category are written: one above the last upcaster's."""
    return max((schema + 1 for of, _, schema in upcasters if of == category), default=FIRST_SCHEMA)


def upcast(fields: dict[str, Any], category: str, event_type: str, schema: int, upcasters: Upcasters) -> dict[str, Any]:
    """The fields of an event in the present schema; a schema without an upcaster changes nothing."""
    for at in range(schema, present_schema(category, upcasters)):
        step = upcasters.get((category, event_type, at))
        fields = step(fields) if step else fields
    return fields

"""What changed in the story of a saga from one version to a later one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from saga_es.store.queries.story import SagaStory

ALWAYS_CHANGES = frozenset({"version", "updated_at"})
"""Fields that change with every event, and so say nothing."""

NEVER_CHANGES = frozenset({"step", "name"})


class Change(msgspec.Struct, frozen=True):
    """One value that has changed.

    Attributes:
        path: Its place in the story: `status`, `steps.venue.attempts`, `steps.seat[1].result`.
        before: What it was, as JSON.
        after: What it became, as JSON.
    """

    path: str
    before: Any
    after: Any


def differences(before: SagaStory, after: SagaStory) -> list[Change]:
    """The changes between two stories of one saga, in the order of the story's fields."""
    return list(_between("", _laid_out(before), _laid_out(after)))


def _between(path: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    for name in [*before, *(name for name in after if name not in before)]:
        was, became = before.get(name), after.get(name)
        if isinstance(was, _Steps) or isinstance(became, _Steps):
            yield from _between("steps.", was or {}, became or {})
        elif isinstance(was, _Step) or isinstance(became, _Step):
            yield from _between(f"{path}{name}.", was or {}, became or {})
        elif was != became:
            yield Change(path + name, was, became)


class _Steps(dict[str, "_Step"]):
    """Steps, or elements of a step, by name."""


class _Step(dict[str, Any]):
    """The fields of one step or element."""


def _laid_out(story: SagaStory) -> dict[str, Any]:
    """The story with its steps by name: lists would differ as a whole wherever one step does."""
    fields: dict[str, Any] = msgspec.to_builtins(story)
    steps = _Steps({step["step"]: _Step(_fields(step)) for step in fields.pop("steps")})
    return {**{name: value for name, value in fields.items() if name not in ALWAYS_CHANGES}, "steps": steps}


def _fields(step: dict[str, Any]) -> dict[str, Any]:
    elements = _Steps({element["step"]: _Step(_fields(element)) for element in step.pop("elements") or []})
    return {**{name: value for name, value in step.items() if name not in NEVER_CHANGES}, "elements": elements}

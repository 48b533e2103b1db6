"""The filters of the list of sagas, as query parameters."""

from __future__ import annotations

from typing import Any

from marshmallow import ValidationError, fields, validate

from saga_es.api.access import scope
from saga_es.api.responses import PageSchema
from saga_es.core.state import SagaStatus
from saga_es.store.queries.filters import LARGEST_AGE_S, MOST_TAGS, SagaFilter, tag_of

LONGEST = 265
"""Characters of a filter: no tag, which is the longest of what is looked for, has more."""

_is_short = validate.Length(max=LONGEST)


class Tag(fields.String):
    """A tag in `name:value`."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> Any:
        text = super()._deserialize(value, attr, data, **options)
        _is_short(text)
        try:
            return tag_of(text)
        except ValueError as error:
            raise ValidationError(str(error)) from error


def _text(about: str) -> fields.String:
    return fields.String(load_default=None, validate=_is_short, metadata={"description": about})


def _age(about: str) -> fields.Float:
    return fields.Float(
        load_default=None, validate=validate.Range(0, LARGEST_AGE_S), metadata={"description": f"{about}, in seconds."}
    )


class SagaFilterSchema(PageSchema):
    """Filters that a saga must meet, all of them, and the page of the list."""

    status = fields.String(load_default=None, validate=validate.OneOf(list(SagaStatus)))
    name = _text("The definition's name.")
    tag = fields.List(
        Tag(metadata={"pattern": "^[^:]+:"}),
        load_default=[],
        validate=validate.Length(max=MOST_TAGS),
        metadata={"description": "A tag as `name:value`; may be repeated, the rarest first."},
    )
    older_than = _age("The lowest age of the saga")
    newer_than = _age("The highest age of the saga")
    error = _text("A part of the error, in upper or lower case; no character is special.")
    paused = fields.Boolean(load_default=None, metadata={"description": "Whether the saga is paused."})
    parent = _text("The id of the parent saga.")


def filter_of(query: dict[str, Any]) -> SagaFilter:
    """Turn a query into a filter."""
    return SagaFilter(
        status=query["status"],
        name=query["name"],
        tags=tuple(query["tag"]),
        older_than_s=query["older_than"],
        newer_than_s=query["newer_than"],
        error=query["error"],
        paused=query["paused"],
        parent=query["parent"],
        scope=scope(),
    )

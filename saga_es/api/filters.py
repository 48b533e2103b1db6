"""The filters of the list of sagas, as they stand in a query."""

from __future__ import annotations

from typing import Any

from marshmallow import ValidationError, fields, validate

from saga_es.api.responses import PageSchema
from saga_es.core.state import SagaStatus
from saga_es.store.queries.filters import LARGEST_AGE_S, MOST_TAGS, SagaFilter, tag_of


class Tag(fields.String):
    """A tag in `name:value`."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> Any:
        text = super()._deserialize(value, attr, data, **options)
        try:
            return tag_of(text)
        except ValueError as error:
            raise ValidationError(str(error)) from error


def _text(about: str) -> fields.String:
    return fields.String(load_default=None, metadata={"description": about})


def _age(about: str) -> fields.Float:
    return fields.Float(
        load_default=None, validate=validate.Range(0, LARGEST_AGE_S), metadata={"description": f"{about}, in seconds."}
    )


class SagaFilterSchema(PageSchema):
    """Which sagas, and which page of them; all that is given must hold."""

    status = fields.String(load_default=None, validate=validate.OneOf(list(SagaStatus)))
    name = _text("The definition's name.")
    tag = fields.List(
        Tag(metadata={"pattern": "^[^:]+:"}),
        load_default=[],
        validate=validate.Length(max=MOST_TAGS),
        metadata={"description": "A tag as `name:value`; may be repeated, the rarest first."},
    )
    older_than = _age("The age it has at least")
    newer_than = _age("The age it has at most")
    error = _text("A part of its error, whatever the case of its letters; no character is special.")
    paused = fields.Boolean(load_default=None, metadata={"description": "Whether it is paused."})
    parent = _text("The id of the saga that it is a step of.")


def asked_for(query: dict[str, Any]) -> SagaFilter:
    """The filter of a query."""
    return SagaFilter(
        status=query["status"],
        name=query["name"],
        tags=tuple(query["tag"]),
        older_than_s=query["older_than"],
        newer_than_s=query["newer_than"],
        error=query["error"],
        paused=query["paused"],
        parent=query["parent"],
    )

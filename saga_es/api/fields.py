"""Marshmallow fields for values in the log: text, days and ids that every database stores and JSON carries."""

from __future__ import annotations

from datetime import date
from typing import Any
from uuid import UUID

from marshmallow import ValidationError, fields, validate


class Text(fields.String):
    """A string of bounded length, without NUL and unpaired surrogates.

    Args:
        longest: The most characters.
        shortest: The fewest characters.
    """

    def __init__(self, longest: int = 200, shortest: int = 1, **options: Any) -> None:
        super().__init__(validate=[validate.Length(shortest, longest), _is_storable], **options)


class Day(fields.String):
    """A day as `YYYY-MM-DD`, kept as that text."""

    def __init__(self, **options: Any) -> None:
        super().__init__(validate=_is_day, **options)
        self.metadata = {"format": "date", **self.metadata}


class Number(fields.Float):
    """A JSON number; a string of digits and a boolean are refused."""

    def _validated(self, value: Any) -> Any:
        if isinstance(value, (str, bytes, bool)):
            raise self.make_error("invalid", input=value)
        return super()._validated(value)


class Truth(fields.Boolean):
    """`true` or `false`; no other value is taken for them."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> bool:
        del attr, data, options
        if not isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        return value


class Id(fields.String):
    """A UUID, kept as text in its canonical form."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.metadata = {"format": "uuid", **self.metadata}

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> str:
        text = super()._deserialize(value, attr, data, **options)
        try:
            return str(UUID(text))
        except ValueError as error:
            raise ValidationError("Not a valid UUID.") from error


def _is_day(text: str) -> None:
    try:
        is_day = date.fromisoformat(text).isoformat() == text  # fromisoformat takes other spellings, too
    except ValueError:
        is_day = False
    if not is_day:
        raise ValidationError("Not a day; write YYYY-MM-DD.")


def _is_storable(text: str) -> None:
    if "\0" in text:
        raise ValidationError("Must not contain the character NUL.")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValidationError("Must be valid Unicode: half of a surrogate pair is missing.") from error

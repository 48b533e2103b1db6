"""Values of the application's own classes: read from JSON as a type says.

Models of pydantic are known by the module of their base. It is never imported here: whoever has a model has it. So it
is with schemas of marshmallow, which stand in an annotation: `Annotated[Order, OrderSchema]`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, get_origin

import msgspec

Reader = Callable[[bytes], Any]
"""Reads JSON as a type says; raises `msgspec.ValidationError`, with the path, where it does not fit."""

READING_FAILED = (msgspec.DecodeError, ValueError, TypeError, AttributeError)
"""What a reader raises: classes of the application, and models of pydantic, raise what they like in their checks."""


def is_model(kind: object) -> bool:
    """Whether a class is a model of pydantic."""
    return isinstance(kind, type) and any(
        base.__name__ == "BaseModel" and base.__module__ == "pydantic.main" for base in kind.__mro__
    )


class OfSchema:
    """Reads JSON by a schema of marshmallow, and makes values that JSON has.

    Args:
        schema: The schema.
    """

    def __init__(self, schema: Any) -> None:
        self._schema = schema

    def __call__(self, encoded: bytes) -> Any:
        """The value that the schema loads.

        Raises:
            ValueError: It does not fit; the fields are named, and what is wrong with them.
        """
        try:
            return self._schema.load(msgspec.json.decode(encoded))
        except Exception as error:
            if not hasattr(error, "normalized_messages"):
                raise
            raise ValueError(f"{error.normalized_messages()}") from None

    def dump(self, value: Any) -> Any:
        """The value as JSON has it."""
        return self._schema.dump(value)


def schema_of(kind: Any) -> OfSchema | None:
    """The schema of marshmallow that stands in an annotation; None if there is none."""
    if get_origin(kind) is not Annotated:
        return None
    for said in kind.__metadata__:
        its = said if isinstance(said, type) else type(said)
        if any(base.__name__ == "Schema" and base.__module__ == "marshmallow.schema" for base in its.__mro__):
            return OfSchema(said() if isinstance(said, type) else said)
    return None


def reader_of(kind: Any) -> Reader:
    """Reads JSON as a type says, which msgspec knows, or which holds models of pydantic.

    Raises:
        TypeError: There is a part that nobody could read.
    """
    return msgspec.json.Decoder(kind, dec_hook=_model).decode


def reads_back(value: object, encoded: bytes) -> bool:
    """Whether JSON, read as the class of the value says, is the value again."""
    try:
        return bool(reader_of(type(value))(encoded) == value)
    except READING_FAILED:
        return False


def as_json(model: Any) -> Any:
    """A model of pydantic as values that JSON has."""
    return model.model_dump(mode="json", by_alias=True)


def _model(kind: Any, value: Any) -> Any:
    if not is_model(kind):
        raise TypeError(f"{kind!r} cannot be read from JSON")
    try:
        return kind.model_validate_json(msgspec.json.encode(value))
    except ValueError as error:
        if not hasattr(error, "errors"):
            raise
        # Its own words hold the values, which nobody else should read.
        found = error.errors(include_input=False, include_context=False, include_url=False)
        raise ValueError("; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in found)) from None

"""The annotations of a function: as which types it gets what it asks for.

Only types that JSON does not have are read: a `dict[str, int]` is given as the log has it, without a look at it. So is
what has an annotation that nobody can read from JSON, such as a class without fields.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import lru_cache
from types import SimpleNamespace
from typing import Any, get_type_hints

import msgspec
from msgspec import inspect as types

from saga_es.core.typed import READING_FAILED, OfSchema, Reader, is_model, reader_of, schema_of
from saga_es.definition.signatures import Function, called_by

CONTEXT = "context"
"""The name by which a function gets the context of its call."""

RETURN = "return"

_NONE: Mapping[str, Reader] = {}
_PLAIN = (types.AnyType(), types.NoneType(), types.BoolType(), types.IntType(), types.FloatType(), types.StrType())


def readers_of(function: Function) -> Mapping[str, Reader]:
    """How the values of the parameters are read, by name; and the result, as `return`."""
    try:
        return _kept(function)
    except TypeError:  # the function is not hashable
        return _readers(function)


def typed(function: Function, given: dict[str, Any]) -> dict[str, Any]:
    """The values as the annotations of the function say. None stays None: it stands for a result that never came.

    Raises:
        ValueError: A value does not fit its annotation.
    """
    for name, read in readers_of(function).items():
        if given.get(name) is not None and name != CONTEXT:
            try:
                given[name] = read(msgspec.json.encode(given[name]))
            except READING_FAILED as error:
                asks = getattr(function, "__name__", repr(function))
                raise ValueError(f"{name!r} does not fit its annotation in {asks!r}: {error}") from error
    return given


def dumped(function: object, result: Any) -> Any:
    """What a function returned, as JSON has it, if its annotation names a schema of marshmallow for it."""
    if not callable(function):  # a request to a participant
        return result
    reader = readers_of(function).get(RETURN)
    return reader.dump(result) if isinstance(reader, OfSchema) else result


def _readers(function: Function) -> Mapping[str, Reader]:
    outermost: Any = called_by(function)
    called = inspect.unwrap(outermost)
    written = getattr(called, "__annotations__", None)
    if inspect.isclass(called) or not written:
        return _NONE
    found = {name: _reader(_evaluated(called, annotation)) for name, annotation in written.items()}
    return {name: reader for name, reader in found.items() if reader is not None} or _NONE


_kept = lru_cache(maxsize=4096)(_readers)


def _evaluated(called: Any, annotation: object) -> Any:
    """The type that an annotation means; `Any` if a name in it is not known where the function was written."""
    one = SimpleNamespace(__annotations__={RETURN: annotation})
    plain = inspect.unwrap(getattr(called, "__func__", called))
    try:
        around = inspect.getclosurevars(plain).nonlocals if inspect.isfunction(plain) else {}
        return get_type_hints(one, getattr(plain, "__globals__", {}), dict(around), include_extras=True)[RETURN]
    except Exception:  # noqa: BLE001 (evaluating an annotation runs code of the application)
        return Any


def _reader(kind: Any) -> Reader | None:
    """How a type is read; None where JSON has it, or where nobody can read it."""
    try:
        if (schema := schema_of(kind)) is not None:
            return schema
        found = types.type_info(kind)
        if _is_plain(found) or not _is_known(found, set()):
            return None
        return reader_of(kind)
    except Exception:  # noqa: BLE001 (a type may be anything: a text that is no type, a class that raises)
        return None


def _is_plain(found: Any) -> bool:
    """Whether JSON has the type, so that it is given as it is."""
    match found:
        case types.ListType(item_type=inner, min_length=None, max_length=None):
            return _is_plain(inner)
        case types.DictType(key_type=key, value_type=value, min_length=None, max_length=None):
            return _is_plain(value) and key in {types.AnyType(), types.StrType()}
        case types.UnionType(types=several):
            return all(map(_is_plain, several))
        case types.TypedDictType(fields=fields):
            return all(_is_plain(field.type) for field in fields)
        case types.LiteralType():
            return True
        case _:
            return found in _PLAIN


def _is_known(found: Any, seen: set[int]) -> bool:
    """Whether all classes in a type can be read."""
    if id(found) in seen:  # a class that holds itself
        return True
    seen.add(id(found))
    if isinstance(found, types.CustomType):
        return is_model(found.cls)
    if isinstance(found, tuple):
        return all(_is_known(one, seen) for one in found)
    if isinstance(found, msgspec.Struct):
        return all(_is_known(getattr(found, name), seen) for name in found.__struct_fields__)
    return True

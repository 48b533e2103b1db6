"""The door for values: which have a faithful JSON form, and where in a value the first is that has none.

Each value that enters the log from outside passes here: inputs, signals, results, bodies of requests. A value of a
class derived from a text, a number or a time, as libraries make them, enters as its base. A value without a faithful
form is a fault, which names the path to the value and the cure; nothing is changed without a word.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any

import msgspec

from saga_es.core.typed import as_json, is_model, reads_back

NO_FORM = (TypeError, ValueError, RecursionError, OverflowError, AttributeError, ArithmeticError)
"""What encoding raises for a value without a JSON form."""

MOST_LEVELS = 200
"""How deep a fault is looked for; the log accepts less."""

LONGEST_PATH = 200
"""Characters of a path that a message has."""

_KEY_CURE = "use texts as keys, str(key)"
_SHALLOW = "store a reference instead"
_PLAIN = "use dicts, lists, texts, numbers, booleans and None"


DEEPEST = 100
"""How deep lists and objects of an event may nest: deeper ones could be written by one process and not read by another.
"""

SHORT = 2 * (DEEPEST - 1)
"""Bytes of JSON up to which a value cannot be too deep: each level takes two."""

_BRACKET_OR_TEXT = re.compile(rb'"(?:[^"\\]|\\.)*"|([\[{])|([\]}])')


class Unfaithful(ValueError):
    """A value has no faithful JSON form; the message has its path, what is wrong, and the cure."""


def door(value: object, name: str) -> tuple[bytes, Any]:
    """The value as JSON and as it is read back, if that is faithful: the value again, or its documented text.

    Args:
        value: What enters.
        name: What the path to a fault begins with: `input`.

    Raises:
        Unfaithful: A part of the value has no faithful form.
    """
    encoded = _encoded(value, name)
    return encoded, _read_back(value, name, encoded, _fault)


def door_for_results(value: object, name: str) -> tuple[bytes, Any]:
    """The same for what has happened already: only what JSON does not have at all is a fault.

    Raises:
        Unfaithful: A part of the value has no JSON form, or is a number that JSON does not have.
    """
    try:  # as `_encoded` does: the result of each call comes here
        encoded = encode(value)
    except NO_FORM:
        encoded = _encoded(value, name)
    if len(encoded) > SHORT:
        _check_depth(encoded, name)
    if b"null" in encoded:  # it may have been NaN
        return encoded, _read_back(value, name, encoded, _fault_of_result)
    return encoded, msgspec.json.decode(encoded)


def _read_back(value: object, name: str, encoded: bytes, fault_of: FaultOf) -> Any:
    read = msgspec.json.decode(encoded)
    if not _is_same(value, read):  # a plain value is: then nothing has to be looked at
        for fault in _faults(value, name, fault_of):
            raise Unfaithful(fault)
        return _in_one_order(value, read)
    return read


def _in_one_order(value: object, read: Any) -> Any:
    """What is read back, sorted: a set has another order in each process, and a start may be repeated in another."""
    try:
        plain = msgspec.to_builtins(value, str_keys=True, enc_hook=_form_of, order="deterministic")
        return msgspec.json.decode(encode(plain))
    except NO_FORM:  # a set of what has no order
        return read


def _encoded(value: object, name: str) -> bytes:
    try:
        encoded = encode(value)
    except NO_FORM as error:
        fault = next(_faults(value, name, _fault_of_result), f"{name} has no JSON form: {error}")
        raise Unfaithful(fault) from error
    if len(encoded) > SHORT:
        _check_depth(encoded, name)
    return encoded


def _check_depth(encoded: bytes, name: str) -> None:
    if is_too_deep(encoded, DEEPEST - 1):  # the event that holds it is the first level
        raise Unfaithful(f"{name} holds more than {DEEPEST - 1} lists and objects in each other; {_SHALLOW}")


def _is_same(value: object, read: object) -> bool:
    try:
        return bool(read == value)
    except Exception:  # noqa: BLE001 (values compare as they like)
        return False


def is_too_deep(text: bytes, deepest: int = DEEPEST) -> bool:
    """Whether JSON nests deeper; almost free for short texts and for texts with few brackets."""
    if len(text) <= 2 * deepest:  # each level takes two characters
        return False
    if text.count(b"[") + text.count(b"{") <= deepest:
        return False
    depth = 0
    for found in _BRACKET_OR_TEXT.finditer(text):
        depth += bool(found.group(1)) - bool(found.group(2))
        if depth > deepest:
            return True
    return False


# ── What is derived from a base ──────────────────────────────────────────────────────────────────────────


def _builtin(kind: type[Any]) -> Any:
    """The class itself, also where a library has put one in its place that freezes time."""
    return next(base for base in kind.__mro__ if type(base) is type)


# In a dict, for freezing libraries replace what modules hold by name.
_BASE = {kind.__name__: _builtin(kind) for kind in (datetime, date, time, timedelta)}


def text_of(text: str) -> str:
    """A text as its base, for names and ids: keys are derived from them, and the log gives them back as their base.

    A class derived from a text may say something else of itself, such as the name of a member of an enumeration.
    """
    return str.__str__(text)


def base_of(value: Any) -> Any:  # noqa: PLR0911 (a table: one return a base)
    """The value as its base: a text, a number, a time, a dict.

    Raises:
        TypeError: It has no base that JSON has.
    """
    match value:
        case str():
            return text_of(value)
        case int():
            return int.__int__(value)
        case float():
            return float.__float__(value)
        case Decimal():
            return str(value)
        case Mapping():
            return dict(value)
        case _ if _is_a(value, "numpy", "generic"):
            return _of_numpy(value)
        case _ if _is_a(value, "uuid", "UUID"):
            return str(value)
        case _:
            return _time_of(value)


def _time_of(value: Any) -> Any:
    if value != value:  # noqa: PLR0124 (a time that is none: NaT)
        raise TypeError(f"{_type(value)} has no JSON form")
    if isinstance(value, _BASE["datetime"]):
        return _BASE["datetime"](*_fields(value, "datetime", _DATE + _TIME), value.tzinfo, fold=value.fold)
    if isinstance(value, _BASE["date"]):
        return _BASE["date"](*_fields(value, "date", _DATE))
    if isinstance(value, _BASE["time"]):
        return _BASE["time"](*_fields(value, "time", _TIME), value.tzinfo, fold=value.fold)
    if isinstance(value, _BASE["timedelta"]):
        return _BASE["timedelta"](*_fields(value, "timedelta", ("days", "seconds", "microseconds")))
    raise TypeError(f"{_type(value)} has no JSON form")


_DATE = ("year", "month", "day")
_TIME = ("hour", "minute", "second", "microsecond")


def _fields(value: Any, kind: str, names: tuple[str, ...]) -> Iterator[Any]:
    # As the base has them: a derived class may say something else by the same name.
    return (getattr(_BASE[kind], name).__get__(value) for name in names)


def _is_a(value: Any, module: str, name: str) -> bool:
    """Whether a value is of a class that we do not import: it need not be installed, or the core has no use for it."""
    return any(kind.__module__ == module and kind.__name__ == name for kind in type(value).__mro__)


def _of_numpy(value: Any) -> Any:
    plain = value.item()
    is_number = type(plain) in {bool, int, float} and "time" not in type(value).__name__  # a time as nanoseconds
    if is_number or isinstance(plain, (str, _BASE["date"])):
        return plain
    raise TypeError(f"{_type(value)} has no JSON form")


def _form_of(value: Any) -> Any:
    return as_json(value) if is_model(type(value)) else base_of(value)


encode = msgspec.json.Encoder(enc_hook=_form_of).encode
"""The value as JSON; raises one of `NO_FORM` where it has none. `_form_of` is asked only for what JSON lacks."""


# ── Faults ───────────────────────────────────────────────────────────────────────────────────────────────

FaultOf = Callable[[Any], "str | None"]
"""Says what is wrong with a value that holds no others, or with what holds others itself."""


def _faults(value: Any, path: str, fault_of: FaultOf) -> Iterator[str]:
    """The faults in a value, each with its path; the caller takes the first."""
    waiting = [(path, value, 0)]
    while waiting:
        path, value, level = waiting.pop()
        if _says_its_types(value) and _reads_back(value):
            continue
        fault = fault_of(value)
        if fault is not None:
            yield f"{_short(path)} {fault}"
        elif level > MOST_LEVELS:
            yield f"{_short(path)} is in more than {MOST_LEVELS} lists and objects, or holds itself; {_SHALLOW}"
        else:
            waiting += [(inner, held, level + 1) for inner, held in reversed(list(_held(path, value)))]


def _short(path: str) -> str:
    return path if len(path) <= LONGEST_PATH else f"{path[: LONGEST_PATH // 2]}…{path[-LONGEST_PATH // 2 :]}"


def _held(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    match value:
        case Mapping():
            yield from ((path + _step(key), held) for key, held in value.items())
        case list() | tuple() | set() | frozenset():
            yield from ((f"{path}[{place}]", held) for place, held in enumerate(value))
        case msgspec.Struct():
            yield from ((f"{path}.{name}", getattr(value, name)) for name in value.__struct_fields__)
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            yield from ((f"{path}.{field.name}", getattr(value, field.name)) for field in dataclasses.fields(value))
        case _ if is_model(type(value)):
            yield from ((f"{path}.{name}", held) for name, held in value)
        case _:
            return


def _says_its_types(value: Any) -> bool:
    """Whether a value is of a class with fields, whose annotations say how they are read from JSON."""
    return isinstance(value, msgspec.Struct) or dataclasses.is_dataclass(value) or is_model(type(value))


def _reads_back(value: Any) -> bool:
    try:
        return reads_back(value, encode(value))
    except NO_FORM:
        return False


def _step(key: object) -> str:
    return f".{key}" if isinstance(key, str) and key.isidentifier() else f"[{key!a:.80}]"


def _fault(value: Any) -> str | None:
    """What has no faithful form."""
    match value:
        case set() | frozenset():
            return "is a set, whose order is lost; use a list"
        case Decimal():
            return "is a Decimal, which JSON would turn into a text; use str(value), or a class with a field for it"
        case bytes() | bytearray() | memoryview():
            return f"is {len(value)} bytes, and JSON has none; use a text, base64 for example"
        case Mapping():
            key = next((key for key in value if not isinstance(key, str)), None)
            if key is not None or None in value:
                return f"has the key {key!a:.80}, of type {_type(key)}, which JSON would turn into a text; {_KEY_CURE}"
        case _:
            pass
    return _fault_of_result(value)


def _fault_of_result(value: Any) -> str | None:
    """What JSON does not have at all."""
    if _is_no_number(value):
        return f"is {_number(value)}, which JSON does not have; use None or a text"
    try:
        if isinstance(value, Mapping):
            encode(dict.fromkeys(value))
        elif next(_held("", value), None) is None:
            encode(value)
    except UnicodeEncodeError:
        return "is a text with an unpaired surrogate, which UTF-8 does not have; decode it with errors='replace'"
    except NO_FORM:
        if isinstance(value, Mapping):
            return f"has a key that JSON does not have; {_KEY_CURE}"
        return f"is of type {_type(value)}, which has no JSON form; {_PLAIN}"
    return None


def _is_no_number(value: Any) -> bool:
    try:
        plain = value.value if isinstance(value, Enum) else value
        plain = base_of(plain) if _is_a(plain, "numpy", "generic") else plain
    except NO_FORM:
        return False
    return isinstance(plain, float) and not math.isfinite(plain)


def _number(value: Any) -> str:
    plain = float(value.value if isinstance(value, Enum) else value)
    return "NaN" if math.isnan(plain) else "infinite"


def _type(value: object) -> str:
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"

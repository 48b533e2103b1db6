"""What a function asks for: the names of its parameters, and how they are given."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from functools import lru_cache, partial
from types import MethodType
from typing import Any

import msgspec

from saga_es.errors import DefinitionError

Function = Callable[..., Any]

_READ: dict[str, Any] = {}
if sys.version_info >= (
    3,
    14,
):  # annotations are evaluated when they are read: those of other programs may not be there
    from annotationlib import Format

    _READ = {"annotation_format": Format.STRING}

_ANY = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
_PLACED = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}


class Asked(msgspec.Struct, frozen=True):
    """The names that a function asks for.

    Attributes:
        needs: The parameters without a default, in order.
        may_have: The parameters with a default: they are given too when there is a value of that name.
        by_place: The parameters that are given by their place, each with its default.
    """

    needs: tuple[str, ...]
    may_have: tuple[str, ...] = ()
    by_place: tuple[tuple[str, Any], ...] = ()


def asked_by(function: Function) -> Asked:
    """The names that a function asks for.

    Raises:
        DefinitionError: The function cannot be called as a step: see `_read`.
    """
    try:
        return _kept(function)
    except TypeError:  # the function is not hashable
        return _read(function)


def call(function: Function, its: Asked, given: dict[str, Any]) -> Any:
    """Call a function with the values of the names that it asks for."""
    if not its.by_place:
        return function(**given)
    places = [given.pop(name, default) for name, default in its.by_place]
    return function(*places, **given)


def is_async(function: object) -> bool:
    """Whether a function is an `async def`: also in a `partial`, as a method, or as the call of an object.

    Others may return an awaitable all the same: that is known once they were called.
    """
    try:
        return _kept_is_async(function)
    except TypeError:  # the function is not hashable
        return _is_async(function)


def _is_async(function: object) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(called_by(function))


def _read(function: Function) -> Asked:
    """The names that a function asks for.

    Raises:
        DefinitionError: It is no function, it is a generator, its signature cannot be read, it takes whatever comes,
            or it cannot be called with the parameters that it names.
    """
    if not callable(function):
        is_method = isinstance(function, classmethod)
        cure = "give the method of the class, as in saga.step(Card.pay)" if is_method else "give a function"
        raise DefinitionError(f"{function!r} cannot be called; {cure}")
    called = called_by(function)
    if hasattr(called, "dispatch") and hasattr(called, "registry"):
        raise DefinitionError(
            f"{function!r} is a functools.singledispatch, which chooses by its first place, and a step is given names; "
            "wrap it in a function that names its parameters"
        )
    if inspect.isgeneratorfunction(called) or inspect.isasyncgenfunction(called):
        raise DefinitionError(
            f"{function!r} is a generator, and nothing of it would run; return a value instead of `yield`, or give a "
            "function that goes through the generator"
        )
    try:
        own, named = _signature(function, follow_wrapped=False), _named(function)
    except Exception as error:  # a signature that is computed may raise anything
        raise DefinitionError(f"the parameters of {function!r} cannot be read; wrap it in a function") from error
    return _asked(function, own, named)


def _asked(function: Function, own: inspect.Signature, named: inspect.Signature) -> Asked:
    kinds = {parameter.kind for parameter in own.parameters.values()}
    takes_places_alone = inspect.Parameter.VAR_POSITIONAL in kinds and inspect.Parameter.VAR_KEYWORD not in kinds
    fixed = function.keywords if isinstance(function, partial) else {}
    placed = _PLACED if takes_places_alone else {inspect.Parameter.POSITIONAL_ONLY}
    parameters = [parameter for name, parameter in named.parameters.items() if name not in fixed]
    for parameter in parameters:
        if parameter.kind in _ANY:
            raise DefinitionError(
                f"{function!r} must name each of its parameters, not {parameter}; name those that it needs, or "
                "have the decorator that made it use functools.wraps"
            )
    asked = Asked(
        tuple(one.name for one in parameters if one.default is one.empty),
        tuple(one.name for one in parameters if one.default is not one.empty),
        tuple((one.name, one.default) for one in parameters if one.kind in placed),
    )
    _check_takes(function, own, asked)
    return asked


def _check_takes(function: Function, own: inspect.Signature, asked: Asked) -> None:
    """Check that the outermost function takes what the one that it wraps asks for."""
    names = dict.fromkeys((*asked.needs, *asked.may_have))
    places = [names.pop(name) for name, _ in asked.by_place]
    try:
        own.bind(*places, **names)
    except TypeError as error:
        raise DefinitionError(
            f"{function!r} asks for {', '.join((*asked.needs, *asked.may_have))}, and cannot be called with them: "
            f"{error}; have its decorator pass on *args and **kwargs"
        ) from error


def _named(function: Function) -> inspect.Signature:
    """The signature of the outermost function that names its parameters: a decorator may add some, or take some."""
    if isinstance(function, MethodType):
        signature = _named(function.__func__)
        return signature.replace(parameters=list(signature.parameters.values())[1:])
    wrapped = getattr(function, "__wrapped__", None) if inspect.isfunction(function) else None
    own = _signature(function, follow_wrapped=wrapped is None)
    is_open = any(parameter.kind in _ANY for parameter in own.parameters.values())
    return _named(wrapped) if wrapped is not None and is_open else own


def _signature(function: Function, *, follow_wrapped: bool) -> inspect.Signature:
    try:
        return inspect.signature(function, follow_wrapped=follow_wrapped, **_READ)
    except ValueError:  # a wrapper in C, such as `lru_cache`, says what it takes by what it wraps
        return inspect.signature(function, **_READ)


def called_by(function: object) -> object:
    """The function that runs when this is called: without `partial`, and the `__call__` of an object."""
    while isinstance(function, partial):
        function = function.func
    if isinstance(function, staticmethod):
        return function.__func__
    plain = inspect.isroutine(function) or inspect.isclass(function)
    return function if plain else type(function).__call__


_kept = lru_cache(maxsize=4096)(_read)
"""Reading a signature costs 25 us, as much as the rest of a call of a short step."""

_kept_is_async = lru_cache(maxsize=4096)(_is_async)
"""The look costs 2 us, at every call."""

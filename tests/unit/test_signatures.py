"""What can be a step: anything that can be called and names its parameters. The rest is told while it is written."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from saga_es.definition.requests import Participant
from saga_es.definition.saga import Saga
from saga_es.definition.signatures import Asked, asked_by, call, is_async
from saga_es.errors import DefinitionError

if TYPE_CHECKING:
    from somewhere import Order  # type: ignore[import-not-found]  # as in a user's program: for the type checker alone

VALUES = {"input": 1, "key": "k", "saga_id": "s"}


def named(value: object) -> str:
    """The name of a case. It holds no address: the processes of one run must give a case the same name."""
    return value if isinstance(value, str) else str(getattr(value, "__name__", type(value).__name__))


def passing(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def inner(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return inner


def by_place(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def inner(*args: Any) -> Any:
        return function(*args)

    return inner


def by_name(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def inner(**kwargs: Any) -> Any:
        return function(**kwargs)

    return inner


def with_a_session(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def inner(input: Any, key: str = "none") -> Any:  # noqa: A002
        return function(input, key, session="session")

    return inner


def plain(input: Any, key: str = "none") -> Any:  # noqa: A002
    return input, key


def only_places(input: Any, key: str = "none", /) -> Any:  # noqa: A002
    return input, key


def only_names(*, input: Any, key: str = "none") -> Any:  # noqa: A002
    return input, key


def in_a_session(input: Any, key: str, session: str) -> Any:  # noqa: A002
    return input, key, session


def of_types_that_are_not_there(input: Order, key: Order = "none") -> Any:  # noqa: A002
    return input, key


def told_otherwise(*args: Any, **kwargs: Any) -> Any:
    return plain(*args, **kwargs)


told_otherwise.__signature__ = inspect.signature(plain)  # type: ignore[attr-defined]  # as some decorators write it


class Card:
    """What has methods, and can be called."""

    def __call__(self, input: Any, key: str = "none") -> Any:  # noqa: A002
        """What it was given."""
        return input, key

    def pay(self, input: Any, key: str = "none") -> Any:  # noqa: A002
        """What it was given."""
        return input, key

    @passing
    def decorated(self, input: Any, key: str = "none") -> Any:  # noqa: A002
        """What it was given."""
        return input, key

    @classmethod
    def of_the_class(cls, input: Any, key: str = "none") -> Any:  # noqa: A002
        """What it was given."""
        return input, key

    @staticmethod
    def alone(input: Any, key: str = "none") -> Any:  # noqa: A002
        """What it was given."""
        return input, key

    async def awaited(self, input: Any, key: str = "none") -> Any:  # noqa: A002
        """What it was given."""
        return input, key


class Remote:
    """An object whose call has to be awaited."""

    async def __call__(self, input: Any, key: str = "none") -> Any:  # noqa: A002
        """What it was given."""
        return input, key


CALLABLE = [
    plain,
    only_places,
    only_names,
    of_types_that_are_not_there,
    told_otherwise,
    lambda input, key="none": (input, key),  # noqa: A006
    passing(plain),
    passing(passing(plain)),
    passing(only_places),
    passing(only_names),
    by_place(plain),
    by_place(only_places),
    by_name(plain),
    by_name(only_names),
    with_a_session(in_a_session),
    passing(with_a_session(in_a_session)),
    functools.partial(plain),
    functools.partial(lambda rate, input, key="none": (input, key), 0.2),  # noqa: A006, ARG005
    functools.partial(lambda input, key="none", *, rate: (input, key), rate=0.2),  # noqa: A006, ARG005
    functools.partial(passing(plain)),
    functools.lru_cache(plain),
    Card(),
    Card().pay,
    Card().decorated,
    Card.of_the_class,
    Card.alone,
    staticmethod(plain),
]


@pytest.mark.parametrize("function", CALLABLE, ids=named)
def test_whatever_can_be_called_gets_what_it_asks_for(function: Callable[..., Any]) -> None:
    """However it takes its parameters, and whatever is wrapped around it; those with a default as well."""
    its = asked_by(function)
    assert (its.needs, its.may_have) == (("input",), ("key",))
    assert call(function, its, {"input": 1, "key": "k"})[:2] == (1, "k")
    assert call(function, its, {"input": 1})[:2] == (1, "none")


def test_what_a_partial_has_fixed_stays_as_it_is() -> None:
    """It was given on purpose."""
    assert asked_by(functools.partial(plain, key="mine")) == Asked(("input",))


@pytest.mark.parametrize(
    "function",
    [
        Card().awaited,
        Remote(),
        functools.partial(Remote()),
        functools.partial(Card().awaited),
        staticmethod(Card().awaited),
    ],
    ids=named,
)
def test_an_async_def_is_found_in_whatever_holds_it(function: Callable[..., Any]) -> None:
    """It begins on the event loop."""
    assert is_async(function)
    assert not is_async(plain)


def rows(input: Any) -> Iterator[Any]:  # noqa: A002
    yield input


async def pages(input: Any) -> AsyncIterator[Any]:  # noqa: A002
    yield input


class Rows:
    """An object whose call is a generator."""

    def __call__(self, input: Any) -> Iterator[Any]:  # noqa: A002
        """What it was given."""
        yield input


def unwrapped(*args: Any, **kwargs: Any) -> Any:
    return plain(*args, **kwargs)


def narrow(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def inner(*, saga_id: str, **kwargs: Any) -> Any:
        return function(saga_id, **kwargs)

    return inner


@pytest.mark.parametrize(
    ("function", "cure"),
    [
        (rows, "is a generator.*return a value"),
        (pages, "is a generator.*return a value"),
        (Rows(), "is a generator"),
        (functools.partial(rows), "is a generator"),
        (functools.singledispatch(plain), "is a functools.singledispatch.*wrap it in a function"),
        (functools.partial(functools.singledispatch(plain)), "is a functools.singledispatch"),
        (unwrapped, r"must name each of its parameters, not \*args.*functools.wraps"),
        (functools.partial(unwrapped), "functools.wraps"),
        (by_place(only_names), "cannot be called with them"),
        (by_name(only_places), "cannot be called with them"),
        (narrow(plain), "cannot be called with them"),
        (dict, "wrap it in a function"),
        (print, "must name each"),
        (Card.__dict__["of_the_class"], r"give the method of the class, as in saga.step\(Card.pay\)"),
        ("pay", "give a function"),
        (None, "give a function"),
    ],
    ids=named,
)
def test_what_cannot_be_a_step_is_told_with_the_cure(function: Any, cure: str) -> None:
    """While it is written, and not when the saga has done half of its work."""
    saga = Saga("s")
    saga.step(name="first")(plain)
    for write in (saga.step(name="second"), saga.compensates("first"), saga.probes("first")):
        with pytest.raises(DefinitionError, match=cure):
            write(function)


@pytest.mark.parametrize("function", [math.sqrt, Card.pay])
def test_a_function_that_asks_for_what_nobody_knows_is_told(function: Any) -> None:
    """Also the function in a class, which waits for its object."""
    with pytest.raises(DefinitionError, match=r"asks for 'x'|give the method of an object"):
        Saga("s").step(function)


def test_what_has_no_name_is_given_one() -> None:
    """And it is found by what it is, too: other steps may name it as it was given."""
    saga = Saga("s")
    charge = functools.partial(plain, key="mine")
    with pytest.raises(DefinitionError, match=r"has no name.*step\(name='pay'\)"):
        saga.step(charge)
    assert saga.step(name="charge")(charge) is charge
    saga.compensates(charge)(lambda charge: charge)
    card = Card()
    saga.step(name="pay", after=[charge], compensation=None)(card.pay)
    saga.step(name="book", after=[card.pay], compensation=None)(lambda pay: pay)
    assert [(step.name, step.after) for step in saga.plan.steps][1:] == [("pay", ("charge",)), ("book", ("pay",))]


async def soon(input: Any) -> bool:  # noqa: A002
    return bool(input)


def test_a_condition_and_a_body_are_no_async_def() -> None:
    """What they return would always hold, or never be sent."""
    saga = Saga("s")
    with pytest.raises(DefinitionError, match="await in a step before it"):
        saga.step(when=soon, compensation=None)(plain)
    with pytest.raises(DefinitionError, match="await in a step before it"):
        saga.request("a", Participant("desk").post("/", soon), compensation=None)

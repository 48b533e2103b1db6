"""The door for values: what enters comes back as it was, or is refused with the path to it."""

from __future__ import annotations

import dataclasses
import enum
import math
import types
from collections import OrderedDict, namedtuple
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import numpy as np
import pendulum
import pytest
from freezegun import freeze_time
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from saga_es.core.values import DEEPEST, Unfaithful, door, door_for_results, is_too_deep

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
DOORS = (door, door_for_results)


class Words(str):  # noqa: SLOT000 (as users write it)
    """A text as templates make it, which says something else of itself."""

    def __str__(self) -> str:
        return "something else"


class Number(int):
    """A number with a method too many."""

    def __int__(self) -> int:
        return 99


class Fraction(float):
    """The same."""


class Instant(datetime):
    """A time as libraries derive it."""


class Day(date):
    """A day."""


class Span(timedelta):
    """A time span."""


class Price(enum.Enum):
    """A number with a name that is none."""

    UNKNOWN = math.nan


class Colour(enum.IntEnum):
    """A number with a name."""

    RED = 1


class Shade(enum.StrEnum):
    """A text with a name."""

    DARK = "dark"


@dataclasses.dataclass
class Line:
    """A part of an order."""

    price: Any


class Order(msgspec.Struct):
    """An order."""

    lines: list[Any]


Pair = namedtuple("Pair", "left right")  # noqa: PYI024 (as users write it)


@pytest.mark.parametrize("through", DOORS)
@given(value=JSON)
def test_a_plain_value_is_itself(through: Any, value: Any) -> None:
    """Whatever JSON has goes in and out unchanged."""
    encoded, read = through(value, "input")
    assert (read, msgspec.json.decode(encoded)) == (value, value)


IN_TOKYO = datetime(2024, 2, 29, 23, 59, 58, 123457, tzinfo=timezone(timedelta(hours=9)))
DERIVED: list[tuple[Any, Any]] = [
    (Words("as it is"), "as it is"),
    (Number(3), 3),
    (Fraction(1.5), 1.5),
    (Colour.RED, 1),
    (Shade.DARK, "dark"),
    (Markup("<b>it</b>"), "<b>it</b>"),
    (Instant(2024, 2, 29, 23, 59, 58, 123457, IN_TOKYO.tzinfo), "2024-02-29T23:59:58.123457+09:00"),
    (Day(2024, 2, 29), "2024-02-29"),
    (Span(days=1, seconds=2), "P1DT2S"),
    (pendulum.datetime(2024, 2, 29, 1, 2, 3), "2024-02-29T01:02:03Z"),
    (pendulum.date(2024, 2, 29), "2024-02-29"),
    (pendulum.duration(days=1, seconds=2), "P1DT2S"),
    (np.float64(1.5), 1.5),
    (np.float32(1.5), 1.5),
    (np.int64(3), 3),
    (np.bool_(1), True),
    (np.str_("x"), "x"),
    (np.datetime64("2024-02-29"), "2024-02-29"),
    (types.MappingProxyType({"a": (1, 2)}), {"a": [1, 2]}),
    (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
    (Pair(1, 2), [1, 2]),
    ({Words("key"): 1}, {"key": 1}),
    (IN_TOKYO, "2024-02-29T23:59:58.123457+09:00"),
    (time(1, 2), "01:02:00"),
    (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    (Line(3), {"price": 3}),
    (Order([Line(None)]), {"lines": [{"price": None}]}),
    (10**30, 10**30),
]


@pytest.mark.parametrize("through", DOORS)
@pytest.mark.parametrize(("value", "read"), DERIVED, ids=[type(value).__name__ for value, _ in DERIVED])
def test_what_is_derived_from_a_base_enters_as_its_base(through: Any, value: Any, read: Any) -> None:
    """Texts, numbers and times of libraries, alone and in the depth of a value."""
    assert through(value, "input")[1] == read
    assert through({"a": [value, None]}, "input")[1] == {"a": [read, None]}


def test_a_time_that_a_test_has_frozen_is_a_time() -> None:
    """A library that freezes time gives instances of classes of its own."""
    with freeze_time("2020-01-01 12:00:00"):
        given_ = {"at": datetime.now(UTC), "on": date.today()}  # noqa: DTZ011 (a day as a host's test has it)
        for through in DOORS:
            assert through(given_, "input")[1] == {"at": "2020-01-01T12:00:00Z", "on": "2020-01-01"}


UNFAITHFUL: list[tuple[str, Any]] = [
    ("input.lines[2].price is NaN, which JSON does not have", {"lines": [{"price": n} for n in (1, None, math.nan)]}),
    ("input is infinite", math.inf),
    ("input[1] is infinite", [None, -math.inf]),
    ("input.price is NaN", Line(math.nan)),
    ("input.lines[0].price is infinite", Order([Line(math.inf)])),
    ("input.a is NaN", {"a": np.float32("nan")}),
    ("input.a is NaN", {"a": Fraction("nan")}),
    ("input.a is NaN", {"a": Price.UNKNOWN}),
    (
        "input['unit price'].x is of type object, which has no JSON form; use dicts, lists",
        {"unit price": {"x": object()}},
    ),
    ("input.x is of type numpy.ndarray", {"x": np.array([1])}),
    ("input.at is of type numpy.datetime64", {"at": np.datetime64("2024-01-01T00:00:00.000000001")}),
    ("input.f is of type function", {"f": lambda: 1}),
    ("input.kind is of type type", {"kind": Line}),
    ("input.a[0] is a text with an unpaired surrogate", {"a": ["\ud800"]}),
    ("input has a key that JSON does not have; use texts as keys", {(1, 2): 3}),
    ("input.a has a key that JSON does not have", {"a": {None: 3}}),
]


@pytest.mark.parametrize("through", DOORS)
@pytest.mark.parametrize(("said", "value"), UNFAITHFUL, ids=[said[:40] for said, _ in UNFAITHFUL])
def test_what_json_does_not_have_is_refused_with_its_path(through: Any, said: str, value: Any) -> None:
    """The path, what is wrong, and the cure, in a line that is not long."""
    with pytest.raises(Unfaithful) as refused:
        through(value, "input")
    message = str(refused.value)
    assert message.startswith(said)
    assert ";" in message


@pytest.mark.parametrize("through", DOORS)
def test_a_value_that_holds_itself_is_refused_in_a_line_that_is_not_long(through: Any) -> None:
    """However long the path is."""
    cyclic: list[Any] = []
    cyclic.append(cyclic)
    with pytest.raises(Unfaithful, match="or holds itself; store a reference instead") as refused:
        through(cyclic, "input")
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ("input.a has the key 1, of type int, which JSON would turn into a text; use texts as keys", {"a": {1: 2}}),
        ("input has the key 1.5", {"a": 1, 1.5: 2}),
        ("input has the key datetime.date(2024, 1, 1)", {date(2024, 1, 1): 2}),
        ("input.a is a set, whose order is lost; use a list", {"a": {1, 2}}),
        ("input.a[0] is 3 bytes, and JSON has none; use a text", {"a": [b"abc"]}),
        ("input.price is a Decimal, which JSON would turn into a text; use str(value)", {"price": Decimal("1.10")}),
        ("input[0] is a Decimal", [Decimal("NaN")]),
    ],
)
def test_what_json_would_change_is_refused_at_the_door_and_accepted_of_what_has_happened(said: str, value: Any) -> None:
    """Of an input nothing was done yet; a result is kept as JSON has it."""
    with pytest.raises(Unfaithful) as refused:
        door(value, "input")
    assert str(refused.value).startswith(said)
    assert door_for_results(value, "result")


@given(
    value=JSON,
    place=st.lists(st.sampled_from(["a", 0]), min_size=1, max_size=6),
    bad=st.sampled_from([math.nan, math.inf]),
)
def test_the_first_fault_is_found_wherever_it_is(value: Any, place: list[Any], bad: float) -> None:
    """The path leads to it, through anything else that is in the value."""
    held: Any = bad
    for key in reversed(place):
        held = {"z": value, "a": held} if key == "a" else [held, value]
    path = "".join(".a" if key == "a" else "[0]" for key in place)
    for through in DOORS:
        with pytest.raises(Unfaithful, match=r"is NaN|is infinite") as refused:
            through(held, "input")
        assert str(refused.value).startswith(f"input{path} is ")


@pytest.mark.parametrize("through", DOORS)
def test_a_value_nests_one_level_less_than_its_event(through: Any) -> None:
    """The event that holds it is the first level."""
    value: Any = 1
    for _ in range(DEEPEST - 1):
        value = [value]
    encoded, _ = through(value, "result")
    assert not is_too_deep(encoded)
    with pytest.raises(Unfaithful, match=f"result holds more than {DEEPEST - 1} lists and objects"):
        through([value], "result")
    for _ in range(100_000):
        value = [value]
    with pytest.raises(Unfaithful, match="lists and objects"):
        through(value, "result")

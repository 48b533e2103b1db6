"""Events of older schemas are read as if they were written today; those of newer ones are refused, never guessed at."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from saga_es.core.upcasters import Upcasters, present_schema, upcast
from saga_es.errors import DefinitionError, UnreadableEvent
from saga_es.store.log.codec import SAGA, Codec


class Seated(msgspec.Struct, frozen=True):
    """Somebody has a seat; the row was once part of its name, and then counted from 0."""

    row: int
    seat: str


def parted(fields: dict[str, Any]) -> dict[str, Any]:
    """Schema 1 to 2: `{"seat": "3b"}` became a row and a seat."""
    return {"row": int(fields["seat"][0]), "seat": fields["seat"][1:]}


def counted_from_one(fields: dict[str, Any]) -> dict[str, Any]:
    """Schema 2 to 3: rows count from 1."""
    return {**fields, "row": fields["row"] + 1}


UPCASTERS: Upcasters = {("hall", "Seated", 1): parted, ("hall", "Seated", 2): counted_from_one}
CODEC = Codec({"hall": [Seated]}, upcasters=UPCASTERS)


@pytest.mark.parametrize(
    ("schema", "text"),
    [(1, '{"seat":"3b"}'), (2, '{"row":3,"seat":"b"}'), (3, '{"row":4,"seat":"b"}'), (None, '{"row":4,"seat":"b"}')],
)
def test_whatever_schema_it_was_written_in_it_is_read_as_today(schema: int | None, text: str) -> None:
    """From each schema to the next, in order, and no further."""
    assert CODEC.decode("hall", "Seated", text, schema) == Seated(4, "b")


def test_the_present_schema_is_the_one_behind_the_last_upcaster_of_the_category() -> None:
    """Of each category for itself; without upcasters it is the first."""
    assert present_schema("hall", UPCASTERS) == CODEC.schema("hall") == 3
    assert present_schema("bar", UPCASTERS) == CODEC.schema(SAGA) == CODEC.schema("never heard of") == 1


def test_an_event_that_did_not_change_goes_through_the_schemas_as_it_is() -> None:
    """A category's schema counts for all its types; only some have an upcaster."""
    assert upcast({"a": 1}, "hall", "Opened", 1, UPCASTERS) == {"a": 1}


def test_a_newer_schema_is_refused_with_both_numbers() -> None:
    """Also where the fields would fit: what they mean is not known."""
    with pytest.raises(UnreadableEvent, match=r"of schema 4, .* up to schema 3"):
        CODEC.decode("hall", "Seated", '{"row":4,"seat":"b"}', 4)
    with pytest.raises(UnreadableEvent, match=r"of schema 2, .* up to schema 1"):
        CODEC.decode(SAGA, "SagaBegan", "{}", 2)


@pytest.mark.parametrize("text", ['{"seat":"?"}', "{}", "[]", "nonsense", '{"seat":"3b","seat":7}'])
def test_an_upcaster_that_fails_makes_the_event_unreadable_and_nothing_else(text: str) -> None:
    """Its schema and what went wrong are told."""
    with pytest.raises(UnreadableEvent, match="from schema 1 to 3"):
        CODEC.decode("hall", "Seated", text, 1)


def test_a_field_that_a_newer_version_added_within_a_schema_is_passed_over() -> None:
    """Only what may be passed over is added so; anything else is a new schema."""
    assert CODEC.decode("hall", "Seated", '{"row":4,"seat":"b","colour":"red"}', 3) == Seated(4, "b")


def test_an_upcaster_for_an_event_there_is_not_is_a_mistake_in_the_definition() -> None:
    """A misspelt one would never be called."""
    with pytest.raises(DefinitionError, match="'Seatd' in category 'hall'"):
        Codec({"hall": [Seated]}, upcasters={("hall", "Seatd", 1): parted})

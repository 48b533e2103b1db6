"""Ids: new ones, and those that must come out the same after every crash."""

from __future__ import annotations

import time
from uuid import RFC_4122, UUID

from saga_es.core.outcomes import Direction
from saga_es.runtime.ids import idempotency_key, new_id, saga_id_for

SAGA_ID = "018f0000-0000-7000-8000-000000000001"


def test_a_new_id_is_a_uuid_of_version_7() -> None:
    """Version and variant are where RFC 9562 has them, and the text is the canonical one."""
    made = [UUID(new_id()) for _ in range(200)]
    assert {value.version for value in made} == {7}
    assert {value.variant for value in made} == {RFC_4122}
    assert str(made[0]) == str(UUID(str(made[0])))


def test_a_new_id_carries_its_moment() -> None:
    """Its first 48 bits are milliseconds since 1970, so ids made later sort later."""
    before = time.time_ns() // 1_000_000
    stamp = UUID(new_id()).int >> 80
    assert before <= stamp <= time.time_ns() // 1_000_000


def test_no_two_new_ids_are_the_same() -> None:
    """Also not within one millisecond."""
    assert len({new_id() for _ in range(10_000)}) == 10_000


def test_an_idempotency_key_is_the_same_for_ever() -> None:
    """A UUIDv5 of saga id, step and direction; this very key may stand at a participant."""
    key = idempotency_key(SAGA_ID, "venue", Direction.ACTION)
    assert key == idempotency_key(SAGA_ID, "venue", Direction.ACTION) == "e6985f4c-8541-585d-80c3-fcda94b128f4"
    assert UUID(key).version == 5


def test_each_call_of_a_saga_has_its_own_key() -> None:
    """The saga, the step, and whether it is done or undone, each make another; a probe asks by the action's."""
    keys = {
        idempotency_key(saga_id, step, direction)
        for saga_id in (SAGA_ID, new_id())
        for step in ("event", "venue")
        for direction in (Direction.ACTION, Direction.COMPENSATION)
    }
    assert len(keys) == 8


def test_a_callers_key_stands_for_one_saga_of_a_definition() -> None:
    """The same key is the same saga, in every process; another definition's is another."""
    assert saga_id_for("order", "k") == saga_id_for("order", "k") == "1eefd787-1199-54e9-9ef0-7a64301a0b8b"
    assert len({saga_id_for("order", "k"), saga_id_for("order", "l"), saga_id_for("refund", "k")}) == 3


def test_a_slash_in_a_key_does_not_make_it_another_sagas() -> None:
    """The name and the key are kept apart, whatever characters are in them."""
    assert saga_id_for("order", "a/b") != saga_id_for("order/a", "b")

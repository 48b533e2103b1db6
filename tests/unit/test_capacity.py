"""Room: the sagas with calls out, against the limits of a worker."""

from __future__ import annotations

from saga_es.runtime.capacity import Capacity


def test_without_limits_there_is_always_capacity() -> None:
    """However many sagas have calls out."""
    room = Capacity()
    assert all(room.reserve("trip") for _ in range(10_000))
    assert room.open_to(["trip", "order"]) == ["trip", "order"]
    assert not room.end_batch()


def test_a_saga_takes_one_place_however_many_calls_it_has_out() -> None:
    """And gives it back with the last of them."""
    room = Capacity(2)
    for _ in range(3):
        room.acquire("s-1", "trip")
    assert room.left == 1
    for left in (1, 1, 2):
        room.release("s-1")
        assert room.left == left


def test_what_is_reserved_counts_until_the_turn_ends() -> None:
    """By then the calls are out, or never will be."""
    room = Capacity(2)
    assert [room.reserve("trip") for _ in range(3)] == [True, True, False]
    room.acquire("s-1", "trip")
    room.end_batch()
    assert room.left == 1


def test_a_definition_has_a_limit_of_its_own_within_the_workers() -> None:
    """Others are not kept out by it."""
    room = Capacity(3, {"trip": 1})
    assert [room.reserve(name) for name in ("trip", "trip", "order", "order", "order")] == [
        *(True, False, True),
        *(True, False),
    ]
    room.end_batch()
    room.acquire("s-1", "trip")
    assert room.open_to(["trip", "order"]) == ["order"]
    assert (room.left_of("trip"), room.left_of("order")) == (0, 2)


def test_those_who_found_no_room_are_called_when_a_quarter_is_free() -> None:
    """Not at the first free place, and once; whoever found room is not called at all."""
    room = Capacity(8)
    for n in range(8):
        room.acquire(f"s-{n}", "trip")
    assert not room.end_batch()
    assert not room.reserve("trip")
    called = []
    for n in range(8):
        room.release(f"s-{n}")
        called.append(room.end_batch())
    assert called == [False, False, True, False, False, False, False, False]


def test_a_limit_of_one_calls_at_once() -> None:
    """There is nothing to wait for."""
    room = Capacity(1)
    room.acquire("s-1", "trip")
    assert room.open_to(["trip"]) == []
    assert not room.end_batch()
    room.release("s-1")
    assert room.end_batch()


def test_a_definition_that_was_full_calls_when_it_has_room() -> None:
    """Though the worker had room all the time."""
    room = Capacity(100, {"trip": 2})
    for n in range(2):
        room.acquire(f"s-{n}", "trip")
    assert room.open_to(["trip", "order"]) == ["order"]
    assert not room.end_batch()
    room.release("s-0")
    assert room.end_batch()

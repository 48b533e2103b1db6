"""The barrier, in the transactions of a service that has nothing else of ours, on the three databases."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError, IntegrityError

from saga_es.errors import PayloadUnencodable
from saga_es.participant import TooLate, TryAgain
from saga_es.participant.barrier import LONGEST_KEY, BadKey
from tests.conftest import TIMEOUT_S
from tests.support.hotel import AT_ONCE, Hotel

LEVELS = ("default", "SERIALIZABLE")


@pytest.fixture(params=LEVELS)
def hotel(request: pytest.FixtureRequest, database_url: str) -> Iterator[Hotel]:
    """A hotel on each database, at its default isolation level and at the strictest."""
    made = Hotel(database_url, request.param)
    yield made
    made.close()


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Make calls at the same moment, each in a thread; what they return or raise, in their order."""
    start = threading.Barrier(len(calls))

    def one(call: Callable[[], Any]) -> Any:
        start.wait(TIMEOUT_S)
        try:
            return call()
        except TooLate as error:
            return error

    with ThreadPoolExecutor(len(calls)) as threads:
        return [future.result(TIMEOUT_S) for future in [threads.submit(one, call) for call in calls]]


# ── One after the other ──────────────────────────────────────────────────────────────────────────────────


def test_a_repeated_call_is_answered_like_the_first_and_acts_once(hotel: Hotel) -> None:
    """Also when it asks for something else under the same key."""
    first = hotel.book("k")
    assert hotel.book("k") == first
    assert hotel.book("k", guest="Eva") == first
    assert hotel.guests == ["Ada"]


def test_every_key_is_a_call_of_its_own(hotel: Hotel) -> None:
    """Keys are compared byte for byte, also where the database would ignore case and final blanks."""
    answers = [hotel.book(key) for key in ("k", "K", "k ", "ḱ")]
    assert len({answer["room"] for answer in answers}) == 4


def test_a_call_without_a_key_just_acts(hotel: Hotel) -> None:
    """It is no saga's; nothing is remembered of it."""
    hotel.book(None)
    hotel.book(None)
    assert hotel.guests == ["Ada", "Ada"]
    assert hotel.keys == []


@pytest.mark.parametrize(
    "answer", [None, {}, [], 0, False, "", "ü\0☃", {"long": "x" * 100_000}, [1, [2.5, {"a": None}]]]
)
def test_any_json_value_is_an_answer(hotel: Hotel, answer: Any) -> None:
    """Given again as it was; one that is nothing is not taken for none."""
    acts = []

    def act() -> Any:
        acts.append(1)
        return answer

    for _ in range(2):
        with hotel.engine.begin() as connection:
            assert hotel.barrier.act(connection, "k", act) == answer
    assert len(acts) == 1


def test_an_answer_with_a_number_that_json_does_not_have_is_refused_with_its_path(hotel: Hotel) -> None:
    """It would be null for every repetition; what was done is rolled back, and the key is free."""
    with pytest.raises(PayloadUnencodable) as caught, hotel.engine.begin() as connection:
        hotel.barrier.act(connection, "k", lambda: {"rooms": [{"price": float("nan")}]})
    assert str(caught.value) == "answer.rooms[0].price is NaN, which JSON does not have; use None or a text"
    assert hotel.keys == []
    with hotel.engine.begin() as connection:
        assert hotel.barrier.act(connection, "k", lambda: {"price": None}) == {"price": None}


def test_an_undo_is_given_the_answer_and_takes_place_once(hotel: Hotel) -> None:
    """The first says that something was undone, the next that nothing was."""
    hotel.book("k")
    assert hotel.cancel("k") is True
    assert hotel.cancel("k") is False
    assert hotel.guests == []


def test_an_undo_of_what_was_never_done_is_remembered(hotel: Hotel) -> None:
    """The late call is refused, each time; others are not."""
    assert hotel.cancel("k") is False
    for _ in range(2):
        with pytest.raises(TooLate, match="the key k was undone") as refused:
            hotel.book("k")
        assert refused.value.key == "k"
    hotel.book("another")
    assert hotel.guests == ["Ada"]


def test_what_was_undone_is_not_done_again(hotel: Hotel) -> None:
    """A duplicate that comes after the undo is refused."""
    hotel.book("k")
    hotel.cancel("k")
    with pytest.raises(TooLate):
        hotel.book("k")
    assert hotel.guests == []


def test_an_act_that_raises_leaves_nothing(hotel: Hotel) -> None:
    """Neither what it wrote nor its key: the repetition acts."""

    def fails(connection: Connection) -> Any:
        connection.execute(sa.insert(hotel.rooms).values(guest="Eva"))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), hotel.engine.begin() as connection:
        hotel.barrier.act(connection, "k", lambda: fails(connection))
    assert hotel.guests == []
    assert hotel.keys == []
    hotel.book("k")
    assert hotel.guests == ["Ada"]


def fail_and_commit(hotel: Hotel) -> None:
    """What no service should write."""

    def fails() -> Any:
        raise ZeroDivisionError

    with hotel.engine.begin() as connection, suppress(ZeroDivisionError):
        hotel.barrier.act(connection, "k", fails)


def test_a_key_whose_act_raised_counts_as_not_done_also_when_the_transaction_is_committed(hotel: Hotel) -> None:
    """A mistake of the service's, that must not block the key for ever."""
    fail_and_commit(hotel)
    assert hotel.keys == ["k"]
    answers = at_once(*[lambda: hotel.insistently(lambda: hotel.book("k"))] * AT_ONCE)
    assert answers == answers[:1] * AT_ONCE
    assert hotel.guests == ["Ada"]


def test_an_undo_of_what_raised_is_an_undo_of_nothing(hotel: Hotel) -> None:
    """And is remembered."""
    fail_and_commit(hotel)
    assert hotel.cancel("k") is False
    with pytest.raises(TooLate):
        hotel.book("k")


def test_an_answer_that_is_not_json_leaves_nothing(hotel: Hotel) -> None:
    """It could not be given again."""
    with pytest.raises(PayloadUnencodable), hotel.engine.begin() as connection:
        hotel.barrier.act(connection, "k", lambda: {"when": object()})
    assert hotel.keys == []


def test_an_undo_that_raises_leaves_what_was_done(hotel: Hotel) -> None:
    """And the repetition undoes it."""
    hotel.book("k")

    def fails(booked: Any) -> None:
        raise ZeroDivisionError(booked)

    with pytest.raises(ZeroDivisionError), hotel.engine.begin() as connection:
        hotel.barrier.undo(connection, "k", fails)
    assert hotel.guests == ["Ada"]
    assert hotel.cancel("k") is True
    assert hotel.guests == []


def test_the_service_may_read_and_write_before_it_acts(hotel: Hotel) -> None:
    """The transaction is its own; on each database the barrier is one more statement in it."""
    with hotel.engine.begin() as connection:
        connection.execute(sa.insert(hotel.rooms).values(guest="Eva"))
        assert connection.scalar(sa.select(sa.func.count()).select_from(hotel.rooms)) == 1
        hotel.barrier.act(connection, "k", lambda: hotel._insert(connection, "Ada"))
        connection.rollback()
    assert hotel.guests == []
    assert hotel.keys == []


def test_an_error_that_is_the_services_own_passes_as_it_is(hotel: Hotel) -> None:
    """What the database says of the work is no matter of the barrier."""

    def twice(connection: Connection) -> None:
        for _ in range(2):
            connection.execute(sa.insert(hotel.rooms).values(id=7, guest="Eva"))

    with pytest.raises(IntegrityError), hotel.engine.begin() as connection:
        hotel.barrier.act(connection, "k", lambda: twice(connection))
    assert hotel.guests == []


def test_a_table_that_was_not_made_is_said_to_be_missing(hotel: Hotel) -> None:
    """To try again would not help."""
    hotel.barrier.table.drop(hotel.engine)
    with pytest.raises(DBAPIError, match="saga_barrier"):
        hotel.book("k")


@pytest.mark.parametrize("key", ["", "x" * (LONGEST_KEY + 1), "a\0b", "a\ud800b", "a\nb"])
def test_a_key_that_cannot_be_kept_is_refused(hotel: Hotel, key: str) -> None:
    """By every database alike, before anything is done."""
    with pytest.raises(BadKey):
        hotel.book(key)
    with pytest.raises(BadKey):
        hotel.cancel(key)
    assert hotel.guests == []


def test_the_longest_key_is_kept(hotel: Hotel) -> None:
    """Of characters, not bytes."""
    key = "ü" * LONGEST_KEY
    assert hotel.book(key) == hotel.book(key)


def test_keys_are_forgotten_by_age(hotel: Hotel) -> None:
    """Only those seen before the time; a call with a forgotten key is a new one."""
    hotel.book("k")
    now = datetime.now(UTC)
    with hotel.engine.begin() as connection:
        assert hotel.barrier.forget(connection, now - timedelta(hours=1)) == 0
        assert hotel.barrier.forget(connection, now + timedelta(hours=1)) == 1
    hotel.book("k")
    assert hotel.guests == ["Ada", "Ada"]


# ── At the same time ─────────────────────────────────────────────────────────────────────────────────────


def test_of_calls_at_once_one_acts_and_all_have_its_answer(hotel: Hotel) -> None:
    """Each insists, as a saga does."""
    calls = [lambda guest=f"guest {n}": hotel.insistently(lambda: hotel.book("k", guest)) for n in range(AT_ONCE)]
    first, *others = at_once(*calls)
    assert others == [first] * (AT_ONCE - 1)
    assert hotel.guests == [first["guest"]]


@pytest.mark.parametrize("round_", range(5))
def test_a_call_and_its_undo_at_once_end_undone(hotel: Hotel, round_: int) -> None:
    """Whichever comes first; the call is answered or refused, and never stays."""
    calls = [lambda: hotel.insistently(lambda: hotel.book("k"))] * 3
    undos = [lambda: hotel.insistently(lambda: hotel.cancel("k"))] * 3
    answers = at_once(*calls, *undos) if round_ % 2 else list(reversed(at_once(*undos, *calls)))
    assert hotel.guests == []
    booked = [answer for answer in answers[:3] if not isinstance(answer, TooLate)]
    assert answers[3:].count(True) == bool(booked), "undone once if it was done, else never"
    with pytest.raises(TooLate):
        hotel.book("k")


def test_an_undo_waits_for_the_call_that_is_acting(hotel: Hotel) -> None:
    """It does not take it for one that never came."""
    hotel.may_end.clear()
    with ThreadPoolExecutor(2) as threads:
        booking = threads.submit(hotel.book, "k")
        assert hotel.acted.wait(TIMEOUT_S)
        undoing = threads.submit(hotel.insistently, lambda: hotel.cancel("k"))
        with pytest.raises(TimeoutError):
            undoing.result(0.2)
        hotel.may_end.set()
        assert booking.result(TIMEOUT_S)["guest"] == "Ada"
        assert undoing.result(TIMEOUT_S) is True
    assert hotel.guests == []


def test_undos_at_once_undo_once(hotel: Hotel) -> None:
    """One waits for the other, and finds that there is nothing left."""
    hotel.book("k")
    undoing, may_end = threading.Event(), threading.Event()
    undone = []

    def slowly(booked: Any) -> None:
        undone.append(booked)
        undoing.set()
        assert may_end.wait(TIMEOUT_S)

    def undo() -> bool:
        with hotel.engine.begin() as connection:
            return hotel.barrier.undo(connection, "k", slowly)

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(undo)
        assert undoing.wait(TIMEOUT_S)
        second = threads.submit(hotel.insistently, undo)
        with pytest.raises(TimeoutError):
            second.result(0.2)
        may_end.set()
        assert (first.result(TIMEOUT_S), second.result(TIMEOUT_S)) == (True, False)
    assert len(undone) == 1


PATIENCE = {
    "sqlite": "PRAGMA busy_timeout = 200",
    "postgresql": "SET lock_timeout = 200",
    "mysql": "SET SESSION innodb_lock_wait_timeout = 1",
}
"""How a service says that it will not wait for long."""


def test_a_call_that_has_no_patience_left_is_to_be_repeated(hotel: Hotel) -> None:
    """However each database says so; nothing was done."""
    hotel.may_end.clear()
    with ThreadPoolExecutor(1) as threads, hotel.engine.connect() as connection:
        booking = threads.submit(hotel.book, "k")
        assert hotel.acted.wait(TIMEOUT_S)
        connection.exec_driver_sql(PATIENCE[hotel.engine.dialect.name])
        for call in (
            lambda: hotel.barrier.act(connection, "k", lambda: hotel._insert(connection, "Eva")),
            lambda: hotel.barrier.undo(connection, "k", lambda booked: hotel._delete(connection, booked["room"])),
        ):
            with pytest.raises(TryAgain, match="the key k") as told:
                call()
            assert told.value.key == "k"
            connection.rollback()
            connection.exec_driver_sql(PATIENCE[hotel.engine.dialect.name])
        hotel.may_end.set()
        booking.result(TIMEOUT_S)
    assert hotel.guests == ["Ada"]


def test_when_the_call_that_acts_fails_one_that_waits_acts_instead(hotel: Hotel) -> None:
    """The failed one left nothing to be answered with."""
    hotel.may_end.clear()

    def fails() -> None:
        with suppress(ZeroDivisionError), hotel.engine.begin() as connection:
            hotel.barrier.act(connection, "k", lambda: hotel._insert(connection, "Eva") and 1 / 0)

    with ThreadPoolExecutor(4) as threads:
        failing = threads.submit(fails)
        assert hotel.acted.wait(TIMEOUT_S)
        waiting = [threads.submit(hotel.insistently, lambda: hotel.book("k")) for _ in range(3)]
        with pytest.raises(TimeoutError):
            waiting[0].result(0.2)
        hotel.may_end.set()
        failing.result(TIMEOUT_S)
        answers = [future.result(TIMEOUT_S) for future in waiting]
    assert answers == answers[:1] * 3
    assert hotel.guests == ["Ada"]


def test_calls_with_other_keys_are_not_in_the_way(database_url: str) -> None:
    """Where the database locks rows and not the file; at the default level."""
    hotel = Hotel(database_url)
    if hotel.engine.dialect.name == "sqlite":
        hotel.engine.dispose()
        return  # SQLite has one writer at a time
    with hotel.engine.begin() as one, hotel.engine.begin() as other:
        assert hotel.barrier.act(one, "a", lambda: 1) == 1
        assert hotel.barrier.act(other, "b", lambda: 2) == 2
        assert hotel.barrier.undo(one, "c", print) is False
    hotel.engine.dispose()


def test_a_transaction_that_began_too_early_tries_again_or_sees_the_answer(hotel: Hotel) -> None:
    """It read before another acted: it never acts a second time, whatever it sees."""
    is_sqlite = hotel.engine.dialect.name == "sqlite"
    if is_sqlite:
        with hotel.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode = WAL")  # else nobody could write while somebody reads
    with hotel.engine.connect() as connection:
        if is_sqlite:
            connection.exec_driver_sql("BEGIN")  # the driver's own would come with the first write
        assert connection.execute(sa.select(hotel.prices)).all() == []
        first = hotel.book("k")
        with suppress(TryAgain):
            assert hotel.barrier.act(connection, "k", lambda: hotel._insert(connection, "Eva")) == first
        connection.rollback()
    assert hotel.guests == ["Ada"]

"""A publisher tells each event at least once, in the order of the log, and one process at a time tells a target."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import sqlalchemy as sa

from saga_es.core import events as e
from saga_es.publish.messages import Message
from saga_es.publish.publisher import LOOK_EVERY_S, RETRY_S, STAND_BACK_S, Publisher
from saga_es.store.admin.doctor import examine
from saga_es.store.log.codec import SAGA
from saga_es.store.log.entries import Draft, Entry
from saga_es.store.publishers import Publishers
from saga_es.store.tables import saga_checkpoints
from tests.conftest import AT, NOTE, Store, note_draft
from tests.support.trips import until


class Mailbox:
    """A target that keeps what it is told, and refuses it so many times."""

    name = "mailbox"
    begins_at_end = True

    def __init__(self, at_once: int = 2, refusals: int = 0) -> None:
        self.at_once = at_once
        self.refusals = refusals
        self.messages: list[Message] = []
        self.is_closed = False

    def wants(self, entry: Entry) -> bool:
        """Everything but what says that it is private."""
        return "private" not in entry.text

    def deliver(self, messages: Sequence[Message]) -> None:
        """Keep them."""
        if self.refusals:
            self.refusals -= 1
            raise ConnectionError("it is full")
        self.messages += messages

    @property
    def told(self) -> list[str]:
        """The ids of what it was told."""
        return [message.id for message in self.messages]

    def close(self) -> None:
        """Nobody reads it any more."""
        self.is_closed = True


def publisher(store: Store, target: Mailbox, holder: str = "here", lease_s: float = 30.0) -> Publisher:
    rows = Publishers(store.database, lease_s)
    made = Publisher(store.database, store.log, target, rows, holder)
    made.step()  # from now on
    return made


def to_the_end(made: Publisher) -> None:
    until(lambda: made.step() == LOOK_EVERY_S)


def test_what_is_appended_is_told_in_order_and_once(store: Store) -> None:
    """What stood in the log before the publisher was there is not told; what it does not want is passed over."""
    store.write(note_draft("n-0", "before"))
    target = Mailbox()
    made = publisher(store, target)
    store.write(note_draft("n-1", "a", "private", "b"), note_draft("n-2", "c"))
    to_the_end(made)
    store.write(note_draft("n-1", "d", expected_version=3))
    to_the_end(made)
    assert target.told == ["n-1/1", "n-1/3", "n-2/1", "n-1/4"]
    (row,) = Publishers(store.database).all()
    assert (row.name, row.lag, row.held.holder, row.held.error) == ("mailbox", 0, "here", None)


def test_a_delivery_that_fails_is_made_again_and_nothing_is_passed(store: Store) -> None:
    """Later and later; the doctor and the row say why, until it arrives."""
    target = Mailbox(refusals=2)
    made = publisher(store, target)
    store.write(note_draft("n-1", "a", "b", "c"))
    assert [made.step(), made.step()] == [RETRY_S, 2 * RETRY_S]
    (row,) = Publishers(store.database).all()
    assert (row.lag, row.held.error) == (3, "ConnectionError: it is full")
    found = examine(store.database, store.workers, store.log, datetime.now(UTC).timestamp())
    (said,) = [finding for finding in found if finding.subject == "publishers"]
    assert said.verdict == "warning"
    assert "'mailbox' fails, 3 positions behind: ConnectionError: it is full" in said.found
    to_the_end(made)
    assert target.told == ["n-1/1", "n-1/2", "n-1/3"]
    assert Publishers(store.database).all()[0].held.error is None


def test_one_process_tells_and_another_goes_on_when_it_is_gone(store: Store) -> None:
    """At once when it said so; else when its lease has run out by the database's clock."""
    first, second = Mailbox(), Mailbox()
    here = publisher(store, first, "here")
    there = publisher(store, second, "there")
    store.write(note_draft("n-1", "a"))
    assert there.step() == STAND_BACK_S
    to_the_end(here)
    here.open()
    here.close()
    assert first.is_closed
    store.write(note_draft("n-1", "b", expected_version=1))
    to_the_end(there)
    assert (first.told, second.told) == (["n-1/1"], ["n-1/2"])


def test_who_was_held_up_for_longer_than_its_lease_stands_back(store: Store) -> None:
    """It may have told one part more than the other knows: at least once, never less."""
    first, second = Mailbox(at_once=1), Mailbox(at_once=1)
    here = publisher(store, first, "here")
    store.write(note_draft("n-1", "a", "b"))
    with store.database.writing() as connection:
        connection.execute(sa.update(saga_checkpoints).values(pending='{"holder":"here","until":1.0}'))
    there = Publisher(store.database, store.log, second, Publishers(store.database), "there")
    to_the_end(there)
    assert here.step() == STAND_BACK_S
    assert (first.told, second.told) == (["n-1/1"], ["n-1/1", "n-1/2"])


def test_of_many_processes_that_begin_at_once_one_holds_a_publisher(store: Store) -> None:
    """Its row is made once."""
    rows = Publishers(store.database)
    with ThreadPoolExecutor(8) as pool:
        held = list(pool.map(lambda n: rows.hold("mailbox", f"process-{n}"), range(8)))
    assert sum(position is not None for position in held) == 1
    assert len(rows.all()) == 1


def test_views_know_nothing_of_publishers(store: Store) -> None:
    """A replay leaves their rows, and no view is behind because a publisher is."""
    publisher(store, Mailbox())
    store.make(*store.views)
    found = examine(store.database, store.workers, store.log, datetime.now(UTC).timestamp())
    assert [finding for finding in found if "mailbox" in finding.found and finding.subject != "publishers"] == []
    assert [row.name for row in Publishers(store.database).all()] == ["mailbox"]


def test_a_message_is_a_cloud_event_with_the_data_as_it_stands_in_the_log(store: Store) -> None:
    """With the definition of its saga, whichever of its events is told."""
    target = Mailbox(at_once=10)
    made = publisher(store, target)
    store.write(Draft("s-1", SAGA, 0, (e.SagaStarted("trip", "plan-1", {"n": 1}), e.SagaCompleted()), AT))
    store.write(note_draft("n-1", "é"))
    to_the_end(made)
    started, ended, note = (json.loads(message.json()) for message in target.messages)
    assert started == {
        "specversion": "1.0",
        "id": "s-1/1",
        "source": "/saga_es/saga",
        "type": "saga_es.saga.SagaStarted",
        "subject": "s-1",
        "time": AT.isoformat().replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "data": json.loads(target.messages[0].entry.text),
        "position": target.messages[0].entry.position,
        "saga": "trip",
    }
    assert (ended["id"], ended["saga"], note["type"], note.get("saga")) == (
        *("s-1/2", "trip", f"saga_es.{NOTE}.NoteWritten", None),
    )


def test_a_publisher_is_moved_while_it_works_and_tells_again(store: Store) -> None:
    """The process that publishes notices with its next delivery, and does not take the position back."""
    target = Mailbox()
    made = publisher(store, target)
    store.write(note_draft("n-1", "a"))
    to_the_end(made)
    assert Publishers(store.database).move("mailbox", 0)
    store.write(note_draft("n-1", "b", expected_version=1))
    assert made.step() == STAND_BACK_S
    assert Publishers(store.database).all()[0].position == 0
    to_the_end(made)
    assert target.told == ["n-1/1", "n-1/2", "n-1/1", "n-1/2"]


def test_a_publisher_that_is_forgotten_while_it_works_begins_anew(store: Store) -> None:
    """At the end of the log as it is then, as a new one does."""
    target = Mailbox()
    made = publisher(store, target)
    assert Publishers(store.database).forget("mailbox")
    store.write(note_draft("n-1", "a"))
    assert made.step() == STAND_BACK_S
    to_the_end(made)
    store.write(note_draft("n-1", "b", expected_version=1))
    to_the_end(made)
    assert target.told == ["n-1/1", "n-1/2"]


def test_a_publisher_is_moved_back_and_tells_again(store: Store) -> None:
    """Whoever publishes goes on from there; one that is forgotten is no more."""
    target = Mailbox()
    made = publisher(store, target)
    store.write(note_draft("n-1", "a", "b"))
    to_the_end(made)
    rows = Publishers(store.database)
    assert rows.move("mailbox", 0)
    assert not rows.move("nobody", 0)
    made.close()
    again = publisher(store, target)
    to_the_end(again)
    assert target.told == ["n-1/1", "n-1/2", "n-1/1", "n-1/2"]
    assert rows.forget("mailbox")
    assert not rows.forget("mailbox")
    assert rows.all() == []

"""The laboratory: a saga of a user's own, and the demonstration's, killed at every event in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

import services
from saga_es import Participant, RetryPolicy, Saga, StepRejected
from saga_es.api import create_flask_app
from saga_es.commands import Cancel, SendSignal
from saga_es.core.outcomes import Direction
from saga_es.core.state import SagaStatus
from saga_es.node.node import Node
from saga_es.node.settings import Settings
from saga_es.runtime.calls.transport import WsgiTransport
from saga_es.testing import CAREFUL, CallFault, Lab, Ledger, Outcome, Script
from services.create_event import STEPS, CreateEventSchema, saga
from tests.simulation.shapes import act, add, linear, undo

ONCE = RetryPolicy(attempts=1)


# ── A saga of a user's own ───────────────────────────────────────────────────────────────────────────────


@dataclass
class Shop:
    """What the steps of a saga touch: a till that a key charges once, and parcels."""

    charged: dict[str, int] = field(default_factory=dict)
    refunded: set[str] = field(default_factory=set)
    parcels: set[str] = field(default_factory=set)

    def clear(self) -> None:
        """As it was in the morning."""
        self.charged.clear()
        self.refunded.clear()
        self.parcels.clear()

    @property
    def takings(self) -> int:
        """What is in the till."""
        return sum(amount for key, amount in self.charged.items() if key not in self.refunded)


def order(shop: Shop) -> Saga:
    """Charge, then ship; what is too heavy is refused."""
    made = Saga("order")

    @made.step
    def payment(input: dict[str, int], key: str) -> str:  # noqa: A002 (the name by which a step asks for it)
        if key in shop.refunded:
            raise StepRejected("it was refunded before it came")
        shop.charged[key] = input["amount"]
        return key

    @made.compensates(payment)
    def refund(action_key: str) -> None:
        shop.refunded.add(action_key)

    @made.step(compensation=None)
    def shipment(input: dict[str, int], key: str) -> str:  # noqa: A002
        if input["amount"] > 100:
            raise StepRejected("too heavy to ship")
        shop.parcels.add(key)
        return key

    return made


@pytest.mark.parametrize(("amount", "status"), [(20, SagaStatus.COMPLETED), (500, SagaStatus.COMPENSATED)])
def test_a_saga_keeps_its_promises_wherever_it_is_killed(saga_lab: type[Lab], amount: int, status: SagaStatus) -> None:
    """The fixture of the plugin; `fresh` opens the shop for each run, `check` looks into the till after it."""
    shop = Shop()
    ends: list[SagaStatus] = []

    def check(outcome: Outcome) -> None:
        ends.append(outcome.status)
        done = outcome.status is SagaStatus.COMPLETED
        if outcome.status is not SagaStatus.FAILED:  # then a person has to look
            assert (shop.takings, len(shop.parcels)) == ((amount, 1) if done else (0, 0))

    lab = saga_lab(order(shop), {"amount": amount}, fresh=shop.clear, check=check, salt="shop")
    runs = [*lab.kill_at_every_event(), *lab.freeze_at_every_iteration(), *lab.lose_every_reply_once()]
    assert {outcome.status for outcome in runs} == {status}
    assert len(ends) == lab.runs > len(runs) > 10
    assert SagaStatus.COMPENSATED in {outcome.status for outcome in lab.chaos(range(50))}


def test_a_run_tells_how_it_ended() -> None:
    """Status, results, error, the calls in the order in which they arrived, and the log."""
    done = Lab(order(Shop()), {"amount": 20}).run()
    assert (done.status, done.error, done.calls) == (SagaStatus.COMPLETED, None, ["payment", "shipment"])
    assert set(done.results) == {"payment", "shipment"}
    refused = Lab(order(Shop()), {"amount": 500}).run()
    assert (refused.status, refused.error) == (SagaStatus.COMPENSATED, "too heavy to ship")
    assert refused.calls == ["payment", "shipment", "undo payment"]
    assert refused.log.splitlines()[-1].endswith("SagaCompensated {}")


def test_the_worker_dies_at_each_point_once() -> None:
    """Before and after each commit, and before each call: a run for each, and a takeover in all but the last."""
    lab = Lab(order(Shop()), {"amount": 20})
    outcomes = lab.kill_at_every_event()
    commits, calls = 3, 2
    assert len(outcomes) == 2 * commits + calls
    taken_over = ["SagaTakenOver" in outcome.log for outcome in outcomes]
    assert taken_over == [False, *[True] * 6, False]


def test_each_reply_is_lost_once() -> None:
    """The call whose reply was lost is made again, and no other."""
    outcomes = Lab(order(Shop()), {"amount": 500}).lose_every_reply_once()
    assert [outcome.calls for outcome in outcomes] == [
        ["payment", "payment", "shipment", "undo payment"],
        ["payment", "shipment", "shipment", "undo payment"],
        ["payment", "shipment", "undo payment", "undo payment"],
    ]


def test_steps_of_every_kind_can_be_tried() -> None:
    """Awaited steps, signals, delays, an element each, and sagas within sagas."""
    ledger = Ledger()
    child = linear(ledger, 2)
    made = Saga("everything")

    @made.step(compensation=None)
    async def awaited(key: str) -> str:
        await asyncio.sleep(0)
        ledger.act(key)
        return "done"

    add(made, ledger, "each", over="input[list]")
    made.child("nested", child)
    made.delay("nap", 7 * 86_400)
    made.wait_for("word", timeout_s=None)
    lab = Lab(made, {"list": [1, 2]}, commands=[(1.0, SendSignal("word", "go", key="k"))], fresh=ledger.clear)
    assert {outcome.status for outcome in lab.kill_at_every_event()} == {SagaStatus.COMPLETED}
    cancelled = Lab(made, {"list": [1, 2]}, commands=[(60.0, Cancel("ann", "no more"))], fresh=ledger.clear)
    assert {outcome.status for outcome in cancelled.kill_at_every_event()} == {SagaStatus.COMPENSATED}


# ── Sagas that do not keep their promises ────────────────────────────────────────────────────────────────


def test_what_a_check_finds_ends_the_test() -> None:
    """A step that charges without looking at its key is found by the first reply that is lost."""
    till: list[int] = []
    careless = Saga("careless")

    @careless.step(compensation=None)
    def charge() -> None:
        till.append(1)

    def check(_: Outcome) -> None:
        assert len(till) == 1

    lab = Lab(careless, fresh=till.clear, check=check)
    lab.run()
    with pytest.raises(AssertionError) as found:
        lab.lose_every_reply_once()
    (note,) = found.value.__notes__
    assert note.startswith("reply 0 lost, after these calls: charge, charge\n"), "which run it was, and its log"
    assert "StepCompleted" in note
    with pytest.raises(AssertionError):
        lab.kill_at_every_event()


def test_a_promise_of_ours_that_is_broken_is_told_with_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says which run it was, and how to see it again."""
    monkeypatch.setattr("saga_es.testing.lab.faults_found", lambda _: ["something is wrong"])
    with pytest.raises(AssertionError, match=r"(?s)killed at point 0|run 0.*something is wrong.*SagaStarted"):
        Lab(order(Shop()), {"amount": 20}).kill_at_every_event()


def test_a_participant_that_forgets_what_it_refused_late_calls_is_found_by_careful_faults() -> None:
    """A call that arrives when it has been undone: only participants that remember survive it."""
    standing: set[str] = set()
    made = Saga("forgetful")

    @made.step(retry=ONCE)
    def book(key: str) -> None:
        standing.add(key)

    @made.compensates(book)
    def cancel(action_key: str) -> None:
        standing.discard(action_key)

    def check(outcome: Outcome) -> None:
        assert bool(standing) is (outcome.status is SagaStatus.COMPLETED)

    slow = Script(calls={("book", Direction.ACTION): [CallFault.SLOW]})
    with pytest.raises(AssertionError):
        Lab(made, fresh=standing.clear, check=check).run(slow)


def test_a_participant_that_remembers_survives_careful_faults() -> None:
    """The ledger of `saga_es.testing` is one."""
    ledger = Ledger()
    made = Saga("remembering")
    made.step(retry=ONCE)(act(ledger, "book"))
    made.compensates("book")(undo(ledger))

    def check(outcome: Outcome) -> None:
        assert bool(ledger.standing) is (outcome.status is SagaStatus.COMPLETED)

    Lab(made, fresh=ledger.clear, check=check).chaos(range(200), calls=CAREFUL)


# ── The demonstration ────────────────────────────────────────────────────────────────────────────────────

TABLES = ("events", "event_details", "venues", "tickets")


@dataclass(frozen=True)
class Demo:
    """The four services behind a Flask application, on a database of their own."""

    node: Node
    app: Any

    def rows(self) -> list[int]:
        """How many active records each service has."""
        with self.node.database.reading() as connection:
            counted = [connection.scalar(sa.text(f"SELECT count(*) FROM {table}")) for table in TABLES]
        return [int(count or 0) for count in counted]


@contextmanager
def opened(folder: Path) -> Iterator[Demo]:
    settings = Settings.load({"database_url": f"sqlite:///{folder}/services.db", "grace_s": 1.0}, environ={})
    node = Node(settings, services.app, recovers=False)
    app = create_flask_app(node)
    node.answer_calls_with(app.wsgi_app)
    node.open()
    try:
        yield Demo(node, app)
    finally:
        node.close()


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    """The real services; the saga itself runs in the laboratory."""
    with opened(tmp_path) as demo:
        yield demo


@pytest.mark.parametrize("refused", [None, *STEPS])
def test_the_demonstration_keeps_its_promises_wherever_it_is_killed(demo: Demo, refused: str | None) -> None:
    """Each run adds one record to each of the four services, or none to any: nothing is doubled or left over."""
    expected = demo.rows()

    def check(outcome: Outcome) -> None:
        added = int(outcome.status is SagaStatus.COMPLETED)
        expected[:] = [count + added for count in expected]
        assert demo.rows() == expected

    body = CreateEventSchema().load({"name": "Evening Concert", "fail_at_step": refused})
    lab = Lab(saga, body, app=demo.app, check=check)
    end = SagaStatus.COMPLETED if refused is None else SagaStatus.COMPENSATED
    assert lab.run().status is end
    for outcomes in (lab.kill_at_every_event(), lab.lose_every_reply_once()):
        assert {outcome.status for outcome in outcomes} == {end}


@pytest.mark.parametrize(
    ("refused", "end"), [(None, SagaStatus.COMPLETED), (STEPS[-1], SagaStatus.COMPENSATED)], ids=["accepted", "refused"]
)
def test_the_demonstration_survives_chaos(demo: Demo, refused: str | None, end: SagaStatus) -> None:
    """Deaths, lost commits, and calls that are lost, late and doubled, on real services.

    No call is refused by chance: a compensation that is refused ends its saga FAILED, for a person.
    """
    counts = demo.rows()
    calls = [fault for fault in CAREFUL if fault is not CallFault.REFUSED]
    body = CreateEventSchema().load({"name": "Evening Concert", "fail_at_step": refused})
    outcomes = Lab(saga, body, app=demo.app, salt="evening").chaos(range(40), rate=0.15, calls=calls)
    completed = sum(outcome.status is SagaStatus.COMPLETED for outcome in outcomes)
    assert demo.rows() == [count + completed for count in counts]
    assert {outcome.status for outcome in outcomes} == {end}


def test_a_saga_without_a_way_to_its_participants_is_refused(saga_lab: type[Lab]) -> None:
    """Each of its calls would fail, and every run would be compensated: nothing would have been tried."""
    hotel, bank = Participant("hotel"), Participant("bank")
    trip = Saga("trip")
    trip.request("room", hotel.post("/rooms"), compensation=hotel.delete("/rooms/{action_key}"))
    trip.request("pay", bank.post("/pays"), compensation=bank.delete("/pays/{action_key}"))
    with pytest.raises(ValueError, match=r"no transport for the participants bank, hotel: give .* app=\{'bank': "):
        saga_lab(trip)
    with pytest.raises(ValueError, match="participants bank:"):
        saga_lab(trip, app={"hotel": WsgiTransport(Flask("hotel"))})
    assert saga_lab(trip, app=Flask("both")).run().status is SagaStatus.COMPENSATED


def test_a_saga_that_completes_in_no_run_is_named(saga_lab: type[Lab], caplog: pytest.LogCaptureFixture) -> None:
    """All runs might end like that one, and show nothing else; a saga that completes is not named."""
    shop = Shop()
    lab = saga_lab(order(shop), {"amount": 500}, fresh=shop.clear)
    lab.kill_at_every_event()
    lab.chaos(range(3))
    (said,) = (record.getMessage() for record in caplog.records if record.name == "saga_es")
    assert "not even the run without faults completes" in said
    assert "COMPENSATED" in said
    caplog.clear()
    saga_lab(order(shop), {"amount": 20}, fresh=shop.clear).kill_at_every_event()
    assert [record.getMessage() for record in caplog.records if record.name == "saga_es"] == []


def test_two_laboratories_give_their_sagas_other_ids_unless_they_are_told_one_salt(saga_lab: type[Lab]) -> None:
    """A participant with a memory of its own would take the second for a repetition of the first."""
    salts = (None, None, "a", "a")
    logs = [saga_lab(order(Shop()), {"amount": 20}, salt=salt).run().log for salt in salts]
    assert logs[0] != logs[1]
    assert logs[2] == logs[3]

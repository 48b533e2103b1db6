"""A saga over a hotel and an airline, and the agency that runs it while the airline does as each test says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from saga_es import App, RetryPolicy, Saga
from saga_es import Participant as Named
from saga_es.api import saga_blueprint
from saga_es.core.state import SagaStatus
from saga_es.runtime.handle import SagaResult
from tests.api.conftest import Served
from tests.api.test_execute import body_of
from tests.support.participants import (
    TIMEOUT_S,
    Participant,
    Says,
    Script,
    free_port,
)

COMPENSATED, COMPLETED, FAILED = SagaStatus.COMPENSATED, SagaStatus.COMPLETED, SagaStatus.FAILED

BRIEF = RetryPolicy(attempts=2, first_delay_s=0.02, jitter=0.0)
CLOSED_PORT = free_port()


def trip() -> Saga:
    """A hotel, which is always willing, then a flight, whose airline does as each test says."""
    hotel, airline = Named("hotel"), Named("airline")
    saga = Saga("trip")
    saga.request("hotel", hotel.post("/hotel"), compensation=hotel.delete("/hotel/{action_key}"))
    saga.request(
        "flight",
        airline.post("/flight", lambda: {"seat": "12A"}),
        compensation=airline.delete("/flight/{action_key}"),
        retry=BRIEF,
        compensation_retry=BRIEF,
        timeout_s=0.5,
    )
    return saga


def ferry() -> Saga:
    """A hotel, then a ferry whose company nobody can reach."""
    hotel, company = Named("hotel"), Named("company")
    saga = Saga("ferry")
    saga.request("hotel", hotel.post("/hotel"), compensation=hotel.delete("/hotel/{action_key}"))
    saga.request(
        "crossing",
        company.post("/crossing"),
        compensation=company.delete("/crossing/{action_key}"),
        retry=RetryPolicy(attempts=3, first_delay_s=0.4, factor=1.0, jitter=0.0),
    )
    return saga


TRIP, FERRY = trip(), ferry()
TRAVEL = App(name="travel", version="1", sagas=[TRIP, FERRY], blueprints={"saga": [saga_blueprint]})


@dataclass
class Agency:
    """An engine with the two sagas, and the two participants it reaches."""

    served: Served
    hotel: Participant
    airline: Participant
    last: str = field(default="")

    def book(self, answer: Script, undo: Script | None = None, saga: Saga = TRIP) -> SagaResult:
        """Run the saga, its airline answering register calls and rollbacks so."""
        self.hotel.forget()
        self.airline.forget()
        scripts = {"POST": answer, "DELETE": undo or (lambda _: Says())}
        self.airline.script = lambda call: scripts[call.method](call)
        self.last = f"trip-{uuid4()}"
        return self.served.node.engine.start(saga, {}, saga_id=self.last).result(timeout=TIMEOUT_S)

    @property
    def events(self) -> list[dict[str, Any]]:
        """The last saga's part of the log."""
        found: list[dict[str, Any]] = body_of(self.served.client.get(f"/api/saga/{self.last}/events"), 200)["events"]
        return found

    @property
    def story(self) -> list[str]:
        """The same in short, from the call of the second step on."""
        short = [
            " ".join(str(event["data"][name]) for name in ("step", "attempt", "failure") if name in event["data"])
            for event in self.events
        ]
        told = [f"{event['type']} {rest}".strip() for event, rest in zip(self.events, short, strict=True)]
        return told[3:]

    @property
    def asked(self) -> list[str]:
        """The methods of the calls that the airline got."""
        return [call.method for call in self.airline.calls]

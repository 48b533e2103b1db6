"""The four services as a client sees them: what the contract says of each, and the calls there are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.api.test_execute import body_of


@dataclass(frozen=True)
class Kind:
    """What the contract says about one service."""

    path: str
    id_name: str
    plural: str
    body: Mapping[str, Any]
    optional: Mapping[str, Any]
    bad: Mapping[str, tuple[Any, ...]]
    references: tuple[str, ...] = ()


EVENT = Kind(
    path="event",
    id_name="event_id",
    plural="events",
    body={"name": "Concert", "description": "Haydn", "date": "2031-05-17"},
    optional={},
    bad={"name": (1, ""), "description": ([], ""), "date": ("17.5.2031", "2031-02-30", 20310517)},
)
EVENT_DETAILS = Kind(
    path="event-details",
    id_name="details_id",
    plural="event_details",
    body={"event_id": None, "detailed_description": "Two quartets", "duration": 90, "category": "music"},
    optional={"requirements": ["four chairs"]},
    bad={
        "event_id": ("not an id", 7),
        "detailed_description": (5, ""),
        "duration": (0, -5, 1.5, "90", True),
        "category": ({}, ""),
        "requirements": ("chairs", [1]),
    },
    references=("event_id",),
)
VENUE = Kind(
    path="venue",
    id_name="venue_id",
    plural="venues",
    body={"name": "Old Library", "address": "7 Cloister Lane", "capacity": 180},
    optional={"facilities": ["ramp"]},
    bad={"name": (1, ""), "address": (1, ""), "capacity": (0, -1, 1.5, "180"), "facilities": ("ramp", [None])},
)
TICKET = Kind(
    path="ticket",
    id_name="ticket_id",
    plural="tickets",
    body={"event_id": None, "venue_id": None, "ticket_type": "standard", "price": 28.5, "quantity": 90},
    optional={},
    bad={
        "event_id": ("not an id", []),
        "venue_id": ("not an id", 1.5),
        "ticket_type": (1, ""),
        "price": (-0.01, "free", []),
        "quantity": (0, -1, 1.5, "90"),
    },
    references=("event_id", "venue_id"),
)
KINDS = (EVENT, EVENT_DETAILS, VENUE, TICKET)
REFERRED = {"event_id": EVENT, "venue_id": VENUE}


@dataclass(frozen=True)
class Service:
    """One service as a client sees it."""

    client: FlaskClient
    kind: Kind

    def other(self, kind: Kind) -> Service:
        """Another service of the same application."""
        return Service(self.client, kind)

    def body(self, **changes: Any) -> dict[str, Any]:
        """A body that is accepted, but for the changes; what it refers to is registered."""
        referred = {name: self.other(REFERRED[name]).registered() for name in self.kind.references}
        return {**self.kind.body, **self.kind.optional, **referred, **changes}

    def register(self, body: Mapping[str, Any], key: str | None = None, **headers: str) -> TestResponse:
        """The register call."""
        keyed = {} if key is None else {"Idempotency-Key": key}
        return self.client.post(f"/api/{self.kind.path}/register", json=body, headers={**keyed, **headers})

    def registered(self, key: str | None = None) -> str:
        """The id of a new record."""
        id_: str = body_of(self.register(self.body(), key), 201)[self.kind.id_name]
        return id_

    def get(self, id_: str) -> TestResponse:
        """The record, if it is active."""
        return self.client.get(f"/api/{self.kind.path}/{id_}")

    def roll_back(self, id_: str, headers: Mapping[str, str] | None = None) -> TestResponse:
        """The rollback call."""
        return self.client.delete(f"/api/{self.kind.path}/rollback/{id_}", headers=headers)

    def ids(self, limit: int = 500) -> list[str]:
        """The ids of all active records, newest first, page by page."""
        found, query = [], f"limit={limit}"
        while True:
            body = body_of(self.client.get(f"/api/{self.kind.path}/list?{query}"), 200)
            found += [record["id"] for record in body[self.kind.plural]]
            if body["next_cursor"] is None:
                return found
            query = f"limit={limit}&cursor={body['next_cursor']}"

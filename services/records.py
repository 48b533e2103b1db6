"""The common part of the four services: a table that is a view of the log, and the routes of the contract.

A service defines its records, and this module defines the operations on them. No service knows another: a reference to
another service's record is checked in the log, as a separate service would check it with a request.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid4, uuid5

import sqlalchemy as sa
from flask import Response, request
from marshmallow import Schema, fields

from saga_es.api import Blueprint, Id, PageSchema, Permission, Problem, Truth, json_response, node, page_of
from saga_es.participant import NotSeen, Records, TakenElsewhere, Tombstoned, leaves_tombstone, record_view

KEY_HEADER = {
    "name": "Idempotency-Key",
    "in": "header",
    "schema": {"type": "string"},
    "description": "Becomes the record's id. A repeated key is answered with the first answer.",
}


class RecordSchema(Schema):
    """The body of a register call; each service adds its fields."""

    simulate_failure = Truth(
        load_default=False, metadata={"description": "Answer 409 and register nothing, for demonstrations."}
    )


class UndoneSchema(Schema):
    """The answer to a rollback."""

    success = fields.Boolean(required=True)
    message = fields.String(required=True)


class HealthSchema(Schema):
    """The health of a service."""

    status = fields.String(required=True)


class Service:
    """One service: its view, and the blueprint with its routes.

    Args:
        category: The service's category in the log.
        noun: The name of one record in messages.
        plural: The name of its list in answers.
        id_name: The name of a new record's id in the answer to a register call.
        schema: The body of a register call.
        table: The view's table, with a column for each of the schema's fields.
        references: The fields that must name an active record, each with the category of that record.
    """

    def __init__(
        self,
        *,
        category: str,
        noun: str,
        plural: str,
        id_name: str,
        schema: type[RecordSchema],
        table: sa.Table,
        references: Mapping[str, str] | None = None,
    ) -> None:
        self.category = category
        self.path = category.replace("_", "-")
        self.noun = noun
        self.plural = plural
        self.id_name = id_name
        self.schema = schema
        self.table = table
        self.references = references or {}
        self.view = record_view(table, category)
        self.blueprint = self._blueprint()

    # ── Operations ───────────────────────────────────────────────────────────────────────────────────────

    def register(self, body: dict[str, Any]) -> Response:
        """Register a record, once per key."""
        record_id = _id_for(request.headers.get("Idempotency-Key"), self.category)
        wants_failure = body.pop("simulate_failure")
        try:
            first = self._first_or_new(record_id, body, wants_failure)
        except (Tombstoned, TakenElsewhere) as error:
            raise Problem(409, str(error)) from error
        answer = {"success": True, self.id_name: record_id}
        answer |= {name: first[name] for name in self.references}
        return json_response({**answer, "message": f"{self.noun} registered."}, 201)

    def find(self, record_id: str) -> Response:
        """One active record."""
        row = None
        if is_uuid(record_id):
            with node().database.reading() as connection:
                query = sa.select(self.table).where(self.table.c.id == str(UUID(record_id)))
                row = connection.execute(query).mappings().first()
        if row is None:
            raise Problem(404, f"no active {self.noun.lower()} has the id {record_id!r}")
        return json_response(on_the_wire(dict(row)))

    def page(self, query: dict[str, Any]) -> Response:
        """Active records, newest first."""
        found = page_of(self.table, query["limit"], query["cursor"])
        return json_response({self.plural: [on_the_wire(row) for row in found.rows], "next_cursor": found.next_cursor})

    def roll_back(self, record_id: str) -> Response:
        """Undo a registration. A saga may do so before the record was registered."""
        try:
            record_id = str(UUID(record_id))
            self._records.roll_back(record_id, before_registered=leaves_tombstone())
        except (ValueError, NotSeen) as error:
            raise Problem(404, f"no {self.noun.lower()} was ever registered under {record_id!r}") from error
        except TakenElsewhere as error:
            raise Problem(404, str(error)) from error
        return json_response({"success": True, "message": f"{self.noun} rolled back."})

    def _first_or_new(self, record_id: str, body: dict[str, Any], wants_failure: bool) -> dict[str, Any]:  # noqa: FBT001
        """The first registration under this id. A repeat gets it even if the call itself would be refused."""
        refusal = self._refusal(body, wants_failure)
        if refusal is None:
            return self._records.register(record_id, body)
        first = self._records.first_fields(record_id)
        if first is None:
            raise refusal
        return first

    @property
    def _records(self) -> Records:
        return Records(node().engine, self.category)

    def _refusal(self, body: Mapping[str, Any], wants_failure: bool) -> Problem | None:  # noqa: FBT001
        if wants_failure:
            return Problem(409, f"{self.noun} was asked to fail by simulate_failure; nothing was registered")
        engine = node().engine
        errors = {
            name: [f"no active {category.replace('_', ' ')} has the id {body[name]!r}"]
            for name, category in self.references.items()
            if not Records(engine, category).is_active(body[name])
        }
        return Problem(422, f"{', '.join(errors)}: see errors", errors) if errors else None

    # ── Routes ───────────────────────────────────────────────────────────────────────────────────────────

    def _blueprint(self) -> Blueprint:
        blueprint = Blueprint(
            self.path,
            __name__,
            url_prefix=f"/api/{self.path}",
            description=f"{self.noun} service, event-sourced",
            permission=Permission.CALL,
        )
        registered = self._registered_schema()
        record = self._record_schema()
        records = Schema.from_dict(
            {
                self.plural: fields.List(fields.Nested(record), required=True),
                "next_cursor": fields.String(required=True, allow_none=True),
            },
            name=f"{self._title}List",
        )

        @blueprint.post("/register")
        @blueprint.doc(parameters=[KEY_HEADER])
        @blueprint.arguments(self.schema())  # an instance, made once and not for each request
        @blueprint.response(201, registered)
        @blueprint.alt_response(409, "CONFLICT")
        def register(body: dict[str, Any]) -> Response:
            """Register a record, once per key."""
            return self.register(body)

        @blueprint.get("/<string:record_id>")
        @blueprint.response(200, record)
        @blueprint.alt_response(404, "NOT_FOUND")
        def find(record_id: str) -> Response:
            """One active record."""
            return self.find(record_id)

        @blueprint.get("/list")
        @blueprint.arguments(PageSchema, location="query")
        @blueprint.response(200, records)
        def list_records(query: dict[str, Any]) -> Response:
            """Active records, newest first."""
            return self.page(query)

        @blueprint.delete("/rollback/<string:record_id>")
        @blueprint.response(200, UndoneSchema)
        @blueprint.alt_response(404, "NOT_FOUND")
        def roll_back(record_id: str) -> Response:
            """Undo a registration. A repeated undo changes nothing."""
            return self.roll_back(record_id)

        @blueprint.get("/health")
        @blueprint.response(200, HealthSchema)
        @blueprint.alt_response(503, "SERVICE_UNAVAILABLE")
        def health() -> Response:
            """Whether the service can read its records."""
            with node().database.reading() as connection:
                connection.execute(sa.select(self.table.c.id).limit(1))
            return json_response({"status": "healthy"})

        return blueprint

    @property
    def _title(self) -> str:
        return self.category.title().replace("_", "")

    def _registered_schema(self) -> type[Schema]:
        ids = [self.id_name, *self.references]
        return Schema.from_dict(
            {
                "success": fields.Boolean(required=True),
                **{name: Id(required=True) for name in ids},
                "message": fields.String(required=True),
            },
            name=f"{self._title}Registered",
        )

    def _record_schema(self) -> type[Schema]:
        own = {name: field for name, field in self.schema().fields.items() if name != "simulate_failure"}
        return Schema.from_dict(
            {
                "id": Id(required=True),
                **own,
                "status": fields.String(required=True),
                "created_at": fields.AwareDateTime(required=True),
            },
            name=f"{self._title}Record",
        )


def is_uuid(text: str) -> bool:
    """Whether a text is a UUID in any notation."""
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def on_the_wire(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of a service's table as a record of the API."""
    return {**row, "status": "active"}


def _id_for(key: str | None, category: str) -> str:
    """The id for a key: a key that is a UUID is the id itself, any other text gives a UUID of version 5."""
    if not key:
        return str(uuid4())
    try:
        return str(UUID(key))
    except ValueError:
        return str(uuid5(NAMESPACE_URL, f"{category}/{key}"))

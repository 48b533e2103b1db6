"""Reading sagas over HTTP: `/api/saga`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
import sqlalchemy as sa
from flask import Response
from marshmallow import Schema, fields, validate
from msgspec.structs import replace
from sqlalchemy.engine import Connection

from saga_es.access.permissions import Permission, permits
from saga_es.api.access import check_error_filter, scope, shown_error
from saga_es.api.blueprint import Blueprint
from saga_es.api.filters import SagaFilterSchema, filter_of
from saga_es.api.guards import guard_mounted
from saga_es.api.past import VersionSchema
from saga_es.api.problems import register_problem_handlers
from saga_es.api.responses import json_response, node, page_of
from saga_es.core.outcomes import Direction
from saga_es.core.state import UNFINISHED, SagaStatus, StepStatus
from saga_es.node.waiting import code_waited_for, waits_for
from saga_es.store.log.codec import SAGA
from saga_es.store.log.entries import Entry
from saga_es.store.queries.filters import SagaFilter, sagas_where, seen_by
from saga_es.store.queries.pages import page
from saga_es.store.queries.past import life_at
from saga_es.store.queries.story import story
from saga_es.store.views.saga_view import sagas, summary

WAITS_FOR = "The code that it waits for; only there if no living worker can run it."


class SkipSchema(Schema):
    """Why a step or its compensation was skipped."""

    at = fields.AwareDateTime(required=True)
    actor = fields.String(required=True, allow_none=True, metadata={"description": "null: the condition did not hold"})
    reason = fields.String(required=True, allow_none=True)


class ProgressSchema(Schema):
    """What a call of a step last said of itself."""

    at = fields.AwareDateTime(required=True)
    direction = fields.String(required=True, validate=validate.OneOf(list(Direction)))
    attempt = fields.Integer(required=True)
    details = fields.Raw(required=True, allow_none=True)


class PauseSchema(Schema):
    """Who paused a saga, when, and why."""

    at = fields.AwareDateTime(required=True)
    actor = fields.String(required=True)
    reason = fields.String(required=True)


class StepSchema(Schema):
    """One step of a saga, or one element of a step that is done over a list."""

    step = fields.String(required=True, metadata={"description": "The step's key; for an element `key[index]`."})
    name = fields.String(required=True, metadata={"description": "The step's title."})
    status = fields.String(required=True, validate=validate.OneOf(list(StepStatus)))
    attempts = fields.Integer(required=True)
    compensation_attempts = fields.Integer(required=True)
    result = fields.Raw(required=True, allow_none=True)
    error = fields.String(required=True, allow_none=True)
    frame = fields.String(required=True, allow_none=True)
    started_at = fields.AwareDateTime(required=True, allow_none=True)
    completed_at = fields.AwareDateTime(required=True, allow_none=True)
    compensated_at = fields.AwareDateTime(required=True, allow_none=True)
    until = fields.AwareDateTime(
        required=True, allow_none=True, metadata={"description": "The time until which the step waits."}
    )
    retry_at = fields.AwareDateTime(required=True, allow_none=True)
    child = fields.String(required=True, allow_none=True, metadata={"description": "The id of the step's child saga."})
    skip = fields.Nested(SkipSchema, required=True, allow_none=True)
    last_progress = fields.Nested(ProgressSchema, required=True, allow_none=True)
    elements = fields.List(
        fields.Nested(lambda: StepSchema()),  # noqa: PLW0108 (the class is not there yet)
        required=True,
        allow_none=True,
        metadata={"description": "The elements of a step that is done over a list."},
    )


class UnreadSchema(Schema):
    """An event that this version cannot read."""

    version = fields.Integer(required=True)
    type = fields.String(required=True)
    why = fields.String(required=True)


class SagaSchema(Schema):
    """One saga, folded from the log."""

    transaction_id = fields.String(required=True)
    name = fields.String(required=True)
    status = fields.String(required=True, validate=validate.OneOf(list(SagaStatus)))
    current_step_index = fields.Integer(
        required=True, metadata={"description": "The place, from 0, of the step that runs, failed, or comes next."}
    )
    input = fields.Dict(required=True)
    created_at = fields.AwareDateTime(required=True)
    updated_at = fields.AwareDateTime(required=True)
    error = fields.String(required=True, allow_none=True)
    failed_step = fields.String(required=True, allow_none=True)
    version = fields.Integer(required=True)
    owner = fields.String(required=True, allow_none=True)
    paused = fields.Boolean(required=True)
    pause = fields.Nested(PauseSchema, required=True, allow_none=True)
    tags = fields.Dict(keys=fields.String(), values=fields.String(), required=True)
    parent = fields.String(required=True, allow_none=True, metadata={"description": "The id of the parent saga."})
    starts_at = fields.AwareDateTime(required=True, allow_none=True)
    deadline_at = fields.AwareDateTime(required=True, allow_none=True)
    steps = fields.List(fields.Nested(StepSchema), required=True)
    unreadable = fields.List(
        fields.Nested(UnreadSchema),
        required=True,
        metadata={"description": "The events that this version cannot read; the story ends before the first of them."},
    )
    waits_for = fields.String(metadata={"description": WAITS_FOR})


class SummarySchema(Schema):
    """One saga in a list."""

    transaction_id = fields.String(required=True)
    name = fields.String(required=True)
    status = fields.String(required=True)
    paused = fields.Boolean(required=True)
    parent = fields.String(required=True, allow_none=True)
    current_step = fields.String(required=True, allow_none=True)
    error = fields.String(required=True, allow_none=True)
    created_at = fields.AwareDateTime(required=True)
    updated_at = fields.AwareDateTime(required=True)
    waits_for = fields.String(metadata={"description": WAITS_FOR})


class SagaListSchema(Schema):
    """A page of sagas."""

    transactions = fields.List(fields.Nested(SummarySchema), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


class LogEventSchema(Schema):
    """One event of the log."""

    position = fields.Integer(required=True)
    version = fields.Integer(required=True)
    type = fields.String(required=True)
    data = fields.Dict(required=True)
    recorded_at = fields.AwareDateTime(required=True)
    schema = fields.Integer(required=True)
    hash = fields.String(required=True)


class EventsSchema(Schema):
    """A page of the events of one saga."""

    events = fields.List(fields.Nested(LogEventSchema), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


LARGEST_EVENTS_PAGE = 1000
MOST_EVENT_BYTES = 8 * 1_048_576
"""A page of events ends before it has more characters than this, but has one event at least."""


class EventsPageSchema(Schema):
    """The page of a saga's events to show."""

    limit = fields.Integer(load_default=LARGEST_EVENTS_PAGE, validate=validate.Range(1, LARGEST_EVENTS_PAGE))
    cursor = fields.Integer(
        load_default=0,
        validate=validate.Range(0, 2**31 - 1),
        metadata={"description": "The next_cursor of the previous page."},
    )


class SagaHealthSchema(Schema):
    """Whether the engine runs."""

    status = fields.String(required=True)
    active_transactions = fields.Integer(required=True)


blueprint = Blueprint("saga", __name__, url_prefix="/api/saga", description="Sagas, folded from their events")
register_problem_handlers(blueprint)  # also in an application with error pages of its own
guard_mounted(blueprint)


@blueprint.get("/status/<string:transaction_id>")
@blueprint.arguments(VersionSchema, location="query")
@blueprint.response(200, SagaSchema)
@blueprint.alt_response(404, "NOT_FOUND")
@blueprint.alt_response(410, "GONE")
@permits(Permission.READ)
def status(query: dict[str, int | None], transaction_id: str) -> Response:
    """Show one saga with its steps, now or at a version; always exact, because the answer folds the log."""
    here, version = node(), query["at_version"]
    life = life_at(here.store.sagas, transaction_id, version)
    told = story(life.state, life.history, life.unread)
    is_whole = version is None and not life.unread
    wanted = code_waited_for(here.store, life.state, here.code, here.engine.worker_id) if is_whole else None
    return json_response(told if wanted is None else replace(told, waits_for=wanted))


@blueprint.get("/list")
@blueprint.arguments(SagaFilterSchema, location="query")
@blueprint.response(200, SagaListSchema)
@permits(Permission.READ)
def list_sagas(query: dict[str, Any]) -> Response:
    """List the sagas that meet all filters, newest first.

    Follow `next_cursor` until it is null: when few sagas match, a page can be short or empty and not be the last.
    """
    check_error_filter(query["error"])
    found = page_of(sagas_where(filter_of(query), datetime.now(UTC)), query["limit"], query["cursor"])
    wanted = waits_for(node().store, found.rows, node().code)
    rows = [summed_up(row, wanted.get(row["saga_id"])) for row in found.rows]
    return json_response({"transactions": rows, "next_cursor": found.next_cursor})


@blueprint.get("/<string:transaction_id>/events")
@blueprint.arguments(EventsPageSchema, location="query")
@blueprint.response(200, EventsSchema)
@blueprint.alt_response(404, "NOT_FOUND")
@blueprint.alt_response(410, "GONE")
@permits(Permission.READ)
def events(query: dict[str, int], transaction_id: str) -> Response:
    """List the events of one saga, in order, in pages.

    Follow `next_cursor` until it is null: a page ends early when its events are large.
    """
    after, log = query["cursor"], node().store.log
    found = log.part(transaction_id, after, query["limit"] + 1, MOST_EVENT_BYTES)
    first = found if after == 0 else log.part(transaction_id, 0, 1, 1)
    if not first or first[0].category != SAGA:
        raise node().store.sagas.absent(transaction_id)
    shown = found[: query["limit"]]
    last = shown[-1].version if shown else after
    has_more = len(found) > len(shown) or (bool(shown) and bool(log.part(transaction_id, last, 1, 1)))
    return json_response(
        {"events": [_shown(log.opened(entry)) for entry in shown], "next_cursor": str(last) if has_more else None}
    )


def _shown(entry: Entry) -> dict[str, Any]:
    return {
        "position": entry.position,
        "version": entry.version,
        "type": entry.type,
        "data": msgspec.Raw(entry.text.encode()),
        "recorded_at": entry.recorded_at,
        "schema": entry.schema,
        "hash": entry.hash,
    }


@blueprint.get("/health")
@blueprint.response(200, SagaHealthSchema)
@blueprint.alt_response(503, "SERVICE_UNAVAILABLE")
@permits(Permission.READ)
def health() -> Response:
    """Show whether the engine runs, and how many sagas of the whole installation have not ended."""
    query = sa.select(sa.func.count()).select_from(sagas).where(sagas.c.status.in_(sorted(UNFINISHED)))
    query = query.where(*seen_by(scope()))
    with node().database.reading() as connection:
        active = connection.scalar(query)
    alive = node().engine.alive
    return json_response(
        {"status": "healthy" if alive else "unhealthy", "active_transactions": active}, 200 if alive else 503
    )


def summed_up(row: Mapping[str, Any], waits_for: str | None = None) -> dict[str, Any]:
    """A row of the view `sagas` as the sender of the request may see it, with the code that it waits for, if any."""
    return {**summary(row, waits_for), "error": shown_error(row["error"])}


class Summaries(msgspec.Struct, frozen=True):
    """The number of sagas, and the newest of them."""

    total: int
    newest: list[dict[str, Any]]


def summaries(connection: Connection, most: int) -> Summaries:
    """The number of sagas, and at most `most` of the newest, as the connection sees them."""
    total = connection.scalar(sa.select(sa.func.count()).select_from(sagas).where(*seen_by(scope()))) or 0
    newest = page(connection, sagas_where(SagaFilter(scope=scope()), datetime.now(UTC)), most)
    return Summaries(total, [summed_up(row) for row in newest.rows])

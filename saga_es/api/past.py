"""The past over HTTP: queries that ask for it, and the views as they were."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from marshmallow import Schema, fields, validate
from sqlalchemy.engine import Connection

from saga_es.api.problems import Problem
from saga_es.api.responses import node
from saga_es.errors import TooMuchPast
from saga_es.store.queries.past import views_at

MOST_FOLDED = 100_000
"""Events that are folded for one answer, at most: some four seconds of a thread that serves."""


class VersionSchema(Schema):
    """Which moment of a saga."""

    at_version = fields.Integer(
        load_default=None,
        validate=validate.Range(min=1),
        metadata={"description": "As it was after so many events."},
    )


class PositionSchema(Schema):
    """Which moment of everything."""

    at_position = fields.Integer(
        load_default=None,
        validate=validate.Range(min=0),
        metadata={
            "description": "As it was once the event at this position was in the log, and all before it. Folds the log "
            f"up to there, so it costs the more the longer that is; at most {MOST_FOLDED} events."
        },
    )


@contextmanager
def views_as_of(position: int | None) -> Iterator[Connection]:
    """A connection to read the views with: as of now, or as they were at a position of the log.

    Raises:
        NoSuchPosition: The log does not reach so far.
        Problem: 422; it would take more than `MOST_FOLDED` events.
    """
    here = node()
    if position is None:
        with here.database.reading() as connection:
            yield connection
        return
    try:
        with views_at(here.store.log, here.views, position, MOST_FOLDED) as connection:
            yield connection
    except TooMuchPast as error:
        raise Problem(422, str(error), {"at_position": [str(error)]}) from error

"""The past over HTTP: query parameters for a version or a position, and the views at a position."""

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
"""The most events that one answer folds: they cost some four seconds of a serving thread."""


class VersionSchema(Schema):
    """The version of a saga to show."""

    at_version = fields.Integer(
        load_default=None,
        validate=validate.Range(min=1),
        metadata={"description": "The saga after this many events."},
    )


class PositionSchema(Schema):
    """The position of the log to show."""

    at_position = fields.Integer(
        load_default=None,
        validate=validate.Range(min=0),
        metadata={
            "description": "The state after the event at this position of the log. The answer folds the log up to "
            f"there, so a longer log costs more; at most {MOST_FOLDED} events."
        },
    )


@contextmanager
def views_as_of(position: int | None) -> Iterator[Connection]:
    """A connection that reads the views as of now, or as they were at a position of the log.

    Raises:
        NoSuchPosition: The log ends before the position.
        Problem: 422: the log up to the position has more than `MOST_FOLDED` events.
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

"""Answers: JSON with times in UTC and `Z`, and pages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import sqlalchemy as sa
from flask import Response, current_app
from marshmallow import Schema, fields, validate

from saga_es.api.access import principal
from saga_es.api.problems import Problem
from saga_es.core.state import SagaState
from saga_es.node.node import Node
from saga_es.store.queries.pages import BadCursor, Page, Selection, page

NODE = "saga_es.node"
"""The Flask extension whose value is a function that returns the node, opened."""

DEFAULT_PAGE = 50
LARGEST_PAGE = 500

_encode = msgspec.json.Encoder().encode


class PageSchema(Schema):
    """The page of a list to show."""

    limit = fields.Integer(load_default=DEFAULT_PAGE, validate=validate.Range(1, LARGEST_PAGE))
    cursor = fields.String(load_default=None, metadata={"description": "The next_cursor of the previous page."})


def node() -> Node:
    """The node that serves this request, as its sender may see it."""
    opened: Callable[[], Node] = current_app.extensions[NODE]
    return opened().seen_by(principal())


def check_seen(saga_id: str) -> SagaState:
    """The saga of this id, if the sender of the request may see it: the others are absent, like unknown ones.

    Raises:
        NotFound: It is not there for them.
        SagaArchived: It was archived.
    """
    sagas = node().store.sagas
    state = sagas.find(saga_id)
    if state is None:
        raise sagas.absent(saga_id)
    return state


def json_response(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """An answer in JSON; it encodes structs, enums and times."""
    return Response(_encode(body), status, headers, content_type="application/json")


def page_of(source: sa.Table | Selection, limit: int, cursor: str | None) -> Page:
    """A page of a view, or of a selection of its rows; an unreadable cursor is answered with 422."""
    try:
        with node().database.reading() as connection:
            return page(connection, source, limit, cursor)
    except BadCursor as error:
        raise Problem(422, str(error), {"cursor": [str(error)]}) from error

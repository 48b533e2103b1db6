"""Answers: JSON with times in UTC and `Z`, and pages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import msgspec
import sqlalchemy as sa
from flask import Response, current_app
from marshmallow import Schema, fields, validate

from saga_es.api.problems import Problem
from saga_es.node.node import Node
from saga_es.store.queries.pages import BadCursorError, Page, Selection, page

DEFAULT_PAGE = 50
LARGEST_PAGE = 500

_encode = msgspec.json.Encoder().encode


class PageSchema(Schema):
    """Which page of a list."""

    limit = fields.Integer(load_default=DEFAULT_PAGE, validate=validate.Range(1, LARGEST_PAGE))
    cursor = fields.String(load_default=None, metadata={"description": "The next_cursor of the page before."})


def node() -> Node:
    """The node that serves this request."""
    return cast("Node", current_app.extensions["saga_es"])


def json_response(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """An answer in JSON; knows structs, enums and instants."""
    return Response(_encode(body), status, headers, content_type="application/json")


def page_of(source: sa.Table | Selection, limit: int, cursor: str | None) -> Page:
    """A page of a view, or of a selection of its rows; an unreadable cursor is a 422."""
    try:
        with node().database.reading() as connection:
            return page(connection, source, limit, cursor)
    except BadCursorError as error:
        raise Problem(422, str(error), {"cursor": [str(error)]}) from error

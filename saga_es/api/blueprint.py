"""Blueprints that read strict JSON, and whose decorators cost a request little."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any

import flask_smorest
import msgspec
from flask import Request, Response
from marshmallow import missing
from webargs.flaskparser import FlaskParser

from saga_es.access.permissions import DECLARED, Permission

JSON = "application/json"

Route = Callable[..., Any]
Decorator = Callable[[Route], Route]


class StrictParser(FlaskParser):
    """Reads JSON by RFC 8259; endless numbers, endless nesting and unpaired surrogates are errors."""

    def _raw_load_json(self, req: Request) -> Any:
        if req.environ.get("CONTENT_TYPE") != JSON and not req.is_json:
            return super()._raw_load_json(req)
        body = req.get_data(cache=True)
        try:
            return msgspec.json.decode(body) if body else missing
        except (msgspec.DecodeError, UnicodeError, ValueError, RecursionError) as error:
            raise json.JSONDecodeError(str(error), "no JSON", 0) from error  # webargs answers 400


class Blueprint(flask_smorest.Blueprint):  # type: ignore[misc]  # the library is untyped
    """A flask-smorest blueprint that reads strict JSON.

    The library checks in each request, once for each decorator of the route, whether the function is `async def`. This
    class checks once, and decorators that only document a route are not called at all.

    Args:
        body_is_optional: Whether a POST, PUT or PATCH without a body needs no content type.
        permission: What its routes ask for that do not declare it themselves (`permits`); None: they are denied.
    """

    ARGUMENTS_PARSER = StrictParser()

    def __init__(
        self, *args: Any, body_is_optional: bool = False, permission: Permission | None = None, **options: Any
    ) -> None:
        super().__init__(*args, **options)
        setattr(self, DECLARED, permission)
        self.body_is_optional = body_is_optional

    def add_url_rule(self, rule: str, *args: Any, **options: Any) -> None:
        """Add a route. Its slashes are never merged: `status//lead` is not `status/lead`, another saga."""
        super().add_url_rule(rule, *args, **{"merge_slashes": False, **options})

    @staticmethod
    def doc(**words: Any) -> Decorator:
        """Describe the route, in the words of the OpenAPI document."""
        return _only_documenting(flask_smorest.Blueprint.doc(**words))

    def alt_response(self, *args: Any, **options: Any) -> Decorator:
        """Describe another answer of the route."""
        return _only_documenting(super().alt_response(*args, **options))

    def response(self, *args: Any, **options: Any) -> Decorator:
        """Describe the answer of the route, and make the answer from the return value unless it is one already."""
        decorator: Decorator = super().response(*args, **options)

        def decorate(route: Route) -> Route:
            documented = decorator(route)
            if iscoroutinefunction(route):
                return documented
            made_answer = decorator(_itself)

            @wraps(documented)
            def answer(*args: Any, **kwargs: Any) -> Any:
                returned = route(*args, **kwargs)
                return returned if isinstance(returned, Response) else made_answer(returned)

            return answer

        return decorate


def _only_documenting(decorator: Decorator) -> Decorator:
    """The decorator without its part in a request, which only passes the call on."""

    def decorate(route: Route) -> Route:
        documented = decorator(route)
        if iscoroutinefunction(route):
            return documented

        @wraps(documented)
        def same(*args: Any, **kwargs: Any) -> Any:
            return route(*args, **kwargs)

        return same

    return decorate


def _itself(returned: Any) -> Any:
    return returned

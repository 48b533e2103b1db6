"""Blueprints whose bodies are read as strict JSON."""

from __future__ import annotations

import json
from typing import Any

import flask_smorest
import msgspec
from flask import Request
from marshmallow import missing
from webargs.flaskparser import FlaskParser


class StrictParser(FlaskParser):
    """Reads JSON as RFC 8259 has it: numbers or nesting without end, and halves of characters, are no JSON."""

    def _raw_load_json(self, req: Request) -> Any:
        if not req.is_json:
            return super()._raw_load_json(req)
        body = req.get_data(cache=True)
        try:
            return msgspec.json.decode(body) if body else missing
        except (msgspec.DecodeError, UnicodeError, ValueError, RecursionError) as error:
            raise json.JSONDecodeError(str(error), "no JSON", 0) from error  # which webargs answers with 400


class Blueprint(flask_smorest.Blueprint):  # type: ignore[misc]  # the library is untyped
    """A flask-smorest blueprint that reads strict JSON."""

    ARGUMENTS_PARSER = StrictParser()

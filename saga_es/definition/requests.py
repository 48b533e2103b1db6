"""Requests to participants, as values: a step can call a request instead of a function."""

from __future__ import annotations

import re
import string
from collections.abc import Mapping
from functools import cached_property
from typing import Any
from urllib.parse import quote

import msgspec

from saga_es.definition.signatures import Asked, Function, asked_by, call
from saga_es.errors import DefinitionError

_FIELD = re.compile(r"[A-Za-z_]\w*(\[\w+\])*")


class Request(msgspec.Struct, frozen=True, dict=True):
    """A call to a participant over HTTP, as a value; made with `Participant.post` and its siblings.

    Attributes:
        participant: The name of the service; its base URL is a setting.
        path: May contain names like the parameters of a step function, with indexes: `/seats/{booking[seat_id]}`.
        body: A function that makes the JSON body; its parameters name the values it receives.
    """

    participant: str
    method: str
    path: str
    body: Function | None = None

    def __post_init__(self) -> None:
        _names_in(self.path)

    @cached_property
    def asked(self) -> Asked:
        """The names that the path and the body ask for, each once."""
        of_body = asked_by(self.body) if self.body else Asked(())
        return Asked(tuple(dict.fromkeys([*_names_in(self.path), *of_body.needs])), of_body.may_have)

    def url_path(self, given: Mapping[str, Any]) -> str:
        """The path with its names filled in; each value is quoted, so that it stays one segment."""
        return _QuotingFormatter().vformat(self.path, (), given)

    def json_body(self, given: Mapping[str, Any]) -> Any:
        """The body as a value for JSON; None when the request has none."""
        if self.body is None:
            return None
        its = asked_by(self.body)
        return call(self.body, its, {name: given[name] for name in (*its.needs, *its.may_have) if name in given})


class Participant:
    """A service that takes part in sagas, given by its name.

    Calls go to the base URL in the setting `SAGA_ES_PARTICIPANT_<NAME>`; without that setting, they go to the
    application in this process.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def get(self, path: str) -> Request:
        """A GET from this participant, which must change nothing there: a probe."""
        return Request(self.name, "GET", path)

    def post(self, path: str, body: Function | None = None) -> Request:
        """A POST to this participant."""
        return Request(self.name, "POST", path, body)

    def put(self, path: str, body: Function | None = None) -> Request:
        """A PUT to this participant."""
        return Request(self.name, "PUT", path, body)

    def delete(self, path: str, body: Function | None = None) -> Request:
        """A DELETE to this participant."""
        return Request(self.name, "DELETE", path, body)


def _names_in(path: str) -> list[str]:
    """The names that a path asks for: `{name}` or `{name[index]}`, and nothing else."""
    try:
        parts = list(string.Formatter().parse(path))
    except ValueError as error:
        raise DefinitionError(f"the path {path!r} cannot be read: {error}") from error
    names = []
    for _, field, spec, conversion in parts:
        if field is None:
            continue
        if conversion or "{" in (spec or "") or not _FIELD.fullmatch(field):
            raise DefinitionError(
                f"the path {path!r} may contain {{name}} and {{name[index]}}, but no attributes: {{{field}}}"
            )
        names.append(field.partition("[")[0])
    return names


class _QuotingFormatter(string.Formatter):
    def format_field(self, value: Any, format_spec: str) -> str:
        segment = quote(str(super().format_field(value, format_spec)), safe="")
        if segment in {"", ".", ".."}:  # these would change the path
            raise ValueError(f"{value!r} cannot be a segment of a path")
        return segment

"""Requests to participants, as values: a step can call a request instead of a function."""

from __future__ import annotations

import re
import string
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal, get_args
from urllib.parse import quote, unquote

import msgspec

from saga_es.definition.annotations import typed
from saga_es.definition.credentials import NONE, Credentials, Source
from saga_es.definition.signatures import Asked, Function, asked_by, call
from saga_es.errors import DefinitionError

Form = Literal["json", "text", "any"]
"""What a request takes for the result of a 2xx: JSON, the text, or JSON where it is some and else nothing."""

_FIELD = re.compile(r"[A-Za-z_]\w*(\[\w+\])*")


class Request(msgspec.Struct, frozen=True, dict=True):
    """A call to a participant over HTTP, as a value; made with `Participant.post` and its siblings.

    Attributes:
        participant: The name of the service; its base URL is a setting.
        path: May contain names like the parameters of a step function, with indexes: `/seats/{booking[seat_id]}`.
            A value is one segment; with `{booking[file]:path}` it may be several.
        body: A function that makes the JSON body; its parameters name the values it receives.
        answer: What the result of a 2xx is: `"json"`; `"text"`; `"any"`: JSON, or nothing when it is none.
        credentials: What the code says that the participant is shown.
        accepts_202: Whether the participant may answer 202, and tell later what the call came to.
    """

    participant: str
    method: str
    path: str
    body: Function | None = None
    answer: Form = "json"
    credentials: Credentials = NONE
    accepts_202: bool = False

    def __post_init__(self) -> None:
        _names_in(self.path)
        if self.answer not in get_args(Form):
            raise DefinitionError(f"an answer is one of {', '.join(get_args(Form))}, not {self.answer!r}")

    @cached_property
    def asked(self) -> Asked:
        """The names that the path and the body ask for, each once."""
        of_body = asked_by(self.body) if self.body else Asked(())
        return Asked(tuple(dict.fromkeys([*_names_in(self.path), *of_body.needs])), of_body.may_have)

    def url_path(self, given: Mapping[str, Any]) -> str:
        """The path with its names filled in. A value stays one segment, unless its name says `:path`.

        Raises:
            ValueError: A value cannot stand there.
        """
        before, mark, query = self.path.partition("?")
        path = _SEGMENTS.vformat(before, (), given)
        if not path.isascii():
            path = quote(path, safe="/%:@!$&'()*+,;=~")
        if ".." not in before and not {".", ".."}.isdisjoint(unquote(path).split("/")):
            raise ValueError(f"{path!a} leads elsewhere: it has a segment that is . or ..")
        path = path if path.startswith("/") else f"/{path}"
        return f"{path}?{_QUOTED.vformat(query, (), given)}" if mark else path

    def json_body(self, given: Mapping[str, Any]) -> Any:
        """The body as a value for JSON; None when the request has none."""
        if self.body is None:
            return None
        its = asked_by(self.body)
        values = {name: given[name] for name in (*its.needs, *its.may_have) if name in given}
        return call(self.body, its, typed(self.body, values))


class Participant:
    """A service that takes part in sagas, given by its name.

    Calls go to the base URL in the setting `SAGA_ES_PARTICIPANT_<NAME>`; without that setting, they go to the
    application in this process.

    Args:
        name: Its name.
        auth: `bearer TOKEN`, `basic USER:PASSWORD` or `oauth2 TOKEN-URL CLIENT-ID SECRET [SCOPE …]`, where `env:NAME`
            or `file:/path` may stand for the secret, or a function that returns such a text; it is asked at each
            request. `SAGA_ES_PARTICIPANT_<NAME>_AUTH` replaces it, and so do `…_CA`, `…_CERT`, `…_KEY`, `…_SIGN` and
            `…_PROXY` the others.
        ca: The authorities that are trusted there, in PEM; a source, too.
        cert: Our certificate, in PEM.
        key: Its private key, in PEM.
        sign: `ed25519 KEY-ID SOURCE` or `hmac-sha256 KEY-ID SOURCE`: each request is signed with it (RFC 9421).
        proxy: `http://[USER:PASSWORD@]HOST:PORT`: calls go through a tunnel that this proxy gives; a source, too.
    """

    def __init__(
        self,
        name: str,
        *,
        auth: Source | None = None,
        ca: Source | None = None,
        cert: Source | None = None,
        key: Source | None = None,
        sign: Source | None = None,
        proxy: Source | None = None,
    ) -> None:
        self.name = name
        self.credentials = Credentials(auth=auth, ca=ca, cert=cert, key=key, sign=sign, proxy=proxy)

    def get(self, path: str, *, answer: Form = "json") -> Request:
        """A GET from this participant, which must change nothing there: a probe."""
        return Request(self.name, "GET", path, answer=answer, credentials=self.credentials)

    def post(
        self, path: str, body: Function | None = None, *, answer: Form = "json", accepts_202: bool = False
    ) -> Request:
        """A POST to this participant. With `accepts_202` it may answer 202, and tell later what the call came to."""
        return Request(self.name, "POST", path, body, answer, self.credentials, accepts_202)

    def put(
        self, path: str, body: Function | None = None, *, answer: Form = "json", accepts_202: bool = False
    ) -> Request:
        """A PUT to this participant; see `post`."""
        return Request(self.name, "PUT", path, body, answer, self.credentials, accepts_202)

    def delete(
        self, path: str, body: Function | None = None, *, answer: Form = "json", accepts_202: bool = False
    ) -> Request:
        """A DELETE to this participant; see `post`."""
        return Request(self.name, "DELETE", path, body, answer, self.credentials, accepts_202)


def _names_in(path: str) -> list[str]:
    """The names that a path asks for: `{name}` or `{name[index]}`, and nothing else."""
    try:
        parts = list(string.Formatter().parse(path))
    except ValueError as error:
        raise DefinitionError(f"the path {path!r} cannot be read: {error}") from error
    if re.search(r"[\x00-\x20\x7f\\#]", path):
        raise DefinitionError(f"the path {path!a} holds a blank, a control character, a backslash or a #")
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


_SEVERAL = "path"
_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class _Quoted(string.Formatter):
    """Fills the names of a query in, quoted."""

    def format_field(self, value: Any, format_spec: str) -> str:
        if value is None or isinstance(value, dict | list):
            raise ValueError(f"{value!a:.80} cannot stand in a URL: it is no text and no number")
        words = str(super().format_field(value, format_spec))
        if _UNSEEN.search(words):
            raise ValueError(f"{words!a:.80} cannot stand in a URL: it holds a control character or a line break")
        return quote(words, safe="")


class _Segments(_Quoted):
    """Fills the names of a path in. A value could else lead to what belongs to others: `7/guests/ada`, `..`."""

    def format_field(self, value: Any, format_spec: str) -> str:
        if format_spec != _SEVERAL:
            segment = super().format_field(value, format_spec)
            _check_segment(value, segment)
            return segment
        parts = value.split("/") if isinstance(value, str) else [value]
        segments = [super(_Segments, self).format_field(part, "") for part in parts]
        for segment in segments:
            _check_segment(value, segment)
        return "/".join(segments)


def _check_segment(value: Any, segment: str) -> None:
    """Refuse what is no segment, also after a server has unquoted it once more than it should."""
    seen = unquote(unquote(unquote(segment)))
    if seen in {"", ".", ".."} or not {"/", "\\"}.isdisjoint(seen):
        raise ValueError(
            f"{value!a:.80} cannot be a segment of a path; where it may be several, write {{name:{_SEVERAL}}}"
        )


_QUOTED = _Quoted()
_SEGMENTS = _Segments()

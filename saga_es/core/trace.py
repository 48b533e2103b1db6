"""The trace of a saga: the W3C Trace Context of its start, as the log keeps it and as calls and messages give it on."""

from __future__ import annotations

import re
from typing import Any, Protocol

import msgspec

LONGEST_TRACEPARENT = 255
"""Characters; the present version has 55, and a later one may append to them."""

LONGEST_TRACESTATE = 512
MOST_MEMBERS = 32

# https://www.w3.org/TR/trace-context-2/#traceparent-header
_TRACEPARENT = re.compile("(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_VALUE = r"\x21-\x2b\x2d-\x3c\x3e-\x7e"  # what can be read, without comma and equals sign
_MEMBER = re.compile(f"[a-z0-9][a-z0-9_*/@-]{{0,255}}=[ {_VALUE}]{{0,255}}[{_VALUE}]")
_FIRST_VERSION = "00"
_KNOWN_FLAGS = 0b11


class Headers(Protocol):
    """Headers of a request, by name: a dict, or what frameworks have, which makes no difference between cases."""

    def get(self, name: str, /) -> Any:
        """The value of a header; None when it is not there."""
        ...


class Trace(msgspec.Struct, frozen=True, omit_defaults=True):
    """The span to which what follows belongs, by the names of its headers.

    Attributes:
        traceparent: The trace, the span in it, and whether it is sampled.
        tracestate: What tracing systems add to it.
    """

    traceparent: str
    tracestate: str | None = None

    @property
    def trace_id(self) -> str:
        """The id of the trace: 32 hexadecimal digits."""
        return self.traceparent[3:35]

    @property
    def span_id(self) -> str:
        """The id of the span: 16 hexadecimal digits."""
        return self.traceparent[36:52]

    @property
    def headers(self) -> dict[str, str]:
        """The headers that give it on."""
        headers = {"traceparent": self.traceparent}
        return headers if self.tracestate is None else {**headers, "tracestate": self.tracestate}


def trace_of(headers: Headers) -> Trace | None:
    """The trace that headers carry; None when there is none, or it is not valid: then a new one may begin.

    One of a later version is given on in the version that is known here.
    """
    given = headers.get("traceparent")
    if not isinstance(given, str) or len(given) > LONGEST_TRACEPARENT:
        return None
    match = _TRACEPARENT.fullmatch(given)
    if match is None or (match[1] == _FIRST_VERSION and match[5]):
        return None
    flags = match[4] if match[1] == _FIRST_VERSION else f"{int(match[4], 16) & _KNOWN_FLAGS:02x}"
    return Trace(f"{_FIRST_VERSION}-{match[2]}-{match[3]}-{flags}", _state_of(headers.get("tracestate")))


def _state_of(given: object) -> str | None:
    """The state, if it is valid; the trace is right without it."""
    if not isinstance(given, str) or len(given) > LONGEST_TRACESTATE:
        return None
    members = [member for part in given.split(",") if (member := part.strip(" \t"))]
    if not members or len(members) > MOST_MEMBERS or not all(map(_MEMBER.fullmatch, members)):
        return None
    return ",".join(members)

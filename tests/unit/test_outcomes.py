"""What an answer means: the table of the contract, row by row."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import cast

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from saga_es.core.outcomes import Completed, Rejected, Unavailable, Unknown, Unrecordable
from saga_es.definition.requests import Form
from saga_es.errors import StepRejected, StepUnavailable
from saga_es.runtime.calls.answers import Answer, AnswerLost, NotSent
from saga_es.runtime.calls.outcomes import (
    ERROR_LIMIT,
    LONGEST_RETRY_AFTER_S,
    outcome_of_answer,
    outcome_of_error,
    outcome_of_probe,
    retry_after_s,
    text,
)

NOT_NOW = [408, 425, 429]
REFUSED = [status for status in range(400, 500) if status not in NOT_NOW]


BUSY = ("StepUnavailable", "SagaError", "Exception")
"""What a retry policy may call it: its class, and those it is derived from."""


def answer(status: int, body: bytes = b"", **headers: str) -> Answer:
    return Answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


# ── The table ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_2xx_is_done(status: int) -> None:
    """The JSON of the body is the result; no body is the result None."""
    assert outcome_of_answer(answer(status, b'{"id": 7}')) == Completed({"id": 7})
    assert outcome_of_answer(answer(status)) == Completed(None)


@pytest.mark.parametrize("status", REFUSED)
def test_4xx_is_refused_for_good(status: int) -> None:
    """Nothing was done, and asking again would not help."""
    assert outcome_of_answer(answer(status, b'{"detail": "sold out"}')) == Rejected(f"HTTP {status}: sold out")


@pytest.mark.parametrize("status", NOT_NOW)
def test_408_425_and_429_are_not_now(status: int) -> None:
    """Nothing was done; the participant may say how long to wait, and a policy may know the status."""
    kinds = (f"HTTP {status}",)
    assert outcome_of_answer(answer(status)) == Unavailable(f"HTTP {status}: no body", None, kinds)
    assert outcome_of_answer(answer(status, retry_after="7")) == Unavailable(f"HTTP {status}: no body", 7.0, kinds)


@pytest.mark.parametrize("status", [500, 502, 503, 504, 599])
def test_5xx_is_unknown(status: int) -> None:
    """It may have happened before the server failed; a Retry-After says when to ask again, and nothing of that."""
    found = outcome_of_answer(answer(status, retry_after="7"))
    assert found == Unknown(f"HTTP {status}: no body", (f"HTTP {status}",), 7.0)


@pytest.mark.parametrize("status", [100, 301, 302, 307, 399, 600])
def test_what_is_no_answer_at_all_is_unknown(status: int) -> None:
    """A redirect is not followed, and nobody knows what it means."""
    assert isinstance(outcome_of_answer(answer(status)), Unknown)


@pytest.mark.parametrize("body", [b"<html>", b"{", b"\xff", b" ", b"NaN", b'{"a": 1} x'])
def test_2xx_with_an_unreadable_body_is_unknown(body: bytes) -> None:
    """It was probably done, but its result is lost."""
    outcome = outcome_of_answer(answer(200, body))
    assert isinstance(outcome, Unknown)
    assert outcome.error.startswith("HTTP 200 with an answer that is not JSON")


@pytest.mark.parametrize(("status", "kind"), [(200, Unrecordable), (409, Rejected), (429, Unavailable), (500, Unknown)])
def test_a_body_nested_beyond_measure_is_an_outcome_like_any_other(status: int, kind: type) -> None:
    """Whatever a participant sends, the status decides, and nothing is raised."""
    assert isinstance(outcome_of_answer(answer(status, b"[" * 100_000)), kind)


@for_all(st.integers(100, 599), st.binary(max_size=50), st.text(max_size=40))
def test_every_answer_means_something(status: int, body: bytes, header: str) -> None:
    """No status, body or header makes the table raise."""
    outcome = outcome_of_answer(answer(status, body, retry_after=header))
    assert isinstance(outcome, Completed | Rejected | Unavailable | Unknown)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (StepRejected("sold out"), Rejected("sold out")),
        (StepUnavailable("busy"), Unavailable("busy", None, BUSY)),
        (StepUnavailable("busy", 3), Unavailable("busy", 3, BUSY)),
        (StepUnavailable("busy", -3), Unavailable("busy", 0, BUSY)),
        (StepUnavailable("busy", math.nan), Unavailable("busy", None, BUSY)),
        (StepUnavailable("busy", cast("float", "soon")), Unavailable("busy", None, BUSY)),
        (StepUnavailable("busy", 10**400), Unavailable("busy", None, BUSY)),
        (StepUnavailable("busy", math.inf), Unavailable("busy", LONGEST_RETRY_AFTER_S, BUSY)),
        (NotSent("refused"), Unavailable("refused")),
        (AnswerLost("reset"), Unknown("reset")),
        (ValueError("oops"), Unknown("ValueError: oops", ("ValueError", "Exception"))),
        (TimeoutError(), Unknown("TimeoutError: ", ("TimeoutError", "OSError", "Exception"))),
        (SystemExit(3), Unknown("SystemExit: 3", ("SystemExit",))),
        (KeyboardInterrupt(), Unknown("KeyboardInterrupt: ", ("KeyboardInterrupt",))),
    ],
)
def test_what_is_raised_means_something(
    error: BaseException, outcome: Completed | Rejected | Unavailable | Unknown
) -> None:
    """Two errors are answers, two are the network's; of any other nobody knows what was done before."""
    assert outcome_of_error(error) == outcome


class UnspeakableError(Exception):
    """An error that cannot even be shown."""

    def __init__(self, instead: BaseException) -> None:
        super().__init__()
        self._instead = instead

    def __str__(self) -> str:
        """Fail."""
        raise self._instead


@pytest.mark.parametrize(
    "instead", [RuntimeError("no words"), SystemExit(3), KeyboardInterrupt(), GeneratorExit()], ids=repr
)
def test_an_error_that_cannot_be_shown_is_unknown(instead: BaseException) -> None:
    """Its type is all that can be said, and it is said."""
    outcome = outcome_of_error(UnspeakableError(instead))
    assert isinstance(outcome, Unknown)
    assert "UnspeakableError" in outcome.error


# ── What an answer says ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"detail": "d", "message": "m", "title": "t"}', "d"),
        (b'{"message": "m", "title": "t"}', "m"),
        (b'{"title": "t"}', "t"),
        (b"{}", "no detail"),
        (b'{"code": 17}', '{"code": 17}'),
        (b'{"error": "sold out"}', "sold out"),
        (b'{"error": {"code": 5, "message": "sold out", "status": "NOT_FOUND"}}', "sold out"),
        (b'{"error": {"errors": [{"reason": "sold out"}]}}', "sold out"),
        (b'{"error": "invalid_grant", "error_description": "the token expired"}', "invalid_grant: the token expired"),
        (b'{"timestamp": "2030", "status": 500, "error": "Internal Server Error", "message": "no room"}', "no room"),
        (b'{"status": 500, "error": "Internal Server Error", "message": ""}', "Internal Server Error"),
        (b'{"errors": [{"title": "Bad", "detail": "no room"}, {"message": "no bed"}]}', "no room; no bed"),
        (b'{"detail": [{"loc": ["body", "n"], "msg": "field required"}]}', "field required"),
        (b'{"Message": "no room"}', "no room"),
        (b"<html><head><title>502 Bad\n Gateway &amp; so</title></head><body>x", "502 Bad Gateway & so"),
        (b"<html><body><h1 class='x'>Not <b>here</b></h1>", "Not here"),
        (b"<soap:Fault><faultstring>no room</faultstring></soap:Fault>", "no room"),
        (b'{"detail": "d", "errors": {"name": ["missing"]}}', "d {'name': ['missing']}"),
        (b'"just words"', "just words"),
        (b"[1, 2]", "[1, 2]"),
        (b"<html>oops", "<html>oops"),
        (b"\xffoops", "\N{REPLACEMENT CHARACTER}oops"),
        (b"", "no body"),
        (b"x" * 5_000, "x" * 200),
    ],
)
def test_an_error_says_what_the_problem_document_says(body: bytes, words: str) -> None:
    """Its detail, else its message, else its title, else the start of the body."""
    assert outcome_of_answer(answer(409, body)) == Rejected(f"HTTP 409: {words}")


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("/login", "/login"),
        ("https://elsewhere.example/rooms", "https://elsewhere.example/rooms"),
        ("https://user:secret@elsewhere.example/rooms?token=secret#secret", "https://elsewhere.example/rooms?…"),
        ("http://[secret", "a place that cannot be read"),
    ],
)
def test_a_redirect_names_where_it_leads(location: str, shown: str) -> None:
    """Without what may be secret."""
    outcome = outcome_of_answer(Answer(302, {"location": location}, b"<title>Found</title>"))
    assert outcome == Unknown(f"HTTP 302: it redirects to {shown}, and redirects are not followed", ("HTTP 302",))


def _members(nested: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    names = st.sampled_from(["error", "message", "errors", "detail", "code", "error_description"])
    return st.lists(nested, max_size=3) | st.dictionaries(names, nested, max_size=3)


@for_all(st.recursive(st.none() | st.text(max_size=5) | st.integers(), _members, max_leaves=20))
def test_a_reason_is_found_or_the_body_is_shown(body: object) -> None:
    """Whatever JSON it is, the error is a text, and is not empty."""
    outcome = outcome_of_answer(answer(409, json.dumps(body).encode()))
    assert isinstance(outcome, Rejected)
    assert len(outcome.error) > len("HTTP 409: ")


@pytest.mark.parametrize(
    ("form", "body", "outcome"),
    [
        ("text", b"room 7", Completed("room 7")),
        ("text", b"", Completed("")),
        ("text", b'{"room": 7}', Completed('{"room": 7}')),
        ("text", b"\xff", Completed("\N{REPLACEMENT CHARACTER}")),
        ("any", b"OK", Completed()),
        ("any", b"<html>", Completed()),
        ("any", b'{"room": 7}', Completed({"room": 7})),
    ],
)
def test_a_request_may_take_an_answer_that_is_not_json(form: Form, body: bytes, outcome: Completed) -> None:
    """As text, or as nothing; a 2xx is done."""
    assert outcome_of_answer(answer(200, body), form) == outcome
    assert outcome_of_probe(answer(200, body), form) == outcome
    assert isinstance(outcome_of_answer(answer(500, body), form), Unknown)


@pytest.mark.parametrize("body", [b"47", b"order 47"])
def test_an_answer_without_a_length_that_ends_with_a_digit_is_done_where_any_2xx_is(body: bytes) -> None:
    """As servers of HTTP/1.0 send it. A number that may have been cut is no result; the call was made."""
    cut_perhaps = Answer(200, {}, body, ends_with_connection=True)
    assert outcome_of_answer(cut_perhaps, "any") == Completed()
    assert outcome_of_answer(cut_perhaps, "text") == Completed(body.decode())
    assert isinstance(outcome_of_answer(cut_perhaps), Unknown)


@pytest.mark.parametrize(("header", "seconds"), [(None, None), ("7", 7.0), ("9" * 20, LONGEST_RETRY_AFTER_S)])
def test_a_server_error_may_say_when_to_come_again(header: str | None, seconds: float | None) -> None:
    """A 503 above all, but any 5xx; it is unknown all the same."""
    for status in (500, 503, 504):
        outcome = outcome_of_answer(Answer(status, {} if header is None else {"retry-after": header}, b"oops"))
        assert outcome == Unknown(f"HTTP {status}: oops", (f"HTTP {status}",), seconds)


def test_a_long_detail_is_cut() -> None:
    """It stands in the log for ever."""
    outcome = outcome_of_answer(answer(409, b'{"detail": "' + b"x" * 10_000 + b'"}'))
    assert isinstance(outcome, Rejected)
    assert len(outcome.error) == ERROR_LIMIT


# ── Retry-After ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("0", 0.0),
        ("120", 120.0),
        ("1.5", 1.5),
        (" 5 ", 5.0),
        ("-5", 0.0),
        ("1e9", LONGEST_RETRY_AFTER_S),
        ("inf", LONGEST_RETRY_AFTER_S),
        ("9" * 400, LONGEST_RETRY_AFTER_S),
        ("nan", None),
        ("", None),
        ("soon", None),
        ("Wed, 99 Foo 2026 99:99:99 GMT", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", LONGEST_RETRY_AFTER_S),
    ],
)
def test_a_retry_after_is_seconds_within_a_day_or_nothing(header: str | None, seconds: float | None) -> None:
    """Garbage is as good as none, the past is now, and nobody makes a saga wait longer than a day."""
    assert retry_after_s(header) == seconds


@pytest.mark.parametrize("zone", ["GMT", "-0000"])
def test_a_retry_after_may_be_a_date(zone: str) -> None:
    """It is aborted into seconds from now, also when its zone is not told."""
    header = format_datetime(datetime.now(UTC) + timedelta(seconds=60)).replace("+0000", zone)
    found = retry_after_s(header)
    assert found is not None
    assert 55 < found <= 60


def test_a_date_with_an_impossible_zone_is_as_good_as_none() -> None:
    """A participant cannot turn its own `not now` into `unknown` by a broken header."""
    assert retry_after_s("Mon, 01 Jan 2029 00:00:00 +99999999999999") is None


@for_all(st.text(max_size=40))
def test_no_header_makes_the_reading_fail(header: str) -> None:
    """Whatever stands there: seconds within bounds, or nothing."""
    found = retry_after_s(header)
    assert found is None or 0 <= found <= LONGEST_RETRY_AFTER_S


# ── Text that every database stores ──────────────────────────────────────────────────────────────────────


def test_text_has_no_nul_and_no_half_characters() -> None:
    """PostgreSQL refuses NUL, and no UTF-8 can be made of half a pair."""
    assert text("a\0b\ud800c") == "a\N{REPLACEMENT CHARACTER}b?c"
    assert text("Zoë ✓ 🎟") == "Zoë ✓ 🎟"


@pytest.mark.parametrize(("length", "kept"), [(ERROR_LIMIT, ERROR_LIMIT), (ERROR_LIMIT + 1, ERROR_LIMIT)])
def test_text_is_bounded(length: int, kept: int) -> None:
    """What is cut ends in an ellipsis."""
    found = text("x" * length)
    assert len(found) == kept
    assert found.endswith("…") == (length > kept)


@for_all(st.text(st.characters(), max_size=100))
def test_text_can_always_be_encoded(words: str) -> None:
    """Whatever an error says."""
    assert "\0" not in text(words)
    text(words).encode()

"""The hash chain: a fixed form that anybody can compute, and that leaves nothing out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saga_es.errors import VersionConflict
from saga_es.store.log.chain import Head, chain, event_hash, genesis
from saga_es.store.log.heads import Heads

AT = datetime(2024, 2, 29, 23, 59, 58, 123457, tzinfo=UTC)
EVENT: dict[str, Any] = {
    "previous": genesis("order-7"),
    "stream_id": "order-7",
    "category": "saga",
    "version": 1,
    "type_": "SagaStarted",
    "schema": 1,
    "text": '{"name":"Żółć"}',
    "recorded_at": AT,
}


def test_the_form_is_fixed_for_ever() -> None:
    """These bytes and these digits stand in docs/the-log.md, too: logs of the past must verify in all future."""
    assert genesis("order-7") == sha256(b"14:saga_es stream,7:order-7,").hexdigest()
    assert genesis("order-7") == "a58568687754f24ee5be7a3c7dd14745b5ccd4899c3645533e0a441c343e26b2"
    written = (
        "64:a58568687754f24ee5be7a3c7dd14745b5ccd4899c3645533e0a441c343e26b2,7:order-7,4:saga,1:1,"
        '11:SagaStarted,1:1,19:{"name":"Żółć"},27:2024-02-29T23:59:58.123457Z,'
    )
    assert event_hash(**EVENT) == sha256(written.encode()).hexdigest()
    assert event_hash(**EVENT) == "5bf1f6e5f1a733490911286018fca91098d52c98c97327b0f7c270203b499c78"


CHANGES: dict[str, Any] = {
    "previous": genesis("order-8"),
    "stream_id": "order-8",
    "category": "sagb",
    "version": 2,
    "type_": "SagaFailed",
    "schema": 2,
    "text": '{"name": "Żółć"}',
    "recorded_at": AT + timedelta(microseconds=1),
}


@pytest.mark.parametrize("column", CHANGES)
def test_every_column_counts(column: str) -> None:
    """Whatever is changed, and be it one blank, the hash is another."""
    assert event_hash(**{**EVENT, column: CHANGES[column]}) != event_hash(**EVENT)


def test_an_instant_counts_and_not_its_zone() -> None:
    """Databases give times back in zones of their own."""
    there = AT.astimezone(timezone(timedelta(hours=5.5)))
    assert event_hash(**{**EVENT, "recorded_at": there}) == event_hash(**EVENT)


texts = st.text(max_size=6) | st.sampled_from(["1:1,", "4:saga,", ",", "0:,"])
Fields = tuple[str, str, int, str, int, str]
fields = st.tuples(texts, texts, st.integers(1, 12), texts, st.integers(1, 2), texts)


@given(fields, fields)
def test_no_two_events_share_a_hash(one: Fields, other: Fields) -> None:
    """Also where what stands in one column could be read as the end of another."""
    same = event_hash("p", *one, AT) == event_hash("p", *other, AT)
    assert same is (one == other)


# ── Chaining ─────────────────────────────────────────────────────────────────────────────────────────────


def row(stream_id: str, version: int) -> dict[str, Any]:
    return {
        "stream_id": stream_id,
        "category": "note",
        "version": version,
        "type": "NoteWritten",
        "schema": 1,
        "data": "{}",
        "recorded_at": AT,
    }


def test_rows_of_many_streams_are_chained_each_to_its_own() -> None:
    """However they are mixed, and in as many appends as one likes, the hashes are the same."""
    together = [row("a", 1), row("b", 1), row("a", 2), row("b", 2), row("a", 3)]
    reached = chain(together, {})
    alone = [row("a", 1), row("a", 2), row("a", 3)]
    first = chain(alone[:1], {})
    assert chain(alone[1:], first) == {"a": reached["a"]}
    assert [r["hash"] for r in alone] == [r["hash"] for r in together if r["stream_id"] == "a"]
    assert len({r["hash"] for r in together}) == 5
    assert {stream_id: head.version for stream_id, head in reached.items()} == {"a": 3, "b": 2}


@pytest.mark.parametrize("heads", [{}, {"a": Head(1, "f00d")}, {"a": Head(3, "f00d")}, {"b": Head(2, "f00d")}])
def test_a_row_that_follows_nothing_is_a_conflict(heads: dict[str, Head]) -> None:
    """There must be no gap, and no chain that goes on from another version than the one before."""
    with pytest.raises(VersionConflict, match="stream a is not at version 2"):
        chain([row("a", 3)], heads)


# ── What is remembered ───────────────────────────────────────────────────────────────────────────────────


def test_the_heads_that_were_used_last_are_kept() -> None:
    """There are never more of them than asked for; those that are over go first."""
    heads = Heads(most=3)
    for name in ("a", "b", "c"):
        heads.learn({name: Head(1, name)})
    heads.learn({"a": Head(2, "aa"), "d": Head(1, "d")})
    assert {name: heads.get(name) for name in "abcd"} == {
        "a": Head(2, "aa"),
        "b": None,
        "c": Head(1, "c"),
        "d": Head(1, "d"),
    }
    heads.learn({"e": Head(9, "e")}, over=["e", "c"])
    assert [name for name in "abcde" if heads.get(name)] == ["a", "d"]
    heads.clear()
    assert len(heads) == 0


def test_the_hashes_of_a_batch_are_those_of_the_format() -> None:
    """Where rows are chained the hash is laid out in place: it is the same as one by one, whatever the text holds."""
    later = AT.astimezone(timezone(timedelta(hours=5, minutes=30)))
    rows = [
        {**row("a", 1), "data": '{"name":"Żółć"}'},
        {**row("a", 2), "type": "Ł", "schema": 7, "recorded_at": later},
        {**row("b", 1), "category": "note", "data": ""},
    ]
    chain(rows, {})
    previous = {stream_id: genesis(stream_id) for stream_id in "ab"}
    for it in rows:
        about = it["stream_id"], it["category"], it["version"], it["type"], it["schema"], it["data"], it["recorded_at"]
        assert it["hash"] == event_hash(previous[it["stream_id"]], *about)
        previous[it["stream_id"]] = it["hash"]

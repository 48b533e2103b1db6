"""Bundles: whole streams in a file; whatever happens to a byte of it is noticed."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from saga_es.errors import BadBundle
from saga_es.store.archive.bundle import Writing, counted, streams_in
from saga_es.store.log.chain import chain
from saga_es.store.log.entries import Entry

AT = datetime(2024, 2, 29, 23, 59, 58, 123457, tzinfo=UTC)
COLUMNS = ("position", "stream_id", "category", "version", "type", "data", "recorded_at", "schema", "hash")


def stream(stream_id: str, *texts: str) -> list[Entry]:
    rows = [
        {
            "position": number * 7,
            "stream_id": stream_id,
            "category": "note",
            "version": number,
            "type": "NoteWritten",
            "data": text,
            "recorded_at": AT,
            "schema": 1,
        }
        for number, text in enumerate(texts, 1)
    ]
    chain(rows, {})
    return [Entry(*(row[name] for name in COLUMNS)) for row in rows]  # type: ignore[arg-type]  # each is of its type


STREAMS = [stream("n-1", '{"text":"a"}', '{"text":"\u2028 \\n"}', '{ "text" :1.50}'), stream("n-2", '{"text":null}')]


def written(*streams: list[Entry]) -> bytes:
    file = io.BytesIO()
    writing = Writing(file, AT)
    for entries in streams:
        writing.add(entries)
    writing.end()
    return file.getvalue()


WHOLE = written(*STREAMS)


def read(path: Path, text: bytes) -> list[list[Entry]]:
    path.write_bytes(text)
    return list(streams_in(path))


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_what_is_read_is_what_was_written_byte_for_byte(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    """The texts, too, as they stood in the log; compressed or not."""
    assert read(tmp_path / "b", pack(WHOLE)) == STREAMS
    assert counted(tmp_path / "b") == (2, 4)
    assert read(tmp_path / "b", pack(written())) == []


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, len(WHOLE) - 1), to=st.integers(0, 255))
@example(at=len(WHOLE) - 1, to=ord("\t"))
def test_a_byte_that_is_another_is_noticed(tmp_path: Path, at: int, to: int) -> None:
    """Wherever it stands: in an event, a place, a time, the first line or the last."""
    if WHOLE[at] != to:
        with pytest.raises(BadBundle):
            read(tmp_path / "b", WHOLE[:at] + bytes([to]) + WHOLE[at + 1 :])


@pytest.mark.parametrize("at", range(20, 190, 3))
def test_a_byte_of_a_compressed_file_that_is_another_is_noticed(tmp_path: Path, at: int) -> None:
    """Also where it is the compression that makes no sense any more."""
    packed = gzip.compress(WHOLE, mtime=0)
    with pytest.raises(BadBundle):
        read(tmp_path / "b", packed[:at] + bytes([packed[at] ^ 0xFF]) + packed[at + 1 :])


@pytest.mark.parametrize("cut", range(0, len(WHOLE), 37))
def test_a_file_that_is_cut_off_is_noticed(tmp_path: Path, cut: int) -> None:
    """At whatever place; and compressed, too."""
    with pytest.raises(BadBundle):
        read(tmp_path / "b", WHOLE[:cut])
    packed = gzip.compress(WHOLE)
    with pytest.raises(BadBundle):
        read(tmp_path / "b", packed[: len(packed) * cut // len(WHOLE)])


def lines(text: bytes) -> list[bytes]:
    return text.splitlines(keepends=True)


@pytest.mark.parametrize(
    "spoilt",
    [
        b"",
        b"\n",
        b"{}\n",
        b"no json",
        WHOLE + b"\n",
        WHOLE + WHOLE,
        WHOLE.replace(b'"format":1', b'"format":2'),
        b"".join(lines(WHOLE)[1:]),
        b"".join([*lines(WHOLE)[:2], *lines(WHOLE)[3:]]),
        b"".join([lines(WHOLE)[0], *lines(WHOLE)[2:4], lines(WHOLE)[1], *lines(WHOLE)[4:]]),
        b"".join(lines(WHOLE)[:-1]),
    ],
)
def test_lines_that_are_missing_moved_or_too_many_are_noticed(tmp_path: Path, spoilt: bytes) -> None:
    """And what is no bundle at all."""
    with pytest.raises(BadBundle):
        read(tmp_path / "b", spoilt)


def test_a_folder_is_no_bundle(tmp_path: Path) -> None:
    """Nor is a file that is not there."""
    for path in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(BadBundle):
            list(streams_in(path))

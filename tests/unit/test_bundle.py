"""Bundles: whole streams in a file; whatever happens to a byte of it is noticed."""

from __future__ import annotations

import gzip
import io
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from saga_es.errors import BadBundle
from saga_es.store.archive.bundle import LONGEST_LINE, Writing, counted, streams_in
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


def relabelled(**changed: object) -> bytes:
    """A bundle of one event with other columns, whose hashes are right."""
    row: dict[str, object] = {
        "position": 7,
        "stream_id": "n-1",
        "category": "note",
        "version": 1,
        "type": "NoteWritten",
        "data": '{"text":"a"}',
        "recorded_at": AT,
        "schema": 1,
        **changed,
    }
    rows: list[dict[str, Any]] = [row]
    chain(rows, {})
    return written([Entry(*(rows[0][name] for name in COLUMNS))])


@pytest.mark.parametrize(
    "changed",
    [
        {"stream_id": "n" * 65},
        {"stream_id": "a\0b"},
        {"category": ""},
        {"category": "c" * 65},
        {"category": "a\u202eb"},
        {"type": "\x1b[2J"},
        {"type": "T" * 65},
        {"position": -1},
        {"position": 0},
        {"position": 2**63},
        {"schema": 0},
        {"schema": 2**15},
        {"recorded_at": datetime(1, 1, 1, tzinfo=UTC)},
        {"recorded_at": datetime(9999, 12, 31, tzinfo=UTC)},
        {"data": "[" * 100_000 + "]" * 100_000},
    ],
    ids=repr,
)
def test_what_the_log_would_refuse_is_one_line_that_names_the_place(changed: dict[str, object], tmp_path: Path) -> None:
    """Ids, names, numbers, times and depth that no column takes; nothing of the file is imported."""
    with pytest.raises(BadBundle, match="line 2 is no event") as caught:
        read(tmp_path / "b", relabelled(**changed))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


def test_a_stream_that_comes_twice_is_refused(tmp_path: Path) -> None:
    """Also when both are the same."""
    with pytest.raises(BadBundle, match="'n-1' comes twice"):
        read(tmp_path / "b", written(STREAMS[0], STREAMS[1], STREAMS[0]))


def test_a_line_that_grows_when_it_is_unpacked_takes_no_memory(tmp_path: Path) -> None:
    """A small file may hold a line of gigabytes: reading stops at the longest line that an event can have."""
    path = tmp_path / "bomb"
    head = WHOLE.split(b"\n")[0] + b"\n"
    with gzip.open(path, "wb") as file:
        file.write(head)
        for _ in range(64):
            file.write(b" " * 1_048_576)
    tracemalloc.start()
    with pytest.raises(BadBundle):
        list(streams_in(path))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 3 * LONGEST_LINE

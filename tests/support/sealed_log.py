"""A small log and its seal, and ways to tamper with them, as somebody could who may drop triggers."""

from __future__ import annotations

import base64
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec

from saga_es.errors import BadSeal
from saga_es.store.log.chain import Head, chain, genesis
from saga_es.store.log.entries import Entry
from saga_es.store.proof.integrity import broken
from saga_es.store.proof.seal import Seal, unlike, write_seal
from saga_es.store.proof.signing import PrivateKey, PublicKey, make_keys

AT = datetime(2024, 2, 29, 23, 59, 58, 123457, tzinfo=UTC)
NAMES = ("stream_id", "category", "version", "type", "data", "recorded_at", "schema", "hash")


@dataclass
class SealedLog:
    """Rows of the log in any order, the archives, and the bytes of a seal."""

    entries: list[Entry]
    archives: dict[str, Head]
    seal: bytes = b""
    folder: Path = field(default_factory=Path)

    def copy(self) -> SealedLog:
        """Another, to be tampered with."""
        return replace(self, entries=list(self.entries), archives=dict(self.archives))

    def streams(self) -> dict[str, list[Entry]]:
        """The rows of each stream, as the database gives them."""
        rows = sorted(self.entries, key=lambda entry: (entry.stream_id, entry.version))
        return {name: list(found) for name, found in groupby(rows, key=lambda entry: entry.stream_id)}

    def rewrite(self, stream_id: str, entries: list[Entry]) -> None:
        """Put other rows in the place of a stream's."""
        self.entries = [entry for entry in self.entries if entry.stream_id != stream_id] + entries


def made(folder: Path) -> SealedLog:
    """Eight streams of one to eight events, of which two are archived, sealed."""
    rows: list[dict[str, Any]] = [
        {
            "stream_id": f"n-{stream}",
            "category": "note",
            "version": version,
            "type": ("Written", "Read")[version % 2],
            "data": f'{{"text":"{stream}.{version}"}}',
            "recorded_at": AT + timedelta(seconds=version),
            "schema": 1,
        }
        for version in range(1, 9)
        for stream in range(9 - version)
    ]
    reached = chain(rows, {})
    entries = [Entry(10 * place, *(row[name] for name in NAMES)) for place, row in enumerate(rows, 1)]
    log = SealedLog(entries, {name: reached[name] for name in ("n-2", "n-6")}, folder=folder)
    log.entries = [entry for entry in entries if entry.stream_id not in log.archives]
    make_keys(folder / "key")
    make_keys(folder / "other")
    log.seal = sealed(log, reached, "key")
    return log


def sealed(log: SealedLog, heads: dict[str, Head], key: str) -> bytes:
    """A seal of these heads."""
    path = log.folder / "made"
    with path.open("wb") as file:
        write_seal(sorted(heads.items()), file, PrivateKey(log.folder / key), AT)
    return path.read_bytes()


def found(log: SealedLog, key: PublicKey) -> list[str]:
    """Everything that verification says of a log."""
    streams = log.streams()
    said = [str(rule) for name, rows in streams.items() for rule in broken(name, rows, log.archives.get(name))]
    path = log.folder / "seal"
    path.write_bytes(log.seal)
    try:
        for stream_id, head in Seal(path, key).heads():
            rows = streams.get(stream_id, [])
            there = next((entry.hash for entry in rows if entry.version == head.version), None)
            rule = unlike(head, there, rows[-1].version if rows else 0, log.archives.get(stream_id))
            said += [f"{stream_id}: {rule}"] if rule else []
    except BadSeal as error:
        said.append(str(error))
    return said


# ── Ways to tamper ───────────────────────────────────────────────────────────────────────────────────────

Tampering = Callable[[SealedLog, random.Random], None]


def edit(log: SealedLog, dice: random.Random) -> None:
    """One column of one row."""
    place = dice.randrange(len(log.entries))
    entry = log.entries[place]
    name = dice.choice(("stream_id", "category", "version", "type", "text", "recorded_at", "schema", "hash"))
    value: Any
    match name:
        case "version":
            value = dice.choice([n for n in range(12) if n != entry.version])
        case "schema":
            value = entry.schema + dice.randint(1, 3)
        case "recorded_at":
            value = entry.recorded_at + timedelta(microseconds=dice.choice((-1, 1, 10**6)))
        case "stream_id":
            value = dice.choice([f"n-{n}" for n in range(10) if f"n-{n}" != entry.stream_id])
        case _:
            value = other_text(getattr(entry, name), dice)
    log.entries[place] = msgspec.structs.replace(entry, **{name: value})


def other_text(text: str, dice: random.Random) -> str:
    """A text that differs in a letter: changed, left out, or added."""
    place = dice.randrange(len(text))
    return text[:place] + dice.choice(("", "x" + text[place], chr(ord(text[place]) ^ 1))) + text[place + 1 :]


def move_positions(log: SealedLog, dice: random.Random) -> None:
    """Two rows of a stream change their positions."""
    one, other = two_of_a_stream(log, dice)
    swap_columns(log, one, other, ("position",))


def swap_events(log: SealedLog, dice: random.Random) -> None:
    """What happened changes places between any two rows, with its hash or without."""
    one, other = two_rows(log, dice)
    names = ("type", "text", "recorded_at") + (("hash",) if dice.random() < 0.5 else ())
    swap_columns(log, one, other, names)


def swap_rows(log: SealedLog, dice: random.Random) -> None:
    """Two rows of a stream change their versions."""
    one, other = two_of_a_stream(log, dice)
    swap_columns(log, one, other, ("version",))


def swap_columns(log: SealedLog, one: int, other: int, names: tuple[str, ...]) -> None:
    first, second = log.entries[one], log.entries[other]
    log.entries[one] = msgspec.structs.replace(first, **{name: getattr(second, name) for name in names})
    log.entries[other] = msgspec.structs.replace(second, **{name: getattr(first, name) for name in names})


def two_rows(log: SealedLog, dice: random.Random) -> tuple[int, int]:
    one, other = dice.sample(range(len(log.entries)), 2)
    return one, other


def two_of_a_stream(log: SealedLog, dice: random.Random) -> tuple[int, int]:
    while True:
        one, other = two_rows(log, dice)
        if log.entries[one].stream_id == log.entries[other].stream_id:
            return one, other


def cut_tail(log: SealedLog, dice: random.Random) -> None:
    """The last events of a stream go, or all."""
    name, rows = dice.choice(list(log.streams().items()))
    log.rewrite(name, rows[: dice.randrange(len(rows))])


def remove(log: SealedLog, dice: random.Random) -> None:
    """One row goes."""
    del log.entries[dice.randrange(len(log.entries))]


def insert_fake(log: SealedLog, dice: random.Random) -> None:
    """An event that never was comes in, and every hash after it is made anew."""
    name, rows = dice.choice(list(log.streams().items()))
    place = dice.randrange(len(rows))
    fake = msgspec.structs.replace(rows[place], text='{"text":"forged"}', position=rows[place].position - 1)
    log.rewrite(name, rechained([*rows[:place], fake, *rows[place:]]))


def write_anew(log: SealedLog, dice: random.Random) -> None:
    """A stream's past is changed, and every hash of it made anew: the chain is whole."""
    name, rows = dice.choice(list(log.streams().items()))
    place = dice.randrange(len(rows))
    rows[place] = msgspec.structs.replace(rows[place], text=other_text(rows[place].text, dice))
    log.rewrite(name, rechained(rows))


def shorten(log: SealedLog, dice: random.Random) -> None:
    """An event is taken out, and every hash after it made anew."""
    name, rows = dice.choice([(name, rows) for name, rows in log.streams().items() if len(rows) > 1])
    del rows[dice.randrange(len(rows))]
    log.rewrite(name, rechained(rows))


def rechained(entries: list[Entry]) -> list[Entry]:
    rows = [
        {**msgspec.structs.asdict(entry), "data": entry.text, "version": version}
        for version, entry in enumerate(entries, 1)
    ]
    chain(rows, {})
    return [Entry(row["position"], *(row[name] for name in NAMES)) for row in rows]


def forge_archives(log: SealedLog, dice: random.Random) -> None:
    """An archived stream is forgotten, or said to be shorter, or to have another hash."""
    name = dice.choice(list(log.archives))
    head = log.archives.pop(name)
    match dice.randrange(3):
        case 0:
            log.archives[name] = Head(head.version, genesis(name))
        case 1:
            log.archives[name] = Head(head.version - 1, head.hash)
        case _:
            pass


def archive_too_little(log: SealedLog, dice: random.Random) -> None:
    """A stream is said to be archived at an earlier version, with the hash that it had there, and is gone."""
    name, rows = dice.choice([(name, rows) for name, rows in log.streams().items() if len(rows) > 1])
    earlier = rows[dice.randrange(len(rows) - 1)]
    log.archives[name] = Head(earlier.version, earlier.hash)
    log.rewrite(name, [])


# ── With the seal, too ───────────────────────────────────────────────────────────────────────────────────


def edit_seal(log: SealedLog, dice: random.Random) -> None:
    """One bit of the file, one byte more, or one less."""
    place = dice.randrange(len(log.seal))
    changed = dice.choice((bytes([log.seal[place] ^ (1 << dice.randrange(8))]), b"", log.seal[place : place + 1] * 2))
    log.seal = log.seal[:place] + changed + log.seal[place + 1 :]


def edit_seal_lines(log: SealedLog, dice: random.Random) -> None:
    """A line is left out, doubled, or changes places with its neighbour; the signature may be the line."""
    lines = log.seal.splitlines(keepends=True)
    place = dice.randrange(len(lines) - 1)
    match dice.randrange(4):
        case 0:
            del lines[place]
        case 1:
            lines.insert(place, lines[place])
        case 2:
            lines[place], lines[place + 1] = lines[place + 1], lines[place]
        case _:
            lines.pop()
    log.seal = b"".join(lines)


def strip_signature(log: SealedLog, dice: random.Random) -> None:
    """The signature is emptied, shortened, or of somebody else; the root may be made to fit other lines."""
    *lines, last = log.seal.splitlines(keepends=True)
    closing = msgspec.json.decode(last)
    if dice.random() < 0.5:
        del lines[dice.randrange(1, len(lines))]
        closing |= {"root": sha256(b"".join(lines)).hexdigest(), "streams": len(lines) - 1}
    match dice.randrange(4):
        case 0:
            closing["signature"] = ""
        case 1:
            closing["signature"] = closing["signature"][: 4 * dice.randrange(22)]
        case 2:
            del closing["signature"]
        case _:
            signature = PrivateKey(log.folder / "other").sign(b"saga_es seal 1\n" + closing["root"].encode())
            closing["signature"] = base64.b64encode(signature).decode()
    log.seal = b"".join(lines) + msgspec.json.encode(closing) + b"\n"


def seal_again(log: SealedLog, dice: random.Random) -> None:
    """The log is written anew, and sealed by somebody with a key of his own."""
    write_anew(log, dice)
    heads = {name: Head(rows[-1].version, rows[-1].hash) for name, rows in log.streams().items()}
    log.seal = sealed(log, heads | log.archives, "other")


TAMPERINGS: tuple[Tampering, ...] = (
    edit,
    edit,
    edit,
    move_positions,
    swap_events,
    swap_rows,
    cut_tail,
    remove,
    insert_fake,
    write_anew,
    shorten,
    forge_archives,
    archive_too_little,
    edit_seal,
    edit_seal_lines,
    strip_signature,
    seal_again,
)

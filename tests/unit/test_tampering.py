"""Whoever may do anything with the database cannot change what was sealed without being found out."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from saga_es.errors import BadKey, BadSeal
from saga_es.store.proof.seal import Seal
from saga_es.store.proof.signing import PrivateKey, PublicKey, make_keys
from tests.support.sealed_log import TAMPERINGS, SealedLog, found, made, rechained

TIMES = 10_000


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> SealedLog:
    """A log and its seal."""
    return made(tmp_path_factory.mktemp("sealed"))


def test_ten_thousand_tamperings_are_all_found(sealed: SealedLog) -> None:
    """Edits, swaps, gaps, cut tails, removed streams, fakes, rewritten pasts, forged archives and seals: every one."""
    key = PublicKey(sealed.folder / "key.pub")
    assert found(sealed, key) == []
    overlooked: Counter[str] = Counter()
    for seed in range(TIMES):
        dice = random.Random(seed)
        tamper = TAMPERINGS[seed % len(TAMPERINGS)]
        tampered = sealed.copy()
        tamper(tampered, dice)
        assert tampered != sealed, (tamper, seed)
        if not found(tampered, key):
            overlooked[tamper.__name__] += 1
    assert overlooked == {}


def test_growth_is_no_tampering(sealed: SealedLog) -> None:
    """Streams that went on after the seal, and new ones, are fine."""
    grown = sealed.copy()
    rows = grown.streams()["n-0"]
    more = msgspec.structs.replace(rows[-1], position=9000, text='{"text":"more"}')
    grown.rewrite("n-0", rechained([*rows, more]))
    grown.entries += rechained([msgspec.structs.replace(more, stream_id="n-new", position=9001)])
    assert found(grown, PublicKey(sealed.folder / "key.pub")) == []


def test_a_stream_that_was_archived_after_the_seal_is_no_tampering(sealed: SealedLog) -> None:
    """It is known by its entry in the archives; one that came back is known by its events."""
    moved = sealed.copy()
    last = moved.streams()["n-1"][-1]
    moved.archives["n-1"] = moved.archives.pop("n-2").__class__(last.version, last.hash)
    moved.rewrite("n-1", [])
    said = found(moved, PublicKey(sealed.folder / "key.pub"))
    assert said == ["n-2: it was sealed, and is gone"]


def test_what_is_wrong_is_said(sealed: SealedLog) -> None:
    """Where, and what: the stream, the version, the rule."""
    key = PublicKey(sealed.folder / "key.pub")
    cut = sealed.copy()
    cut.rewrite("n-0", cut.streams()["n-0"][:-3])
    assert found(cut, key) == ["n-0: it was sealed at this version, but ends at version 5"]
    gap = sealed.copy()
    rows = gap.streams()["n-0"]
    gap.rewrite("n-0", [*rows[:2], *rows[4:]])
    assert found(gap, key) == ["stream n-0 at version 5: versions 3 to 4 are missing"]
    edited = sealed.copy()
    rows = edited.streams()["n-0"]
    rows[3] = msgspec.structs.replace(rows[3], text="{}")
    edited.rewrite("n-0", rows)
    (said,) = found(edited, key)
    assert said.startswith("stream n-0 at version 4: its hash does not fit the event")


# ── Keys and files ───────────────────────────────────────────────────────────────────────────────────────


def test_a_private_key_is_for_its_owner_alone(tmp_path: Path) -> None:
    """It is made so, it is never written over, and one that others can read is not used."""
    public = make_keys(tmp_path / "key")
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    assert public == tmp_path / "key.pub"
    before = (tmp_path / "key").read_bytes()
    with pytest.raises(BadKey, match="is there already"):
        make_keys(tmp_path / "key")
    public.unlink()
    with pytest.raises(BadKey, match="is there already"):
        make_keys(tmp_path / "key")
    assert (tmp_path / "key").read_bytes() == before
    (tmp_path / "key").chmod(0o640)
    with pytest.raises(BadKey, match="chmod 600"):
        PrivateKey(tmp_path / "key")


def test_a_file_that_is_no_such_key_is_told(tmp_path: Path) -> None:
    """A text, the other key of the pair, nothing at all: each with what to do."""
    make_keys(tmp_path / "key")
    (tmp_path / "text").write_text("secret")
    (tmp_path / "text").chmod(0o600)
    for path in (tmp_path / "text", tmp_path / "key"):
        with pytest.raises(BadKey, match="no public Ed25519 key; `saga-es keygen"):
            PublicKey(path)
    with pytest.raises(BadKey, match="no private Ed25519 key"):
        PrivateKey(tmp_path / "text")
    with pytest.raises(BadKey, match="No such file"):
        PublicKey(tmp_path / "nothing")


def test_an_empty_file_is_no_seal(tmp_path: Path) -> None:
    """Nor is one line."""
    key = PublicKey(make_keys(tmp_path / "key"))
    for text in ("", "\n", '{"streams":0,"root":"","signature":""}\n'):
        (tmp_path / "seal").write_text(text)
        with pytest.raises(BadSeal):
            Seal(tmp_path / "seal", key)

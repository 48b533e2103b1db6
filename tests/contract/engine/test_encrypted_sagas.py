"""Sagas whose secrets are encrypted run, fail, are recovered and proven like all others, and keep their secrets."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from gzip import decompress
from pathlib import Path

import pytest

from saga_es.core import events as e
from saga_es.core.state import SagaStatus
from saga_es.node.explain import explained
from saga_es.node.node import Node
from saga_es.store.archive.archiving import Archiving
from saga_es.store.archive.families import Over, families_over
from saga_es.store.archive.importing import By, Importing
from saga_es.store.encryption.errors import KeyErased, WrongKey
from saga_es.store.proof.verify import verify_streams
from saga_es.store.schema_lock import schema_lock
from saga_es.store.views.rebuild import rebuild
from tests.conftest import TIMEOUT_S
from tests.support.encrypted import (
    CANARY,
    everything,
    input_of,
    key_file,
    key_line,
    opened,
    purchase,
)

APPROVAL = {"who": f"{CANARY}-payload"}


def test_an_encrypted_saga_completes_and_nothing_secret_is_in_the_database(database_url: str, tmp_path: Path) -> None:
    """Its result is whole for the caller; input, result and payload are in no table."""
    keys = key_file(tmp_path)
    with opened(database_url, keys, purchase()) as node:
        handle = node.engine.start("purchase", input_of())
        node.engine.signal(handle.saga_id, "approval", APPROVAL)
        result = handle.result(TIMEOUT_S)
        assert result.results["pay"] == {"receipt": f"{CANARY}-receipt", "by": f"{CANARY}-payload"}
        assert node.store.log.read(handle.saga_id)[0].event.input == input_of()
    assert CANARY not in everything(database_url)


def test_an_encrypted_saga_that_fails_is_compensated_with_its_values(database_url: str, tmp_path: Path) -> None:
    """The compensation sees the input and the error; the view of sagas and the log show neither."""
    keys = key_file(tmp_path)
    with opened(database_url, keys, purchase(fails=True)) as node:
        handle = node.engine.start("purchase", input_of())
        node.engine.signal(handle.saga_id, "approval", APPROVAL)
        result = handle.result(TIMEOUT_S)
        assert result.status is SagaStatus.COMPENSATED
        assert result.error == f"{CANARY}-error: no money"
    assert CANARY not in everything(database_url)


def test_a_saga_left_half_way_is_finished_by_the_next_process(database_url: str, tmp_path: Path) -> None:
    """What the first has recorded is decrypted for the second."""
    keys = key_file(tmp_path)
    with opened(database_url, keys, purchase()) as first:
        saga_id = first.engine.start("purchase", input_of()).saga_id
    with opened(database_url, keys, purchase()) as second:
        second.engine.signal(saga_id, "approval", APPROVAL)
        assert second.engine.follow(saga_id).result(TIMEOUT_S).completed


def test_proofs_replays_and_archives_need_no_key(database_url: str, tmp_path: Path) -> None:
    """A process without a key file verifies, makes the views anew, and takes sagas out of the log and back.

    It sees masks. With the key, the values are there as before.
    """
    keys = key_file(tmp_path)
    with opened(database_url, keys, purchase(fails=True)) as node:
        handle = node.engine.start("purchase", input_of())
        node.engine.signal(handle.saga_id, "approval", APPROVAL)
        handle.result(TIMEOUT_S)
    with opened(database_url, None) as other:
        there = other.store.sagas.find(handle.saga_id)
        with schema_lock(other.database) as connection:
            rebuild(connection, other.database, other.store.log, list(other.views))
        assert other.store.sagas.find(handle.saga_id) == there
        bundle = _archived(other, tmp_path / "archives")
        assert other.store.log.read(handle.saga_id) == []
        assert CANARY.encode() not in decompress(bundle.read_bytes())
        importing = Importing(other.database, other.store.log, other.store.sagas, other.views, By("ada", "a look"))
        *_, brought = importing.bring(bundle)
        assert brought.streams
        with other.database.snapshot() as connection:
            assert list(verify_streams(connection, other.store.sagas, lambda _: None)) == []
        started = other.store.log.read(handle.saga_id)[0].event
        assert started.input == {"(encrypted)": True}
        state = other.store.sagas.find(handle.saga_id)
        assert state is not None
        assert (state.status, state.error) == (SagaStatus.COMPENSATED, "(encrypted)")
    with opened(database_url, keys, purchase()) as node:
        assert node.store.log.read(handle.saga_id)[0].event.input == input_of()


def _archived(node: Node, folder: Path) -> Path:
    """All that is over, in a bundle."""
    folder.mkdir()
    now = datetime.now(UTC)
    over = Over(now + timedelta(seconds=1), (SagaStatus.COMPENSATED,))
    *_, progress = Archiving(node.database, node.store.sagas, node.views, over, folder).archive(
        families_over(node.database, over), now
    )
    assert progress.sagas == 1
    (bundle,) = folder.iterdir()
    return bundle


def test_an_erased_subject_is_shown_as_erased_and_others_stay(database_url: str, tmp_path: Path) -> None:
    """The chain holds, another subject's values are there, and the log says that a subject was erased, not which."""
    keys = key_file(tmp_path)
    with opened(database_url, keys, purchase()) as node:
        ada, bob = (node.engine.start("purchase", input_of(name)) for name in ("customer-ada", "customer-bob"))
        for handle in (ada, bob):
            node.engine.signal(handle.saga_id, "approval", APPROVAL)
            handle.result(TIMEOUT_S)
        key_id = node.subjects.erase("customer-ada", "dpo", "request 17")
        assert node.store.log.read(ada.saga_id)[0].event.input == {"(erased)": True}
        assert node.store.log.read(bob.saga_id)[0].event.input == input_of("customer-bob")
        assert [type(recorded.event).__name__ for recorded in node.store.log.read(key_id)] == ["SubjectErased"]
        with node.database.snapshot() as connection:
            assert list(verify_streams(connection, node.store.sagas, lambda _: None)) == []
        rows = everything(database_url)
        assert "customer-bob" in rows
        assert "customer-ada" not in rows
        again = node.engine.start("purchase", input_of("customer-ada"))
        assert node.store.log.read(again.saga_id)[0].event.input == input_of("customer-ada")


def test_a_saga_under_way_is_parked_when_its_subject_is_erased(database_url: str, tmp_path: Path) -> None:
    """It neither fails nor goes on: after a restart, no event of it is new."""
    keys = key_file(tmp_path)
    with opened(database_url, keys, purchase()) as first:
        saga_id = first.engine.start("purchase", input_of()).saga_id
        first.subjects.erase("ada", "dpo", "request 17")
    with opened(database_url, keys, purchase()) as second:
        other = second.engine.start("purchase", input_of("bob"))
        second.engine.signal(other.saga_id, "approval", APPROVAL)
        other.result(TIMEOUT_S)
        state = second.store.sagas.find(saga_id)
        assert state is not None
        assert state.status is SagaStatus.IN_PROGRESS
        kinds = [type(recorded.event) for recorded in second.store.log.read(saga_id)]
        assert e.SagaFailed not in kinds
        assert e.SagaTakenOver not in kinds
        sentence = explained(second, saga_id).sentence
        assert "is parked, because its key" in sentence
        assert "its subject was erased" in sentence
        assert "takes no command, not even a cancel" in sentence
        for command in (second.engine.cancel, second.engine.pause, second.engine.fail):
            with pytest.raises(KeyErased, match="the saga is parked and takes no command"):
                command(saga_id, reason="request 17", actor="ann")
        assert len(second.store.log.read(saga_id)) == len(kinds)


def test_another_wrapping_key_is_refused_at_the_start_with_its_cure(database_url: str, tmp_path: Path) -> None:
    """Before a saga runs, and the message names the key that is missing."""
    with opened(database_url, key_file(tmp_path), purchase()) as node:
        node.engine.start("purchase", input_of())
    with pytest.raises(WrongKey, match="add its line to the file"), opened(database_url, key_file(tmp_path)):
        pass


def test_a_wrapping_key_is_rotated_while_the_old_one_is_valid(database_url: str, tmp_path: Path) -> None:
    """Both files read; after the rotation the new key alone does."""
    old, new = key_line(), key_line()
    with opened(database_url, key_file(tmp_path, old), purchase()) as node:
        saga_id = node.engine.start("purchase", input_of()).saga_id
        node.engine.start("purchase", input_of("bob"))
    with opened(database_url, key_file(tmp_path, new, old)) as node:
        assert node.keyring is not None
        assert node.keyring.rotate(lambda _: None) == 2
        assert node.keyring.rotate(lambda _: None) == 0
    with opened(database_url, key_file(tmp_path, new)) as node:
        assert node.store.log.read(saga_id)[0].event.input == input_of()

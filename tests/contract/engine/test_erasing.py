"""A subject is erased wholly or not at all; a wrapping key is exchanged without a moment in between."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result

from saga_es.access.subjects import NoSuchSubject
from saga_es.cli import main
from saga_es.store.encryption.errors import WrongKey
from saga_es.store.encryption.wrapping import KeyFile
from saga_es.store.tables import saga_subjects
from tests.support.encrypted import input_of, key_file, key_line, opened, purchase


def run(url: str, *words: str, keys: Path | None = None) -> Result:
    """A command on a database."""
    given = {} if keys is None else {"SAGA_ES_ENCRYPTION_KEY_FILE": str(keys)}
    return CliRunner().invoke(main, ["--database-url", url, *words], env=given)


def test_an_erasure_that_is_interrupted_has_not_happened_and_is_repeated(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Key and event go together: while the event is not in the log, the key is there; a second time finds nothing."""
    with opened(database_url, key_file(tmp_path), purchase()) as node:
        saga_id = node.engine.start("purchase", input_of()).saga_id

        def dies(*_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(node.store.writer, "write_within", dies)
            with pytest.raises(KeyboardInterrupt):
                node.subjects.erase("ada", "dpo", "request 17")
        assert node.keyring is not None
        node.keyring.forget()
        assert node.store.log.read(saga_id)[0].event.input == input_of()
        node.subjects.erase("ada", "dpo", "request 17")
        assert node.store.log.read(saga_id)[0].event.input == {"(erased)": True}
        with pytest.raises(NoSuchSubject, match="'ada' has no key"):
            node.subjects.erase("ada", "dpo", "request 17")


def test_the_command_erases_a_subject_without_a_key_file(database_url: str, tmp_path: Path) -> None:
    """Whoever may write the database may erase; the second time there is nothing, and no secret is printed."""
    keys = key_file(tmp_path)
    with opened(database_url, keys, purchase()) as node:
        saga_id = node.engine.start("purchase", input_of()).saga_id
    done = run(database_url, "erase", "ada", "--reason", "request 17")
    assert (done.exit_code, "is gone" in done.stderr) == (0, True)
    again = run(database_url, "erase", "ada", "--reason", "request 17")
    assert (again.exit_code, "has no key" in again.stderr) == (3, True)
    assert run(database_url, "erase", "ada", "--reason", " ").exit_code == 2
    with opened(database_url, keys) as node:
        assert node.store.log.read(saga_id)[0].event.input == {"(erased)": True}


def test_a_rotation_that_is_interrupted_leaves_all_keys_readable_and_is_repeated(
    database_url: str, tmp_path: Path
) -> None:
    """With both lines, whichever row came last; in the end the new line alone is enough."""
    old, new = key_line(), key_line()
    names = ("ada", "bob", "kim")
    with opened(database_url, key_file(tmp_path, old), purchase()) as node:
        ids = [node.engine.start("purchase", input_of(name)).saga_id for name in names]
    both = key_file(tmp_path, new, old)

    def dies(_: int) -> None:
        raise KeyboardInterrupt

    with opened(database_url, both) as node:
        assert node.keyring is not None
        with pytest.raises(KeyboardInterrupt):
            node.keyring.rotate(dies)
        with node.database.reading() as connection:
            by = connection.scalars(sa.select(saga_subjects.c.wrapped_by)).all()
        assert sorted(map(by.count, set(by))) == [1, 2]
        assert [node.store.log.read(id_)[0].event.input for id_ in ids] == list(map(input_of, names))
    done = run(database_url, "rotate", keys=both)
    assert (done.exit_code, done.stderr) == (0, "Wrapped 2 keys again.\n")
    with opened(database_url, key_file(tmp_path, new)) as node:
        assert [node.store.log.read(id_)[0].event.input for id_ in ids] == list(map(input_of, names))


def test_a_rotation_without_a_key_file_says_so(database_url: str) -> None:
    """With the setting that is missing."""
    with opened(database_url, None):
        pass
    done = run(database_url, "rotate")
    assert (done.exit_code, "SAGA_ES_ENCRYPTION_KEY_FILE" in done.stderr) == (2, True)


def test_a_wrapped_key_belongs_to_its_row(tmp_path: Path) -> None:
    """Another subject's key in its place does not unwrap."""
    keys = KeyFile(str(key_file(tmp_path)))
    wrapped = keys.wrap(b"k" * 32, b"ada")
    assert keys.unwrap(wrapped, keys.current, b"ada") == b"k" * 32
    with pytest.raises(WrongKey, match="belongs to another subject"):
        keys.unwrap(wrapped, keys.current, b"bob")

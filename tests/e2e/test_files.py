"""What the log holds is its owner's alone: files are made with mode 0600, and none through a link that was planted."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from saga_es.errors import StoreUnavailable
from saga_es.store.admin import migrate
from saga_es.store.database import Database
from tests.conftest import Store
from tests.e2e.conftest import run_cli
from tests.support.archives import archived
from tests.support.shelves import fill


@pytest.fixture(autouse=True)
def everybody() -> Iterator[None]:
    """The process masks no mode, so that each file has the one that it was made with."""
    before = os.umask(0)
    yield
    os.umask(before)


def modes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}


def test_a_database_and_what_stands_beside_it_are_their_owners_alone(tmp_path: Path) -> None:
    """The log, its index and the lock, while it is open; a file that is there keeps the mode that it has."""
    url = f"sqlite:///{tmp_path / 'saga.db'}"
    store = Store.at(Database(url))
    migrate.upgrade(store.database, store.log, store.views)
    with store.database.reading() as connection:
        connection.execute(sa.text("SELECT 1"))
        names = ["saga.db", "saga.db-shm", "saga.db-turn", "saga.db-wal"]
        assert modes(tmp_path) == dict.fromkeys(names, 0o600)
    store.database.close()
    (tmp_path / "saga.db").chmod(0o660)
    with Database(url).reading() as connection:
        connection.execute(sa.text("SELECT 1"))
    assert modes(tmp_path)["saga.db"] == 0o660


def test_archives_and_seals_are_their_owners_alone(tmp_path: Path) -> None:
    """They hold what the log holds, or say what it held."""
    (tmp_path / "files").mkdir(mode=0o700)
    store = Store.at(Database(f"sqlite:///{tmp_path / 'saga.db'}"))
    migrate.upgrade(store.database, store.log, store.views)
    fill(store)
    archived(store, tmp_path / "files")
    store.database.close()
    settings = {"SAGA_ES_DATABASE_URL": f"sqlite:///{tmp_path / 'saga.db'}"}
    assert run_cli("keygen", str(tmp_path / "key"), settings=settings).returncode == 0
    sealed = run_cli("seal", str(tmp_path / "files" / "s"), "--key", str(tmp_path / "key"), settings=settings)
    assert sealed.returncode == 0, sealed.stderr
    assert set(modes(tmp_path / "files").values()) == {0o600}
    assert len(modes(tmp_path / "files")) == 2


def test_no_database_is_made_at_the_end_of_a_link(tmp_path: Path) -> None:
    """Whoever planted it would choose where the log is."""
    (tmp_path / "saga.db").symlink_to(tmp_path / "elsewhere")
    database = Database(f"sqlite:///{tmp_path / 'saga.db'}")
    with pytest.raises(StoreUnavailable, match="is a link to a file that does not exist"), database.reading():
        pass
    assert not (tmp_path / "elsewhere").exists()


def test_neither_an_archive_nor_the_lock_is_written_through_a_link(tmp_path: Path) -> None:
    """What the links lead to stays as it was."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "saga.db-turn").symlink_to(victim)
    store = Store.at(Database(f"sqlite:///{tmp_path / 'saga.db'}"))
    with pytest.raises(StoreUnavailable, match="holds the schema lock"):
        migrate.upgrade(store.database, store.log, store.views)
    (tmp_path / "saga.db-turn").unlink()
    migrate.upgrade(store.database, store.log, store.views)
    fill(store)
    for number in (1, 2):
        (tmp_path / f"saga-archive-20240330T000000Z-{number:03}.ndjson.gz.part").symlink_to(victim)
    archived(store, tmp_path)
    store.database.close()
    assert victim.read_text() == "precious"

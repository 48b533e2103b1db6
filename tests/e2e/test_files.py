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
from saga_es.store.own_files import replacing
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


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes links of others")
def test_no_database_is_opened_through_a_link_of_another_user(tmp_path: Path) -> None:
    """It leads to a file that is there, and that the process may write. Our own link, and one of root, are meant."""
    url = f"sqlite:///{tmp_path / 'saga.db'}"
    (tmp_path / "saga.db").symlink_to(tmp_path / "victim")
    (tmp_path / "victim").touch()
    with Database(url).reading() as connection:
        connection.execute(sa.text("SELECT 1"))
    os.chown(tmp_path / "saga.db", 12345, 12345, follow_symlinks=False)
    with pytest.raises(StoreUnavailable, match="is a link that another user made"), Database(url).reading():
        pass


@pytest.mark.parametrize("end", ["-wal", "-shm", "-journal"])
@pytest.mark.parametrize("through_link", [False, True])
def test_no_database_is_opened_beside_a_planted_link(tmp_path: Path, end: str, *, through_link: bool) -> None:
    """SQLite would write the log of the database wherever it leads."""
    victim, database = tmp_path / "victim", tmp_path / "saga.db"
    victim.write_text("precious")
    (tmp_path / f"saga.db{end}").symlink_to(victim)
    if through_link:
        (tmp_path / "link.db").symlink_to(database)
        database.touch()
    name = "link.db" if through_link else "saga.db"
    with (
        pytest.raises(StoreUnavailable, match=f"saga.db{end} is a link"),
        Database(f"sqlite:///{tmp_path / name}").reading(),
    ):
        pass
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("kind", ["link", "file of another"])
def test_a_file_is_written_anew_whatever_stands_beside_it(tmp_path: Path, kind: str) -> None:
    """A seal, or the code of a version: who planted the partial file neither reads nor changes what is written."""
    victim, beside = tmp_path / "victim", tmp_path / "seal.part"
    victim.write_text("precious")
    beside.symlink_to(victim) if kind == "link" else beside.write_text("")
    if kind != "link":
        beside.chmod(0o666)
        held = beside.open()
    with replacing(tmp_path / "seal") as file:
        file.write(b"sealed")
    assert (tmp_path / "seal").read_text() == "sealed"
    assert modes(tmp_path)["seal"] == 0o600
    assert victim.read_text() == "precious"
    if kind != "link":
        with held:
            assert held.read() == ""


def test_a_folder_of_archives_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    """The files in it are, too."""
    settings = {"SAGA_ES_DATABASE_URL": f"sqlite:///{tmp_path / 'saga.db'}"}
    store = Store.at(Database(settings["SAGA_ES_DATABASE_URL"]))
    migrate.upgrade(store.database, store.log, store.views)
    fill(store)
    store.database.close()
    done = run_cli("archive", "--before", "2100-01-01", "--folder", str(tmp_path / "new"), settings=settings)
    assert done.returncode == 0, done.stderr
    assert modes(tmp_path)["new"] == 0o700
    assert set(modes(tmp_path / "new").values()) == {0o600}


def test_doctor_warns_of_a_file_that_others_may_read(tmp_path: Path) -> None:
    """One of an earlier version, or of a careless copy."""
    url = f"sqlite:///{tmp_path / 'saga.db'}"
    store = Store.at(Database(url))
    migrate.upgrade(store.database, store.log, store.views)

    def found() -> list[str]:
        with store.database.reading() as connection:
            return [one.found for one in store.database.driver.examine(connection) if one.subject == "file"]

    assert found() == []
    (tmp_path / "saga.db").chmod(0o644)
    assert "has mode 0644" in found()[0]
    store.database.close()


def test_a_file_that_cannot_be_made_is_named_with_the_setting_and_the_cure(tmp_path: Path) -> None:
    """A folder that is not there, and a folder where the file should be: one line each, and exit code 8."""
    for file, problem in (
        (
            tmp_path / "nowhere" / "saga.db",
            f"the folder of the database file {tmp_path}/nowhere/saga.db does not exist",
        ),
        (tmp_path, f"the database file {tmp_path} is a folder"),
    ):
        done = run_cli("list", "--database-url", f"sqlite:///{file}")
        assert (done.returncode, done.stdout) == (8, "")
        (line,) = done.stderr.splitlines()
        assert line.startswith(f"saga-es: {problem}; ")
        assert line.endswith(", or set SAGA_ES_DATABASE_URL or --database-url to another file")

"""Nothing that saga_es did not make is dropped, renamed or written to, whatever its name is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import sqlalchemy as sa
from alembic import command

from saga_es.core import events as e
from saga_es.errors import DefinitionError, NotOurs, UnknownTable
from saga_es.store import registry
from saga_es.store.admin import migrate, revisions
from saga_es.store.admin.ownership import VIEWS_0_1_0, adopt, drop_view
from saga_es.store.database import Database
from saga_es.store.log.codec import SAGA
from saga_es.store.log.entries import Draft
from saga_es.store.registry import Kind
from saga_es.store.schema_lock import schema_lock
from saga_es.store.tables import VERSION_TABLE, metadata, saga_tables
from saga_es.store.views import checkpoints
from saga_es.store.views.kinds import SUFFIXES, Additions, Projection, Tally, View, Views
from saga_es.store.views.rebuild import build_until, settle_swaps
from saga_es.store.views.saga_view import saga_view, sagas
from saga_es.store.views.tags import saga_tags, tag_view
from tests.conftest import AT, NOTE, NoteWritten, Store, note_draft
from tests.support.kept_views import LETTERS, NOTES, WORDS, notes_table

OURS = [*map(str, metadata.tables), str(VERSION_TABLE), "sagas", "saga_tags", "notes"]
STARTED = Draft("s-1", SAGA, 0, (e.SagaStarted("trip", "plan-1", {}, "w-1"),), AT)


def upgrade(database: Database, *views: Projection) -> list[str]:
    store = Store.at(database)
    return migrate.upgrade(database, store.log, Views([saga_view, tag_view, *views]))


def run(database: Database, *statements: str) -> None:
    with database.writing() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def values(database: Database, query: str) -> list[object]:
    with database.reading() as connection:
        return list(connection.exec_driver_sql(query).scalars())


def everything(database: Database) -> set[str]:
    with database.reading() as connection:
        inspector = sa.inspect(connection)
        return {*inspector.get_table_names(), *inspector.get_view_names()}


@contextmanager
def untouched(database: Database, name: str) -> Iterator[None]:
    """A table of the user with a row, which is refused, and stays with its row."""
    run(database, f"CREATE TABLE {name} (id INTEGER PRIMARY KEY, customer VARCHAR(20))")
    run(database, f"INSERT INTO {name} VALUES (1, 'Ada')")
    yield
    assert values(database, f"SELECT customer FROM {name}") == ["Ada"]


# ── The first start ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", OURS)
def test_a_table_of_the_user_under_a_name_of_ours_is_refused_and_kept(database: Database, name: str) -> None:
    """Whichever name it is; the error says what is there and what to do, and nothing was made."""
    with untouched(database, name):
        for _ in range(2):
            with pytest.raises(NotOurs) as caught:
                upgrade(database, NOTES)
            said = str(caught.value)
            assert (f"'{name}'" in said, "customer, id" in said, "SAGA_ES_TABLE_PREFIX" in said) == (True, True, True)
        assert everything(database) == {name}


def test_all_that_is_in_the_way_is_named_at_once(database: Database) -> None:
    """So that one look is enough."""
    with untouched(database, "sagas"), untouched(database, "notes"), pytest.raises(NotOurs) as caught:
        upgrade(database, NOTES)
    assert set(caught.value.found) == {"sagas", "notes"}


def test_a_table_with_the_columns_of_a_view_that_we_did_not_make_is_refused(database: Database) -> None:
    """It might be the user's: the columns of a table say nothing of who made it."""
    theirs = notes_table()
    with database.writing() as connection:
        theirs.create(connection)
        connection.execute(sa.insert(theirs), {"note_id": "theirs", "text": "x", "written_at": AT})
    for migrated in (False, True):
        if migrated:
            upgrade(database)
        with pytest.raises(NotOurs, match="'notes'"):
            upgrade(database, NOTES)
        assert values(database, "SELECT note_id FROM notes") == ["theirs"]


def test_an_sql_view_of_the_user_is_refused_and_kept(database: Database) -> None:
    """Its name is taken, too."""
    run(database, "CREATE TABLE mine (id INTEGER)", "CREATE VIEW sagas AS SELECT id FROM mine")
    with pytest.raises(NotOurs, match="'sagas' \\(a view\\)"):
        upgrade(database)
    assert everything(database) == {"mine", "sagas"}


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize(
    ("made", "kind"),
    [
        ("CREATE MATERIALIZED VIEW sagas AS SELECT 1 AS id", "a materialized view"),
        ("CREATE SEQUENCE sagas", "a sequence"),
        ("CREATE TYPE sagas AS ENUM ('a')", "a type"),
        ("CREATE TYPE sagas AS (a integer)", "a type"),
        ("CREATE DOMAIN sagas AS integer", "a type"),
        ("CREATE TABLE mine (id integer); CREATE INDEX sagas ON mine (id)", "an index"),
        ("CREATE TABLE mine (id integer); CREATE INDEX sagas_newest ON mine (id)", "an index"),
        ("CREATE FUNCTION saga_events_refuse() RETURNS integer LANGUAGE sql AS 'SELECT 1'", "a function"),
        ("CREATE FUNCTION saga_archives_head() RETURNS integer LANGUAGE sql AS 'SELECT 1'", "a function"),
    ],
)
def test_whatever_has_a_name_of_ours_on_postgresql_is_refused(database: Database, made: str, kind: str) -> None:
    """Sequences, types, indexes and functions have names of one kind with tables, or with our triggers."""
    run(database, made)
    before = everything(database)
    with pytest.raises(NotOurs) as caught:
        upgrade(database)
    assert list(caught.value.found.values()) == [kind]
    assert everything(database) == before


@pytest.mark.parametrize("database_url", ["sqlite", "mariadb"], indirect=True)
@pytest.mark.parametrize("name", ["saga_events_no_update", "saga_events_only_archived", "saga_archives_head"])
def test_a_trigger_of_the_user_under_a_name_of_ours_is_refused_and_kept(database: Database, name: str) -> None:
    """On these databases a trigger has a name in the whole database; without ours the log would have no guard."""
    is_sqlite = database.driver.name == "sqlite"
    body = "BEGIN SELECT RAISE(ABORT, 'no'); END" if is_sqlite else "FOR EACH ROW SIGNAL SQLSTATE '45000'"
    run(database, "CREATE TABLE mine (id INTEGER)", f"CREATE TRIGGER {name} BEFORE DELETE ON mine {body}")
    with pytest.raises(NotOurs, match="a trigger on the table 'mine'"):
        upgrade(database)
    run(database, "INSERT INTO mine VALUES (1)")
    with pytest.raises(sa.exc.DBAPIError), database.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM mine")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("name", ["Sagas", "SAGA_TAGS", "saga_events_chained"])
def test_sqlite_ignores_case_and_so_do_we(database: Database, name: str) -> None:
    """Also of a table that a migration makes for a moment."""
    with untouched(database, name), pytest.raises(NotOurs):
        upgrade(database)


@pytest.mark.parametrize("database_url", ["mariadb"], indirect=True)
def test_a_table_that_differs_in_case_is_another_where_the_server_says_so(database: Database) -> None:
    """On Linux it does, unless it was told otherwise."""
    with untouched(database, "SAGAS"):
        if values(database, "SELECT @@lower_case_table_names") == [0]:
            upgrade(database)
        else:
            with pytest.raises(NotOurs):
                upgrade(database)


@pytest.fixture
def own(database_url: str, database: Database) -> Iterator[Database]:
    """The same database, seen with a schema of one's own before the one that all share."""
    run(database, "CREATE SCHEMA acme")
    made = Database(f"{database_url}?options=-csearch_path%3Dacme,public")
    yield made
    made.close()
    run(database, "DROP SCHEMA acme CASCADE")


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_table_of_the_same_name_in_another_schema_is_another_table(database: Database, own: Database) -> None:
    """A search path may lead to both; saga_es makes its own, in the first, and leaves the other alone."""
    theirs = [str(VERSION_TABLE), "sagas", "saga_events", "notes", "notes__new", "notes__old"]
    for name in theirs:
        run(database, f"CREATE TABLE {name} (id INTEGER)", f"INSERT INTO {name} VALUES (7)")
    assert upgrade(own, NOTES) == ["sagas", "saga_tags", "notes"]
    store = Store.at(own)
    store.write(STARTED, note_draft("n-1", "a"))
    store.make(NOTES, saga_view)
    run(own, "DROP TABLE sagas")
    assert upgrade(own, NOTES) == ["sagas"]
    assert values(own, "SELECT saga_id FROM sagas") == ["s-1"]
    assert [values(database, f"SELECT id FROM {name}") for name in theirs] == [[7]] * len(theirs)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_another_saga_es_further_along_the_search_path_is_another(database: Database, own: Database) -> None:
    """Its migration is not taken for ours, and its log gets no event of ours."""
    upgrade(database)
    assert migrate.found(own) is None
    assert upgrade(own) == ["sagas", "saga_tags"]
    Store.at(own).write(STARTED)
    assert Store.at(database).log.entries() == []


# ── Later starts ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_table_that_the_user_made_in_the_place_of_ours_is_refused_and_kept(store: Store) -> None:
    """The registry has the name, but other columns."""
    run(store.database, "DROP TABLE sagas")
    with untouched(store.database, "sagas"):
        with pytest.raises(NotOurs, match="customer, id"):
            upgrade(store.database)
        with pytest.raises(NotOurs, match="customer, id"):
            store.make(saga_view)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_table_of_the_user_under_the_name_of_a_shadow_is_kept(store: Store, suffix: str) -> None:
    """A replay that needs the name refuses; one that does not goes on."""
    upgrade(store.database, NOTES)
    with untouched(store.database, f"notes{suffix}"):
        if suffix == "__until":
            store.make(NOTES)
            with pytest.raises(NotOurs), schema_lock(store.database) as connection:
                build_until(connection, store.database, store.log, [NOTES], 0, lambda _position, _last: None)
        else:
            with pytest.raises(NotOurs):
                store.make(NOTES)


def test_a_user_table_named_as_a_shadow_does_not_decide_whether_a_swap_took_place(store: Store) -> None:
    """A crash on MySQL leaves the question open; what is not ours is no answer."""
    following = View(notes_table(), NOTE, lambda r: {"text": r.event.text, "written_at": r.recorded_at}, follows=True)
    upgrade(store.database, following)
    with store.database.writing() as connection:
        checkpoints.mark_swap(connection, "notes", 9)
    with untouched(store.database, "notes__new"), store.database.writing() as connection:
        settle_swaps(connection)
        assert checkpoints.read(connection)["notes"].position == 9


def test_the_table_of_a_view_that_is_gone_stays_until_somebody_says_so(store: Store) -> None:
    """A start drops nothing. The command drops what saga_es made, and nothing else."""
    views = list(store.views)
    upgrade(store.database, NOTES)
    upgrade(store.database)
    assert "notes" in everything(store.database)
    with pytest.raises(UnknownTable, match="the application has this view"):
        drop_view(store.database, [*views, NOTES], "notes")
    for stranger in ("saga_events", "mine"):
        with pytest.raises(UnknownTable, match="made no view"):
            drop_view(store.database, views, stranger)
    drop_view(store.database, views, "notes")
    assert "notes" not in everything(store.database)
    with untouched(store.database, "notes"), pytest.raises(UnknownTable):
        drop_view(store.database, views, "notes")


def test_a_table_in_the_place_of_a_view_that_is_gone_is_not_dropped(store: Store) -> None:
    """The command looks at the columns, as everything else does."""
    upgrade(store.database, NOTES)
    run(store.database, "DROP TABLE notes")
    with untouched(store.database, "notes"), pytest.raises(NotOurs):
        drop_view(store.database, list(store.views), "notes")


def test_what_is_left_of_an_interrupted_replay_is_ours(store: Store) -> None:
    """The registry has it, so the next replay removes it."""
    upgrade(store.database, NOTES)
    shadow = notes_table("notes__new")
    with store.database.writing() as connection:
        registry.record(connection, "notes__new", registry.columns_of(shadow), Kind.SHADOW)
        shadow.indexes.clear()
        shadow.create(connection)
    store.make(NOTES)
    assert not [name for name in everything(store.database) if "__" in name]


def test_the_registry_has_each_table_once_and_no_other(store: Store) -> None:
    """After starts, replays and drops it says exactly what is there."""
    upgrade(store.database, NOTES, WORDS, LETTERS)
    for _ in range(2):
        store.make(saga_view, NOTES, WORDS, LETTERS)
    drop_view(store.database, [*store.views, NOTES, WORDS], "letters")
    with store.database.reading() as connection:
        made = [found.name for found in registry.made(connection)]
    assert sorted(made) == sorted(everything(store.database))


# ── Tables dropped by hand ───────────────────────────────────────────────────────────────────────────────


def test_after_all_tables_were_dropped_by_hand_a_start_makes_them_anew(store: Store) -> None:
    """Also on PostgreSQL, where the functions of the triggers outlive them."""
    store.write(STARTED)
    for name in sorted(everything(store.database)):
        run(store.database, f"DROP TABLE {name}")
    assert upgrade(store.database) == ["sagas", "saga_tags"]
    fresh = Store.at(store.database)
    fresh.write(STARTED)
    assert [entry.stream_id for entry in fresh.log.entries()] == ["s-1"]
    with pytest.raises(sa.exc.DBAPIError), store.database.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM saga_events")


# ── A database of 0.1.0 ──────────────────────────────────────────────────────────────────────────────────


def of_0_1_0(database: Database, *views: Projection) -> None:
    """A database with a saga, as 0.1.0 left it."""
    upgrade(database, *views)
    Store.at(database).write(STARTED)
    with database.writing() as connection:
        command.downgrade(revisions.config(connection), "0003")
    run(database, f"DROP TABLE {saga_tables.name}")


def test_the_tables_of_0_1_0_are_adopted_once(database: Database) -> None:
    """The log, the views, and what was left of a replay; a table that comes later is not."""
    of_0_1_0(database, NOTES)
    left = notes_table("notes__new")
    left.indexes.clear()
    with database.writing() as connection:
        left.create(connection)
    assert upgrade(database, NOTES) == []
    assert values(database, "SELECT saga_id FROM sagas") == ["s-1"]
    store = Store.at(database)
    store.make(NOTES)
    assert "notes__new" not in everything(database)
    with database.writing() as connection:
        WORDS.table.create(connection)
    with pytest.raises(NotOurs):
        upgrade(database, NOTES, WORDS)


def test_the_columns_of_the_built_in_views_of_0_1_0_are_written_down() -> None:
    """They tell its tables from others, whatever becomes of the views."""
    assert VIEWS_0_1_0["sagas"] <= registry.columns_of(sagas)
    assert VIEWS_0_1_0["saga_tags"] <= registry.columns_of(saga_tags)


def test_a_view_of_0_1_0_that_has_changed_since_is_adopted_by_command(database: Database) -> None:
    """Nothing shows that the table is ours, until somebody says so; then it is made anew from the log."""
    of_0_1_0(database)
    run(database, "CREATE TABLE notes (note_id VARCHAR(64) PRIMARY KEY, wording VARCHAR(20))")
    with pytest.raises(NotOurs, match="saga-es db adopt notes"):
        upgrade(database, NOTES)
    for unknown in ("mine", "words"):
        with pytest.raises(UnknownTable):
            adopt(database, [saga_view, tag_view, NOTES, WORDS], [unknown])
    adopt(database, [saga_view, tag_view, NOTES], ["notes"])
    assert upgrade(database, NOTES) == ["notes"]
    assert upgrade(database, NOTES) == []


def test_a_database_of_0_1_0_with_a_table_of_the_user_is_refused(database: Database) -> None:
    """The user's table has the name of a view that the application has got since."""
    of_0_1_0(database)
    with untouched(database, "notes"), pytest.raises(NotOurs, match="'notes'"):
        upgrade(database, NOTES)
    assert values(database, "SELECT saga_id FROM sagas") == ["s-1"]


# ── Names that a view cannot have ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["saga_events", "Saga_Workers", str(VERSION_TABLE), "saga_tables", "x__new", "x__OLD"])
def test_a_view_with_a_name_of_ours_is_refused_when_it_is_declared(name: str) -> None:
    """Two tables would have one name, or a replay of one view would remove another."""
    with pytest.raises(DefinitionError, match="choose another"):
        Views([View(notes_table(name), NOTE, lambda _: {})])


def test_two_views_whose_names_differ_in_case_alone_are_refused() -> None:
    """Some databases take them for one."""
    with pytest.raises(DefinitionError, match="two views"):
        Views([View(notes_table(name), NOTE, lambda _: {}) for name in ("notes", "Notes")])


def test_a_view_in_a_schema_of_its_own_is_refused() -> None:
    """It is kept where the log is; a replay would swap it with a table elsewhere."""
    table = sa.Table("notes", sa.MetaData(), sa.Column("note_id", sa.String(64), primary_key=True), schema="other")
    with pytest.raises(DefinitionError, match="schema 'other'"):
        Additions(table, NOTE, lambda _: [], only=(NoteWritten,))
    tally = sa.Table("t", sa.MetaData(schema="other"), sa.Column("k", sa.Integer, primary_key=True))
    with pytest.raises(DefinitionError, match="schema 'other'"):
        Tally(tally, NOTE, lambda _: [])

"""With a prefix, all that saga_es makes in a database has it, and neighbours know nothing of each other."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from saga_es import App, Saga, SagaStatus
from saga_es.errors import NotOurs
from saga_es.node.node import Node
from saga_es.node.settings import Settings
from saga_es.store import registry
from saga_es.store.admin.doctor import examine
from saga_es.store.archive.archiving import Archiving
from saga_es.store.archive.families import Over, families_over
from saga_es.store.database import Database
from saga_es.store.drivers.names import is_prefix
from saga_es.store.schema_lock import schema_lock
from saga_es.store.views.comparing import compare
from saga_es.store.views.kinds import View
from saga_es.store.views.rebuild import rebuild
from tests.conftest import NOTE, NOTE_EVENTS
from tests.support.kept_views import LETTERS, NOTES, WORDS, notes_table

SAGAS = 12
FOLLOWING = View(notes_table("followed"), NOTE, lambda _: {}, follows=True)


def trip() -> Saga:
    saga = Saga("trip")

    @saga.step(compensation=None)
    def visit(input: Any) -> Any:  # noqa: A002 (the name by which a step gets its input)
        return input

    return saga


def a_node(url: str, prefix: str) -> Node:
    app = App(name="trips", version="1", sagas=[trip()], events=NOTE_EVENTS, views=[NOTES, WORDS, LETTERS, FOLLOWING])
    return Node(Settings.load({"database_url": url, "table_prefix": prefix}, {}), app)


def names(database: Database) -> dict[str, set[str]]:
    """The names of all tables, indexes, triggers and functions in a database."""
    with database.reading() as connection:
        inspector = sa.inspect(connection)
        tables = set(inspector.get_table_names())
        indexes = {str(index["name"]) for table in tables for index in inspector.get_indexes(table)}
        return {"tables": tables, "indexes": indexes, "others": others(connection)}


def others(connection: sa.Connection) -> set[str]:
    match connection.dialect.name:
        case "sqlite":
            query = "SELECT name FROM sqlite_schema WHERE type = 'trigger'"
        case "postgresql":
            query = (
                "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal UNION SELECT proname FROM pg_proc "
                "WHERE pronamespace = 'public'::regnamespace UNION SELECT relname FROM pg_class "
                "WHERE relkind = 'S' AND relnamespace = 'public'::regnamespace"
            )
        case _:
            query = "SELECT trigger_name FROM information_schema.triggers WHERE trigger_schema = database()"
    return set(connection.exec_driver_sql(query).scalars())


def test_whatever_is_made_has_the_prefix(database_url: str, database: Database) -> None:
    """Tables, views, triggers, functions and, where their names are the database's, indexes."""
    node = a_node(database_url, "shop_")
    node.open()
    node.close()
    found = names(database)
    assert [name for name in found["tables"] | found["others"] if not name.startswith("shop_")] == []
    if not database.driver.index_names_are_the_tables_own:
        assert [name for name in found["indexes"] if not name.startswith("shop_")] == []
    assert {"shop_saga_events", "shop_sagas", "shop_notes", "shop_saga_alembic_version"} <= found["tables"]


def test_two_engines_with_different_prefixes_share_a_database(
    database_url: str, database: Database, tmp_path: Path
) -> None:
    """Under load, while each is replayed, each has its own sagas and nothing else; then one archives its own."""
    with ExitStack() as open_ones:
        nodes = {prefix: a_node(database_url, prefix) for prefix in ("", "shop_", "bank_")}
        for node in nodes.values():
            node.open()
            open_ones.callback(node.close)
        ended: dict[str, list[SagaStatus]] = {prefix: [] for prefix in nodes}

        def load(prefix: str) -> None:
            handles = [
                nodes[prefix].engine.start("trip", {"of": prefix}, saga_id=f"s-{number}") for number in range(SAGAS)
            ]
            ended[prefix] += [handle.result(120).status for handle in handles]

        threads = [threading.Thread(target=load, args=[prefix]) for prefix in nodes]
        for thread in threads:
            thread.start()
        for node in nodes.values():
            replay(node)
        for thread in threads:
            thread.join()
        assert set(map(tuple, ended.values())) == {(SagaStatus.COMPLETED,) * SAGAS}
        for prefix, node in nodes.items():
            replay(node)
            assert_whole(node, prefix)
        nodes["bank_"].engine.close()
        archive(nodes["bank_"], tmp_path)
        assert [nodes[prefix].store.log.last_position() > 0 for prefix in nodes] == [True] * 3
        assert rows(database, "bank_saga_archives") == SAGAS
        assert (rows(database, "shop_saga_archives"), rows(database, "saga_archives")) == (0, 0)
        assert_whole(nodes["shop_"], "shop_")


def replay(node: Node) -> None:
    with schema_lock(node.database) as connection:
        done = rebuild(connection, node.database, node.store.log, node.views)
    assert [rebuilt.failed for rebuilt in done.views] == [None] * len(list(node.views))


def assert_whole(node: Node, prefix: str) -> None:
    """The log has this prefix's sagas alone, the views equal it, the doctor finds no fault, no table is in the way."""
    inputs = {entry.text for entry in node.store.log.entries() if entry.type == "SagaStarted"}
    assert all(f'"of":"{prefix}"' in text for text in inputs)
    assert len({entry.stream_id for entry in node.store.log.entries() if entry.category == "saga"}) == SAGAS
    assert [c.is_equal for c in compare(node.database, node.store.log, node.views, lambda _at, _last: None)] == [
        True
    ] * len(list(node.views))
    findings = examine(node.database, node.store.workers, node.store.log, node.store.workers.now_s())
    assert [finding for finding in findings if finding.verdict == "fault" and finding.subject == "migration"] == []
    with node.database.reading() as connection:
        made = {found.name for found in registry.made(connection)}
        assert registry.claimed(connection, [view.name for view in node.views]) == {view.name for view in node.views}
    assert not [name for name in made if not name.startswith(prefix)]


def archive(node: Node, folder: Path) -> None:
    now = datetime.now(UTC) + timedelta(hours=1)
    over = Over(now, (SagaStatus.COMPLETED,))
    archiving = Archiving(node.database, node.store.sagas, node.views, over, folder)
    list(archiving.archive(families_over(node.database, over), now))


def rows(database: Database, table: str) -> int:
    with database.reading() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(sa.table(table))) or 0


def test_a_table_of_the_user_is_refused_by_the_name_with_the_prefix(database_url: str, database: Database) -> None:
    """A table named without the prefix is nobody's business."""
    with database.writing() as connection:
        connection.exec_driver_sql("CREATE TABLE sagas (id INTEGER)")
        connection.exec_driver_sql("CREATE TABLE shop_notes (id INTEGER)")
    node = a_node(database_url, "shop_")
    with pytest.raises(NotOurs, match=r"'shop_notes' .*saga-es db adopt shop_notes"):
        node.open()
    node.database.close()
    assert names(database)["tables"] == {"sagas", "shop_notes"}


@pytest.mark.parametrize("prefix", ["s", "shop_", "shop", "a1_b2_", "a" * 16])
def test_a_prefix_that_can_begin_names(prefix: str) -> None:
    """On every database."""
    assert is_prefix(prefix)


@pytest.mark.parametrize("prefix", ["", "_", "1a", "Shop_", "shop__", "a b", "a-b", "a;", "ä", "a\n", "a" * 17])
def test_a_prefix_that_cannot(prefix: str) -> None:
    """It is refused as a setting."""
    assert not is_prefix(prefix)

"""Databases whose own charset lacks characters: no saga ends half-done, and no view is behind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
import sqlalchemy as sa

from saga_es.core.state import SagaStatus
from saga_es.definition.saga import Saga
from saga_es.errors import PayloadUnencodable, StepRejected
from saga_es.node.app import App
from saga_es.node.node import Node
from saga_es.node.settings import Settings
from saga_es.store.admin.doctor import examine
from saga_es.store.drivers.columns import key_text
from saga_es.store.log.entries import Recorded
from saga_es.store.views import checkpoints
from saga_es.store.views.comparing import compare
from saga_es.store.views.kinds import View
from saga_es.store.views.saga_view import sagas
from tests.conftest import TIMEOUT_S
from tests.support import servers
from tests.support.databases import fresh_database
from tests.support.troubles import by_hand

WORDS = "no Привет 🚀 é"

NOTED = sa.Table(
    "noted",
    sa.MetaData(),
    sa.Column("saga_id", key_text(64), primary_key=True),
    sa.Column("words", sa.Text),
)


def noted(recorded: Recorded) -> dict[str, str]:
    """What the saga was given."""
    return {"words": recorded.event.input["words"]} if recorded.version == 1 else {}


def odd(undone: list[str]) -> Saga:
    """A saga that is refused with these words, after a step that has to be undone."""
    saga = Saga("odd")

    @saga.step
    def act() -> int:
        return 1

    @saga.compensates(act)
    def undo() -> None:
        undone.append("act")

    @saga.step(compensation=None)
    def refuse() -> None:
        raise StepRejected(WORDS)

    return saga


@contextmanager
def opened(url: str, saga: Saga) -> Iterator[Node]:
    """A process with the saga, and a view of the user's."""
    node = Node(Settings(database_url=url), App(sagas=[saga], views=[View(NOTED, "saga", noted)]))
    node.open()
    try:
        yield node
    finally:
        node.close()


def assert_views_are_level(node: Node) -> None:
    with node.database.reading() as connection:
        assert checkpoints.behind(connection) == {}
    assert all(found.is_equal for found in compare(node.database, node.store.log, node.views, lambda *_: None))


def charset_of(node: Node) -> tuple[str, str]:
    (found,) = (f for f in examine(node.database, node.store.workers, node.store.log, 0.0) if f.subject == "charset")
    return found.verdict, found.found


@pytest.fixture
def latin1(tmp_path: Path) -> Iterator[str]:
    """A MariaDB database whose tables are latin1 unless they say otherwise."""
    with fresh_database("mariadb", tmp_path) as url:
        with by_hand(url) as connection:
            connection.exec_driver_sql(f"ALTER DATABASE {sa.make_url(url).database} CHARACTER SET latin1")
        yield url


def test_a_reason_outside_the_charset_of_a_database_is_kept_whole(latin1: str) -> None:
    """In our views and in the user's; the steps before are undone."""
    undone: list[str] = []
    saga = odd(undone)
    with opened(latin1, saga) as node:
        ended = node.engine.start(saga, {"words": WORDS}).result(TIMEOUT_S)
        assert (ended.status, ended.error, undone) == (SagaStatus.COMPENSATED, WORDS, ["act"])
        with node.database.reading() as connection:
            assert connection.scalar(sa.select(sagas.c.error)) == WORDS
            assert connection.scalar(sa.select(NOTED.c.words)) == WORDS
        assert_views_are_level(node)
        assert charset_of(node)[0] == "ok"


def test_columns_that_were_made_too_narrow_are_made_anew_at_a_start(latin1: str) -> None:
    """As an earlier version made them; nothing is lost, and until then the doctor names them."""
    undone: list[str] = []
    saga = odd(undone)
    with opened(latin1, saga) as node:
        node.engine.start(saga, {"words": "plain"}).result(TIMEOUT_S)
        with by_hand(latin1) as connection:
            connection.exec_driver_sql("DELETE FROM sagas")
            connection.exec_driver_sql("ALTER TABLE sagas MODIFY error TEXT CHARACTER SET latin1")
            connection.exec_driver_sql("UPDATE noted SET words = 'x'")
            connection.exec_driver_sql("ALTER TABLE noted MODIFY words TEXT CHARACTER SET latin1")
        verdict, found = charset_of(node)
        assert verdict == "warning"
        assert "sagas.error (latin1)" in found
    with opened(latin1, saga) as node:
        assert_views_are_level(node)
        ended = node.engine.start(saga, {"words": WORDS}).result(TIMEOUT_S)
        assert (ended.status, ended.error) == (SagaStatus.COMPENSATED, WORDS)
        assert_views_are_level(node)
        assert charset_of(node)[0] == "ok"


def test_the_doctor_looks_at_the_tables_that_we_made_and_at_no_others(latin1: str) -> None:
    """Whatever their prefix is, views of the user's included; a table that is named as if it were ours is not."""
    app = App(sagas=[odd([])], views=[View(NOTED, "saga", noted)])
    node = Node(Settings(database_url=latin1, table_prefix="shop_"), app)
    node.open()
    try:
        with by_hand(latin1) as connection:
            connection.exec_driver_sql("CREATE TABLE saga_memories (words TEXT)")
            assert charset_of(node)[0] == "ok"
            connection.exec_driver_sql("ALTER TABLE shop_noted MODIFY words TEXT CHARACTER SET latin1")
            connection.exec_driver_sql("ALTER TABLE shop_sagas MODIFY error TEXT CHARACTER SET latin1")
        verdict, found = charset_of(node)
        assert verdict == "warning"
        assert "these lack characters: shop_noted.words (latin1), shop_sagas.error (latin1); " in found
    finally:
        node.close()


def test_a_value_that_is_too_long_for_a_view_is_not_cut_where_the_server_would_cut_it(tmp_path: Path) -> None:
    """The view is behind, and says so; a value that was cut would look like any other."""
    undone: list[str] = []
    saga = odd(undone)
    with fresh_database("mariadb", tmp_path) as url, opened(f"{url}?sql_mode=NO_ZERO_DATE", saga) as node:
        ended = node.engine.start(saga, {"words": "x" * 70_000}).result(TIMEOUT_S)
        assert (ended.status, undone) == (SagaStatus.COMPENSATED, ["act"])
        with node.database.reading() as connection:
            assert list(checkpoints.behind(connection)) == ["noted"]
            assert connection.scalars(sa.select(NOTED.c.words)).all() == []


@contextmanager
def postgresql_in(encoding: str) -> Iterator[str]:
    """A PostgreSQL database in an encoding."""
    server = sa.make_url(servers.found("postgresql").url or "")
    name = f"saga_es_test_{uuid4().hex}"
    plain = server.render_as_string(hide_password=False)
    with by_hand(plain) as connection:
        locale = "LC_COLLATE 'C' LC_CTYPE 'C'"
        connection.exec_driver_sql(f"CREATE DATABASE {name} ENCODING '{encoding}' {locale} TEMPLATE template0")
    try:
        yield server.set(database=name).render_as_string(hide_password=False)
    finally:
        with by_hand(plain) as connection:
            connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1", "EUC_JP"])
def test_a_postgresql_database_in_another_encoding_ends_no_saga_half_done(encoding: str) -> None:
    """A reason that it lacks characters for is recorded by their numbers; such an input is refused at the start."""
    undone: list[str] = []
    saga = odd(undone)
    with postgresql_in(encoding) as url, opened(url, saga) as node:
        ended = node.engine.start(saga, {"words": "plain"}).result(TIMEOUT_S)
        assert (ended.status, undone) == (SagaStatus.COMPENSATED, ["act"])
        kept = encoding == "SQL_ASCII"
        assert ended.error == (WORDS if kept else WORDS.encode("ascii", "backslashreplace").decode())
        if not kept:
            with pytest.raises(PayloadUnencodable):
                node.engine.start(saga, {"words": WORDS}).result(TIMEOUT_S)
        assert_views_are_level(node)
        verdict, found = charset_of(node)
        assert verdict == "warning"
        assert f"server_encoding={encoding}" in found


@pytest.mark.parametrize("encoding", ["UTF-16le", "UTF-16be"])
def test_an_sqlite_file_in_utf_16_is_like_any_other(tmp_path: Path, encoding: str) -> None:
    """It keeps each text whole."""
    url = f"sqlite:///{tmp_path / 'wide.sqlite'}"
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        connection.exec_driver_sql(f"PRAGMA encoding = '{encoding}'")
        connection.exec_driver_sql("CREATE TABLE other (id INTEGER)")
        connection.commit()
    engine.dispose()
    undone: list[str] = []
    saga = odd(undone)
    with opened(url, saga) as node:
        ended = node.engine.start(saga, {"words": WORDS}).result(TIMEOUT_S)
        assert (ended.status, ended.error, undone) == (SagaStatus.COMPENSATED, WORDS, ["act"])
        assert_views_are_level(node)
        assert charset_of(node) == ("ok", f"encoding={encoding}")

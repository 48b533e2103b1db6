"""What a role of the database may do that `saga-es db grants --for` was printed for: the database refuses the rest."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from saga_es import App, Saga
from saga_es.store.admin.grants import ACCESS, COMMANDERS, READERS, grants
from saga_es.store.database import Database
from saga_es.store.views.saga_view import saga_view
from tests.api.conftest import opened
from tests.e2e.conftest import run_cli
from tests.support.databases import fresh_database

REFUSED_BY = {"42501", 1142, 1143, 1370}
"""What PostgreSQL and MariaDB say of what a role may not do."""

REFUSED_TO_ALL = (
    "UPDATE saga_events SET data = '{}'",
    "DELETE FROM saga_events",
    "DELETE FROM saga_archives",
    "UPDATE saga_tables SET name = 'x'",
    "DROP TABLE saga_events",
)
REFUSED_TO_COMMANDERS = (
    "UPDATE saga_workers SET worker_id = 'x'",
    "DELETE FROM saga_workers",
    "INSERT INTO saga_workers (worker_id) VALUES ('x')",
    "SELECT pending FROM saga_checkpoints",
    "UPDATE saga_checkpoints SET position = 0",
    "DELETE FROM saga_subjects",
)
REFUSED_TO_READERS = (
    "INSERT INTO saga_events (stream_id) VALUES ('x')",
    "DELETE FROM saga_bells",
    f"DELETE FROM {saga_view.table.name}",
    "SELECT * FROM saga_subjects",
)


class Roles:
    """A database, and for each access a role and a saga that waits."""

    def __init__(self, stack: ExitStack, url: str) -> None:
        self.owner_url = url
        saga = Saga("waiting")
        saga.wait_for("approval", timeout_s=None)
        served = opened(stack, url, App(sagas=[saga]))
        self.sagas = {access: served.node.engine.start("waiting", {}).saga_id for access in ACCESS}
        self._node = served.node
        self._mark = secrets.token_hex(4)
        self._is_mysql = sa.make_url(url).get_backend_name() in {"mysql", "mariadb"}
        for access in ACCESS:
            name = self._name(access)
            made = f"CREATE USER '{name}'@'%%' IDENTIFIED BY 'no secret'" if self._is_mysql else ""
            self.as_owner(made or f"CREATE ROLE {name} LOGIN PASSWORD 'no secret'")
            stack.callback(self._drop, name)
            granted = grants(self._node.database, [*self._node.views], name, access)
            self.as_owner(*(statement.replace("%", "%%") for statement in granted))

    def _name(self, access: str) -> str:
        return f"saga_es_{access}_{self._mark}"

    def _drop(self, name: str) -> None:
        of_postgresql = [f"DROP OWNED BY {name}", f"DROP ROLE {name}"]
        self.as_owner(*([f"DROP USER '{name}'@'%%'"] if self._is_mysql else of_postgresql))

    def as_owner(self, *statements: str) -> None:
        """Do something as the owner of the tables."""
        with self._node.database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    def url(self, access: str) -> str:
        """How the role connects."""
        url = sa.make_url(self.owner_url).set(username=self._name(access), password="no secret")
        return url.render_as_string(hide_password=False)

    def is_refused(self, access: str, statement: str) -> bool:
        """Whether the database says that the role may not."""
        database = Database(self.url(access))
        try:
            with database.engine.connect() as connection, pytest.raises(DBAPIError) as found:
                connection.exec_driver_sql(statement)
        finally:
            database.close()
        said = found.value.orig
        return {getattr(said, "sqlstate", None), *getattr(said, "args", ())[:1]} & REFUSED_BY != set()


@pytest.fixture(scope="module", params=["postgresql", "mariadb"])
def roles(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Roles]:
    """The roles, on each kind of server."""
    with ExitStack() as stack:
        url = stack.enter_context(fresh_database(request.param, tmp_path_factory.mktemp("roles")))
        yield Roles(stack, url)


@pytest.mark.parametrize("access", ACCESS)
def test_the_database_refuses_what_is_not_for_a_role(roles: Roles, access: str) -> None:
    """Nobody changes the log; who gives commands runs nothing and reads no secret; who looks writes nothing."""
    refused = [*REFUSED_TO_ALL]
    refused += REFUSED_TO_COMMANDERS if access in COMMANDERS + READERS else ()
    refused += REFUSED_TO_READERS if access in READERS else ()
    for statement in refused:
        assert roles.is_refused(access, statement), statement


@pytest.mark.parametrize("access", ACCESS)
def test_each_role_may_look(roles: Roles, access: str) -> None:
    """The commands that read work for all."""
    url = ("--database-url", roles.url(access))
    id_ = roles.sagas[access]
    for command in (("list",), ("show", id_), ("events", id_), ("explain", id_)):
        done = run_cli(*command, *url)
        assert done.returncode == 0, (command, done.stderr)


@pytest.mark.parametrize("access", ACCESS)
def test_who_looks_gives_no_command(roles: Roles, access: str) -> None:
    """The others do; what was refused is not in the log."""
    url = ("--database-url", roles.url(access))
    id_, why = roles.sagas[access], ("--reason", f"as-{access}")
    for command in (("pause", id_, *why), ("resume", id_, *why), ("signal", id_, "approval")):
        done = run_cli(*command, *url)
        assert (done.returncode == 0) == (access not in READERS), (command, done.stderr)
        assert "Traceback" not in done.stderr
    told = run_cli("events", id_, *url, "--json").stdout
    assert (f"as-{access}" in told) == ("SignalReceived" in told) == (access not in READERS), told


def test_the_command_prints_what_is_granted(roles: Roles) -> None:
    """`--for` is read; what is no access is refused."""
    url = ("--database-url", roles.owner_url)
    looks, runs = (
        run_cli("db", "grants", "--role", "a_role", "--for", access, *url) for access in ("viewer", "service")
    )
    assert (looks.returncode, runs.returncode) == (0, 0), looks.stderr
    assert "INSERT" in runs.stdout
    assert not {"INSERT", "UPDATE", "DELETE", "SEQUENCE"} & {*looks.stdout.replace(",", "").split()}
    assert run_cli("db", "grants", "--for", "admin", *url).returncode == 2

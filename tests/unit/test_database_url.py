"""URLs of databases: what can never work is said before anybody connects, and no password with it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

from saga_es.errors import SettingsError
from saga_es.store.database import Database
from saga_es.store.drivers.url import parse_url, secrets_of


def refused(text: str) -> str:
    """What is said of a URL."""
    with pytest.raises(SettingsError) as caught:
        parse_url(text)
    (problem,) = caught.value.problems
    return problem


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("postgresql:/bob:s3cr3t@db/x", "cannot use 'postgresql:…'; write sqlite:///FILE"),
        ("bob:s3cr3t@db/x", "cannot use 'bob:…'"),
        ("oracle://bob:s3cr3t@db/x", "cannot use 'oracle'"),
        ("shop.db", "cannot use 'shop.db'"),
        ("postgresql://bob:s3cr3t@db:first/x", "the port of the server is no number"),
        ("postgresql://bob:cr@s3cr3t@db/x", "the password has an '@' in it"),
        ("postgresql://bob:cr@s3cr3t@db1,db2/x", "the password has an '@' in it"),
        ("postgresql://bob:s3cr3t@db:1,other:second/x", "the driver does not take it: Received non-integer port"),
    ],
)
def test_a_url_that_cannot_be_read_is_refused_without_its_password(text: str, said: str) -> None:
    """It stands in a service's journal, where a password has no business."""
    problem = refused(text)
    assert problem.startswith(said)
    assert "s3cr3t" not in problem


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("postgresql://bob:s3cr3t@db/x?keepalive_idle=5", "keepalive_idle"),
        ("postgresql://bob:s3cr3t@db/x?connect_timeout=soon", "connect_timeout"),
        ("mysql://bob:s3cr3t@db/x?tcp_user_timeout=5", "tcp_user_timeout"),
        ("mysql://bob:s3cr3t@db/x?read_timeout=soon", "soon"),
        ("mariadb://bob:s3cr3t@db/x?read_timeout=-1", "read_timeout"),
        ("sqlite:///shop.db?timeout=soon", "soon"),
        ("sqlite:///shop.db?time_out=5", "time_out"),
    ],
)
def test_an_option_that_the_driver_refuses_is_a_bad_setting(text: str, name: str) -> None:
    """Not an error of the database, and no traceback: nothing was asked of it yet."""
    problem = refused(text)
    assert problem.startswith("the driver does not take it: ")
    assert name in problem
    assert "s3cr3t" not in problem


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://bob@db/x?connect_timeout=5&keepalives_idle=5&keepalives_interval=3&tcp_user_timeout=15000",
        "postgresql://bob@db1:5432,db2:5432/x?target_session_attrs=read-write",
        "mysql://bob@db/x?connect_timeout=5&read_timeout=60&write_timeout=60",
    ],
)
def test_what_the_documentation_sets_in_a_url_is_taken(text: str) -> None:
    """Nobody connects to find out: there is no such server."""
    assert parse_url(text).host in {"db", None}


@pytest.mark.parametrize(
    ("text", "driver", "extra"), [("postgresql", "psycopg", "postgresql"), ("mysql", "pymysql", "mysql")]
)
def test_a_driver_that_is_not_installed_is_told_with_its_extra(
    text: str, driver: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite needs neither; who needs one is told how to get it."""
    monkeypatch.setitem(sys.modules, driver, None)
    with pytest.raises(SettingsError, match=rf"driver '{driver}' is not installed; pip install 'saga-es\[{extra}\]'"):
        Database(f"{text}://bob@db/x")


@pytest.mark.parametrize(
    ("text", "option"),
    [
        ("postgresql://bob@db/x?sslmode=verify-full&sslrootcert={file}", "sslrootcert"),
        ("postgresql://bob@db/x?sslcert={file}", "sslcert"),
        ("mysql://bob@db/x?ssl_ca={file}", "ssl_ca"),
        ("mariadb://bob@db/x?ssl_ca={file}", "ssl_ca"),
    ],
)
def test_a_file_that_is_missing_is_told_before_anybody_connects(tmp_path: Path, text: str, option: str) -> None:
    """Else it would look like a server that is away, for a minute."""
    file = tmp_path / "authority.pem"
    assert refused(text.format(file=file)) == (
        f"the file {str(file)!r} of the option {option} is missing or unreadable; correct its path in the URL"
    )


def test_a_file_of_certificates_that_is_none_is_told_in_one_line(tmp_path: Path) -> None:
    """MySQL's driver reads it at once."""
    file = tmp_path / "authority.pem"
    file.write_text("no certificate")
    assert refused(f"mysql://bob@db/x?ssl_ca={file}").startswith("the driver does not take it: ")


def test_a_driver_whose_library_is_missing_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """As psycopg says it without libpq."""

    def fails(_dialect: object) -> None:
        raise ImportError("no pq wrapper available.\nAttempts made:\n- couldn't import")

    monkeypatch.setattr(PGDialect_psycopg, "import_dbapi", classmethod(fails))
    said = refused("postgresql://bob@db/x")
    assert said.startswith("the driver cannot be loaded: no pq wrapper available. Attempts made:")
    assert said.endswith("pip install 'saga-es[postgresql]'")


@pytest.mark.parametrize(
    ("text", "secrets"),
    [
        ("postgresql://ada:hunter2@db/x", ["hunter2"]),
        ("postgresql://ada:hunter2@db1,db2/x", ["hunter2"]),
        ("postgresql://ada@db/x?password=hunter2", ["hunter2"]),
        ("postgresql://ada@db/x?connect_timeout=5&sslpassword=hunter2", ["hunter2"]),
        ("mysql://ada:hunter2@db/x?ssl_key_password=hunter3", ["hunter2", "hunter3"]),
        ("postgresql://ada@db/x", []),
        ("sqlite:///shop.db", []),
        ("sqlite:///a:b@c.db", []),
    ],
)
def test_the_secrets_of_a_url_are_known_wherever_it_has_them(text: str, secrets: list[str]) -> None:
    """Drivers take a password as an option, too. None is shown by what shows a database."""
    assert secrets_of(text) == secrets
    if not text.startswith("sqlite"):
        assert "hunter" not in repr(Database(text.partition("&ssl_key")[0]))

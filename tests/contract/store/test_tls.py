"""A database on another host is reached over TLS that is checked, unless the URL says otherwise; real servers."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import URL

from saga_es.errors import SettingsError, StoreUnavailable
from saga_es.store.database import Database
from tests.support import servers
from tests.support.certificates import Certified, certified
from tests.support.left_out import left_out
from tests.support.programs import Absent

NAME = "db.example"
"""The host that a certificate is for. It is this machine, but nothing in a URL says so."""

KINDS = ("postgresql", "mariadb")
NAMES_AUTHORITY = {"postgresql": "sslrootcert", "mariadb": "ssl_ca"}
PLAIN = {"postgresql": {"sslmode": "disable"}, "mariadb": {"ssl_disabled": "true"}}
UNCHECKED = {"postgresql": {"sslmode": "require"}, "mariadb": {"ssl_verify_cert": "false"}}
SHOWS_CIPHER = {
    "postgresql": "SELECT coalesce(cipher, '') FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
    "mariadb": "SELECT variable_value FROM information_schema.session_status WHERE variable_name = 'Ssl_cipher'",
}


@pytest.fixture(autouse=True)
def names_lead_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let names of `.example` lead to this machine; libpq asks the system, so its URLs carry the address beside."""
    asked = socket.getaddrinfo

    def getaddrinfo(host: Any, *rest: Any, **more: Any) -> Any:
        return asked("127.0.0.1" if str(host).endswith(".example") else host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


@pytest.fixture(scope="module")
def papers() -> Certified:
    """A certificate for `NAME`."""
    return certified(NAME)


@pytest.fixture(scope="module", params=KINDS)
def server(request: pytest.FixtureRequest, papers: Certified) -> Iterator[tuple[str, URL]]:
    """A server of each kind that shows that certificate."""
    try:
        yield request.param, servers.with_tls(request.param, papers.certificate, papers.key)
    except Absent as absent:
        left_out(f"TLS to {request.param}", str(absent))


@pytest.fixture
def authority(tmp_path: Path, papers: Certified) -> str:
    """The file of the authority."""
    file = tmp_path / "authority.pem"
    file.write_bytes(papers.authority)
    return str(file)


def at(kind: str, url: URL, host: str = NAME, **query: str) -> str:
    """The URL of a server by a name of its host."""
    address = {"hostaddr": "127.0.0.1"} if kind == "postgresql" else {}
    return url.set(host=host).update_query_dict({**address, **query}).render_as_string(hide_password=False)


def cipher(kind: str, url: str) -> str:
    """What a connection is encrypted with, as the server says; empty: it is not."""
    database = Database(url)
    try:
        with database.reading() as connection:
            return str(connection.scalar(sa.text(SHOWS_CIPHER[kind])))
    finally:
        database.close()


def refused(kind: str, url: str) -> str:
    """What is said when no connection is made."""
    with pytest.raises(StoreUnavailable) as caught:
        cipher(kind, url)
    return str(caught.value)


def test_a_server_that_shows_its_name_by_a_known_authority_is_used(server: tuple[str, URL], authority: str) -> None:
    """The connection is encrypted."""
    kind, url = server
    assert cipher(kind, at(kind, url, **{NAMES_AUTHORITY[kind]: authority}))


def test_a_server_of_an_unknown_authority_is_refused_with_the_cure(server: tuple[str, URL]) -> None:
    """Whoever sits in between can make such a certificate; a driver's default would take it."""
    kind, url = server
    said = refused(kind, at(kind, url))
    assert "certificate" in said
    assert NAMES_AUTHORITY[kind] in said
    assert "in the URL" in said


def test_a_server_that_shows_another_name_is_refused(server: tuple[str, URL], authority: str) -> None:
    """The same authority may certify a stranger."""
    kind, url = server
    said = refused(kind, at(kind, url, "evil.example", **{NAMES_AUTHORITY[kind]: authority}))
    assert "certificate" in said


def test_the_authorities_of_the_system_count(
    server: tuple[str, URL], authority: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also for psycopg, whose own build looks where no system has any."""
    kind, url = server
    monkeypatch.setenv("SSL_CERT_FILE", authority)
    assert cipher(kind, at(kind, url))


def test_the_url_may_ask_for_less(server: tuple[str, URL]) -> None:
    """In a network of one's own: encrypted and unchecked, or plain."""
    kind, url = server
    assert cipher(kind, at(kind, url, **UNCHECKED[kind]))
    assert not cipher(kind, at(kind, url, **PLAIN[kind]))


def test_on_this_host_nothing_is_checked(server: tuple[str, URL]) -> None:
    """Nobody is in between; by its address, the certificate would be for another name."""
    kind, url = server
    cipher(kind, url.render_as_string(hide_password=False))


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_speaks_no_tls_is_refused_with_the_cure(kind: str) -> None:
    """A driver's default would fall back to plain text; whoever sits in between can have it so."""
    plain = servers.found(kind)
    if not plain.url:
        left_out(plain.name, plain.how)
    url = sa.make_url(plain.url)
    if cipher(kind, plain.url):
        pytest.skip("the server that is used speaks TLS")
    said = refused(kind, at(kind, url))
    assert "SSL" in said
    assert all(f"?{name}={value}" in said for name, value in PLAIN[kind].items())
    assert not cipher(kind, at(kind, url, **PLAIN[kind]))


@pytest.fixture
def without_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment that says nothing to libpq."""
    for name in [name for name in os.environ if name.startswith("PG")]:
        monkeypatch.delenv(name)


def checks(url: str) -> bool:
    """Whether the driver is told to check the certificate and its name."""
    database = Database(url)
    options = database.driver.engine_options(database.url)["connect_args"]
    return options.get("sslmode") == "verify-full" or ("ssl" in options and options["ssl"].check_hostname)


@pytest.mark.usefixtures("without_variables")
@pytest.mark.parametrize(
    "url",
    [
        "postgresql://db/x",
        "postgresql://10.0.0.7/x",
        "postgresql://localhost.evil.example/x",
        "postgresql://127.0.0.1.evil.example/x",
        "postgresql://localhost,db/x",
        "postgresql://db:1,localhost:2/x",
        "postgresql:///x?host=db",
        "postgresql:///x?host=localhost&host=db",
        "postgresql:///x?host=localhost,db",
        "postgresql://localhost/x?hostaddr=10.0.0.7",
        "postgresql:///x?service=shop",
        "postgresql://[2001:db8::1]/x",
        "postgresql://db/x?sslnegotiation=postgres",
        "mysql://db/x",
        "mariadb://10.0.0.7:3306/x",
        "mysql://localhost.evil.example/x",
        "mysql://db/x?ssl_disabled=false",
        "mysql:///x?read_default_file=/etc/my.cnf",
        "mysql://localhost/x?ssl_disabled=0",
    ],
)
def test_a_url_that_leads_off_this_host_is_checked(url: str) -> None:
    """One host of several is enough, and a file that names the host may name any."""
    assert checks(url)


@pytest.mark.usefixtures("without_variables")
@pytest.mark.parametrize(
    "url",
    [
        "postgresql://localhost/x",
        "postgresql://LOCALHOST/x",
        "postgresql://127.0.0.1:5433/x",
        "postgresql://127.3.2.1/x",
        "postgresql://[::1]:5432/x",
        "postgresql://127.0.0.1:1,[::1]:2/x",
        "postgresql:///x",
        "postgresql:///x?host=/var/run/postgresql",
        "postgresql://db/x?sslmode=disable",
        "postgresql://db/x?sslmode=prefer",
        "mysql://localhost/x",
        "mysql:///x",
        "mysql:///x?unix_socket=/run/mysqld/mysqld.sock",
        "mysql://db/x?ssl_disabled=true",
        "mysql://db/x?ssl_verify_cert=false",
        "mysql://db/x?ssl_verify_identity=no",
        "mysql://db/x?ssl_check_hostname=false",
    ],
)
def test_a_url_that_stays_here_or_says_otherwise_is_not(url: str) -> None:
    """The driver does as it always did, or as it is told."""
    assert not checks(url)


def test_a_host_of_the_environment_counts_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read by libpq where the URL names none."""
    monkeypatch.setenv("PGHOST", "db")
    assert checks("postgresql:///x")


@pytest.mark.parametrize("option", ["ssl_disabled=perhaps", "ssl_verify_cert=2", "ssl_cipher=x"])
def test_an_option_of_tls_that_says_nothing_is_refused(option: str) -> None:
    """The driver takes every text for true."""
    with pytest.raises(SettingsError, match="does not take it"):
        Database(f"mysql://db/x?{option}")
